"""What a threshold will show on other people: the interval is stated beforehand, and holds."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.errors import CalibrationError
from vultus.evaluation import calibrate
from vultus.evaluation.calibration import calibrate_scores
from vultus.evaluation.calibration.prediction import Covariances, Sample, measured, prediction, prediction_of_estimate
from vultus.evaluation.comparisons import AllPairs
from vultus.evaluation.intervals import non_mated_rate
from vultus.evaluation.scores import all_pairs


def people(count: int, images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows of people of whom some are ordinary (near the middle) and thus look like many others."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(count), images)
    rows = rng.normal(size=(count, 48)) + rng.exponential(1.2, (count, 1)) * np.ones(48) / 4
    rows = rows[labels] + 0.7 * rng.normal(size=(len(labels), 48))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels


def test_the_size_of_a_sample_by_hand():
    # People with 2, 1, 1 images: 2 comparisons of (0, 1), 2 of (0, 2), 1 of (1, 2). Of the 5 x 4 ordered pairs of
    # different comparisons, 2 + 2 are of the same two people; the other 16 share one person, as three people must.
    assert Sample.of(AllPairs(np.array([2, 1, 1]))) == Sample(5, 16, 4)
    assert Sample.all_pairs(np.array([2, 1]), np.array([1, 2])) == Sample(5, 16, 4)


def test_the_variance_of_a_rate_by_hand():
    # Independent: (1 - p) / (p N) = 0.99 / 10. Fully shared by all 16 + 4 ordered pairs with relative covariance 2:
    # + 2 x 20 / 25.
    assert Covariances(0, 0).relative_variance(0.01, Sample.independent(1000)) == pytest.approx(0.099)
    assert Covariances(2, 2).relative_variance(0.5, Sample(5, 16, 4)) == pytest.approx(0.2 + 1.6)
    wider = Covariances(1, 2).widened(3.0, 0.5, Sample(5, 16, 4))
    assert wider.relative_variance(0.5, Sample(5, 16, 4)) == pytest.approx(3.0)
    assert wider.repeated == pytest.approx(2 * wider.shared)


def test_one_sort_gives_the_same_as_the_interval_of_each_rate():
    rng = np.random.default_rng(1)
    compared = AllPairs(rng.integers(1, 6, 40))
    first = rng.integers(0, 39, 300)
    pairs = np.stack([first, first + 1 + rng.integers(0, 40, 300) % (39 - first).clip(1)], axis=1)
    pairs = pairs[pairs[:, 1] < 40]
    counts = [len(pairs), 50, 7, 1]
    for count, found in zip(counts, measured(pairs, counts, compared, Sample.of(compared)), strict=True):
        expected = non_mated_rate(pairs[:count, 0], pairs[:count, 1], compared)
        assert found.effective == pytest.approx(expected.effective, rel=1e-9)
        rate = expected.value
        variance = found.covariances.relative_variance(rate, Sample.of(compared))
        assert variance == pytest.approx((1 - rate) / (rate * expected.effective), rel=1e-6)


def test_the_interval_is_where_the_difference_is_1_96_standard_errors():
    # (q - 1)^2 = z^2 x pooled rate x (1 / 20 + 1 / 5), with the pooled rate (20 + 5 q) / 25.
    for end in prediction(1e-3, 20, 5):
        q = end / 1e-3
        assert (q - 1) ** 2 == pytest.approx(1.959964**2 * (20 + 5 * q) / 25 * (1 / 20 + 1 / 5), rel=1e-5)
    assert prediction(0.01, 1e12, 1e12) == pytest.approx((0.01, 0.01), rel=1e-5)
    assert prediction(0.01, 3, 3)[0] == 0
    assert prediction(0.9, 3, 3)[1] == 1


def test_the_interval_of_an_estimate_moves_out_at_either_end():
    assert prediction_of_estimate(1e-6, (1e-7, 4e-6), 1e12) == pytest.approx((1e-7, 4e-6), rel=1e-4)
    # A known rate of which 100 errors are expected: 1 -+ 1.96 / 10.
    assert prediction_of_estimate(1e-6, (1e-6, 1e-6), 100) == pytest.approx((0.804e-6, 1.196e-6), rel=1e-3)
    low, high = prediction_of_estimate(1e-6, (1e-7, 4e-6), 100)
    assert low < 1e-7 and high > 4e-6
    assert prediction_of_estimate(1e-6, (1e-7, 4e-6), 3)[0] == 0  # of three errors none may be seen
    assert prediction_of_estimate(1e-6, (0.0, 4e-6), 100)[0] == 0


@pytest.mark.parametrize(("before", "after"), [(10, 10), (10, 100), (200, 20)])
def test_it_holds_for_few_independent_errors(before: int, after: int):
    rng = np.random.default_rng(0)
    inside = []
    for seen, new in zip(rng.poisson(before, 4000), rng.poisson(after, 4000), strict=True):
        low, high = prediction(max(seen, 1) / before * 1e-4, max(seen, 1), max(seen, 1) * after / before)
        inside.append(low <= new / after * 1e-4 <= high)
    assert np.mean(inside) > 0.93


def test_it_holds_on_other_people():
    inside = []
    for seed in range(15):
        calibration = calibrate(*people(100, 3, 2 * seed), source="some", contract_id="x")
        other = all_pairs(*people(100, 3, 2 * seed + 1), hardest=0)
        for fmr in (0.05, 0.02, 0.005):
            threshold = calibration.threshold_at(fmr)
            achieved = other.false_matches(threshold.score) / other.non_mated
            inside.append(threshold.prediction[0] <= achieved <= threshold.prediction[1])
    assert np.mean(inside) > 0.9


def test_shared_people_widen_it_and_larger_samples_narrow_it():
    rows, labels = people(200, 4, seed=2)
    calibration = calibrate(rows, labels, source="x", contract_id="x")
    point = calibration.points[10]
    assert point.fmr == 0.01
    assert point.effective < 0.5 * point.measured * calibration.non_mated  # people are unlike
    assert point.fmr_low > point.predicted_low and point.fmr_high < point.predicted_high
    same = calibration.prediction(0.01)
    assert calibration.prediction(0.01, 200, 800) == pytest.approx(same, rel=1e-4)
    few, many = calibration.prediction(0.01, 50), calibration.prediction(0.01, 100_000)
    assert few[0] < same[0] < many[0] < many[1] < same[1] < few[1]
    one_image = calibration.prediction(0.01, 200, 200)
    assert one_image[0] < same[0] < same[1] < one_image[1]
    with pytest.raises(CalibrationError, match="at least two identities"):
        calibration.prediction(0.01, 1)
    with pytest.raises(CalibrationError, match="below what this calibration supports"):
        calibration.prediction(1e-9, 50)


def test_rates_beyond_the_kept_tail_borrow_what_people_share():
    rows, labels = people(200, 4, seed=2)
    whole = calibrate_scores(all_pairs(rows, labels), source="x", contract_id="x")
    short = calibrate_scores(all_pairs(rows, labels, tail=4096), source="x", contract_id="x")
    assert short.points[0].effective != whole.points[0].effective
    assert short.points[-1] == whole.points[-1]
    wide = [short.points[0].fmr_high - short.points[0].fmr_low, whole.points[0].fmr_high - whole.points[0].fmr_low]
    assert 0.8 < wide[0] / wide[1] < 4, "never as if independent"
