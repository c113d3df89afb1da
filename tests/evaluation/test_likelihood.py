"""Scores as evidence: likelihood ratios, what they cost, and whether they are what they say."""

from __future__ import annotations

from math import inf, log, log2

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from vultus.errors import VultusError
from vultus.evaluation.calibration import cllr, min_cllr
from vultus.evaluation.calibration.cllr import ScoreCounts, log_ratio, pool_adjacent_violators
from vultus.evaluation.calibration.likelihood import Likelihood, fit_likelihood, fit_logistic
from vultus.evaluation.calibration.reliability import reliability
from vultus.evaluation.scores import explicit_scores


def drawn(mated: int = 4000, non_mated: int = 60_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Equal variances 0.1^2 around 0.5 and 0.1: ln ratio = (0.4 s - (0.25 - 0.01) / 2) / 0.01 = 40 s - 12."""
    rng = np.random.default_rng(seed)
    return rng.normal(0.5, 0.1, mated).clip(-1, 1), rng.normal(0.1, 0.1, non_mated).clip(-1, 1)


@pytest.fixture(scope="module")
def likelihood() -> Likelihood:
    return fit_likelihood(explicit_scores(*drawn()))


def test_the_cost_by_hand():
    assert cllr(np.array([inf, inf]), np.array([-inf])) == 0  # always right and sure
    assert cllr(np.zeros(5), np.zeros(3)) == 1  # no information: one bit
    assert cllr(np.array([-inf]), np.array([0.0])) == inf  # sure and wrong
    # Ratio 3 for the mated, 1/3 for the non-mated: log2(1 + 1/3) each.
    assert cllr(np.array([log(3)]), np.array([-log(3)])) == pytest.approx(log2(4 / 3))
    # Halves: mated 0 and inf cost (1 + 0) / 2, non-mated 0 costs 1; together 3/4.
    assert cllr(np.array([0, inf]), np.array([0.0])) == pytest.approx(0.75)


def test_the_least_cost_by_hand():
    assert min_cllr(np.array([0.8, 0.9]), np.array([0.1, 0.2])) == 0
    assert min_cllr(np.array([0.5]), np.array([0.5, 0.5])) == 1
    # In rising order: non, mated, non, mated. The two in the middle pool to a ratio of 1; the outer ones are sure.
    # Half of either kind costs one bit: (1/2 + 1/2) / 2.
    assert min_cllr(np.array([2.0, 4.0]), np.array([1.0, 3.0])) == pytest.approx(0.5)
    # The wrong way round nothing is left but one block.
    assert min_cllr(np.array([1.0]), np.array([2.0])) == 1


def test_violators_are_pooled_as_in_scikit_learn():
    rng = np.random.default_rng(4)
    scores = np.arange(200) / 200
    counts = ScoreCounts(scores, rng.integers(0, 4, 200), rng.integers(0, 4, 200) + (scores < 0.5))
    first, mated, non_mated = pool_adjacent_violators(counts)
    ours = np.repeat(mated / (mated + non_mated), np.diff([*first, 200]))
    same, other = counts.shares
    used = same + other > 0
    theirs = IsotonicRegression().fit_transform(
        scores[used], same[used] / (same + other)[used], sample_weight=(same + other)[used]
    )
    assert ours[used] == pytest.approx(theirs, abs=1e-9)
    assert (np.diff(log_ratio(mated, non_mated)) > 0).all()


def test_the_logistic_map_recovers_a_known_ratio(likelihood: Likelihood):
    assert (likelihood.slope, likelihood.offset) == (pytest.approx(40, rel=0.05), pytest.approx(-12, rel=0.05))
    assert likelihood.llr(0.3) == pytest.approx(0, abs=0.2)
    assert np.isnan(likelihood.llr(np.nan)) and np.isnan(likelihood.isotonic_llr(np.nan))


def test_the_logistic_map_is_scikit_learns():
    mated, non_mated = drawn(3000, 5000, seed=2)
    x = np.concatenate([mated, non_mated])[:, None]
    theirs = LogisticRegression(C=1e9, class_weight="balanced", tol=1e-9).fit(x, np.arange(8000) < 3000)
    slope, offset = fit_logistic(ScoreCounts.of(explicit_scores(mated, non_mated)))
    assert slope == pytest.approx(theirs.coef_[0, 0], rel=0.02)
    assert offset == pytest.approx(theirs.intercept_[0], rel=0.02)


def test_the_ratio_holds_no_prior():
    mated, non_mated = drawn(2000, 20_000)
    once = fit_logistic(ScoreCounts.of(explicit_scores(mated, non_mated)))
    ten_times = fit_logistic(ScoreCounts.of(explicit_scores(mated, np.tile(non_mated, 10))))
    assert once == pytest.approx(ten_times, rel=0.02)


def test_no_ratio_goes_beyond_what_the_data_can_show(likelihood: Likelihood):
    assert likelihood.highest == pytest.approx(log(6000))
    assert likelihood.lowest == pytest.approx(-log(400))
    extreme = np.array([-1.0, 1.0])
    assert likelihood.llr(extreme).tolist() == [likelihood.lowest, likelihood.highest]
    assert np.abs(likelihood.isotonic_llr(extreme)).max() <= likelihood.highest
    separated = fit_likelihood(explicit_scores(np.full(50, 0.8), np.full(1000, 0.1)))
    assert np.isfinite(separated.slope)
    assert separated.llr(0.8) <= log(100) and separated.min_cllr == 0
    few = fit_likelihood(explicit_scores(np.array([0.8]), np.array([0.1, 0.2])))
    assert few.llr(0.8) == 0, "three comparisons show nothing"


def test_a_score_without_information_weighs_nothing():
    rng = np.random.default_rng(0)
    found = fit_likelihood(explicit_scores(rng.uniform(-0.5, 0.5, 4000), rng.uniform(-0.5, 0.5, 4000)))
    assert np.abs(found.llr(np.linspace(-0.5, 0.5, 11))).max() < 0.1
    assert found.cllr == pytest.approx(1, abs=0.01)
    constant = fit_likelihood(explicit_scores(np.zeros(20), np.zeros(20)))
    assert constant.llr(0.0) == pytest.approx(0, abs=1e-9)
    assert constant.cllr == constant.min_cllr == 1


def test_the_staircase_rises_in_few_steps_and_costs_little(likelihood: Likelihood):
    starts, values = np.array(likelihood.steps).T
    assert 5 < len(starts) <= 64
    assert (np.diff(starts) > 0).all() and (np.diff(values) > 0).all()
    assert likelihood.isotonic_llr(starts + 1e-6).tolist() == values.tolist()
    mated, non_mated = drawn(seed=9)
    by_steps = cllr(likelihood.isotonic_llr(mated), likelihood.isotonic_llr(non_mated))
    cost, least = likelihood.cllr_of(explicit_scores(mated, non_mated))
    assert least <= cost == pytest.approx(cllr(likelihood.llr(mated), likelihood.llr(non_mated)), rel=1e-3)
    assert by_steps == pytest.approx(cost, rel=0.1)
    assert likelihood.min_cllr <= likelihood.cllr


def test_predicted_and_observed_by_hand():
    # Two ratios. 9 of 10 mated and 1 of 10 non-mated comparisons have 9, the others 1/9: it is what it says.
    llr = np.array([-log(9), log(9)])
    found = reliability(llr, np.array([1, 9]), np.array([9, 1]))
    assert found.predicted == pytest.approx((0.1, 0.9))
    assert found.observed == pytest.approx((0.1, 0.9))
    assert all(low < seen < high for low, seen, high in zip(found.low, found.observed, found.high, strict=True))
    assert (found.mated, found.non_mated) == ((1, 9), (9, 1))
    # Twice as many non-mated comparisons of the same kind: the prior stays even.
    assert reliability(llr, np.array([1, 9]), np.array([18, 2])).observed == pytest.approx((0.1, 0.9))
    # A kind that is absent: sure, with a width.
    one_sided = reliability(np.array([-1.0, 1.0]), np.array([0, 5]), np.array([5, 0]))
    assert one_sided.observed == (0, 1) and one_sided.high[0] > 0.1 and one_sided.low[1] < 0.9


def test_true_ratios_are_reliable_and_exaggerated_ones_are_not():
    counts = ScoreCounts.of(explicit_scores(*drawn(seed=11)))
    true = 40 * counts.scores - 12
    held = []
    for llr in (true, 2 * true):
        found = reliability(np.clip(llr, -5, 8), counts.mated, counts.non_mated)
        inside = (np.array(found.low) <= found.predicted) & (np.array(found.high) >= found.predicted)
        held.append(inside[1:-1].mean())  # clipped ratios at both ends are less than the truth
    assert held[0] > 0.85 and held[1] < 0.3


def test_there_must_be_scores_of_both_kinds_and_numbers():
    for mated, non_mated in ((np.zeros(0), np.zeros(3)), (np.zeros(3), np.zeros(0))):
        with pytest.raises(VultusError, match="none of one kind"):
            cllr(mated, non_mated)
        with pytest.raises(VultusError, match="none of one kind"):
            min_cllr(mated, non_mated)
    for measure in (cllr, min_cllr):
        with pytest.raises(VultusError, match="not a number"):
            measure(np.array([np.nan]), np.zeros(1))


def test_it_comes_back_from_json(likelihood: Likelihood):
    assert Likelihood.from_dict(likelihood.to_dict()) == likelihood
