"""Below the data: a fitted tail that says what it is, or a refusal."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vultus.errors import CalibrationError
from vultus.evaluation import Calibration
from vultus.evaluation.calibration.tail import Tail, fit_generalised_pareto, survival


def listed(non_mated: np.ndarray) -> Calibration:
    mated = np.full(100, 0.9)
    scores = np.concatenate([mated, non_mated])
    return Calibration.fit(scores, np.arange(len(scores)) < 100, source="draws", contract_id="x")


@pytest.fixture(scope="module")
def normal() -> Calibration:
    return listed(np.random.default_rng(0).normal(0, 0.1, 100_000))


@pytest.mark.parametrize("shape", [-0.3, -0.05, 0.0, 0.2])
def test_the_fit_is_scipys_maximum_likelihood(shape: float):
    excess = np.asarray(stats.genpareto.rvs(shape, scale=0.03, size=1500, random_state=np.random.default_rng(3)))
    scale, found = fit_generalised_pareto(excess, np.ones((1, 1500)))
    theirs_shape, _, theirs_scale = stats.genpareto.fit(excess, floc=0)
    ours = stats.genpareto.logpdf(excess, found[0], scale=scale[0]).sum()
    theirs = stats.genpareto.logpdf(excess, theirs_shape, scale=theirs_scale).sum()
    assert ours > theirs - 0.01
    assert (scale[0], found[0]) == (pytest.approx(theirs_scale, rel=0.01), pytest.approx(theirs_shape, abs=0.01))


def test_a_weight_is_a_repetition():
    excess = np.random.default_rng(0).exponential(0.02, 400)
    weights = np.random.default_rng(1).integers(0, 4, 400)
    weighted = fit_generalised_pareto(excess, weights[None].astype(float))
    repeated = fit_generalised_pareto(np.repeat(excess, weights), np.ones((1, weights.sum())))
    assert np.ravel(weighted) == pytest.approx(np.ravel(repeated), rel=0.02)


def test_the_survival_function_and_its_inverse():
    for shape in (-0.2, 0.0, 0.1):
        tail = Tail(above=0.3, share=1e-3, scale=0.02, shape=shape, exceedances=500)
        assert tail.fmr(0.35) == pytest.approx(1e-3 * stats.genpareto.sf(0.05, shape, scale=0.02), rel=1e-6)
        assert tail.fmr(tail.threshold(1e-5)) == pytest.approx(1e-5, rel=1e-6)
    assert survival(0.5, 0.3, 1e-3, 0.02, -0.2) == 0  # a law with shape -0.2 ends at 0.3 + 0.02 / 0.2 = 0.4


def test_extrapolated_thresholds_know_it_and_hold_for_scores_of_a_known_law(normal: Calibration):
    assert normal.floor == 1e-4  # 10 of 100,000
    assert normal.lowest == pytest.approx(1e-5)
    assert [point.fmr < normal.floor for point in normal.extrapolated] == [True] * 10
    thresholds = [point.threshold for point in (normal.points[-1], *normal.extrapolated)]
    assert thresholds == sorted(thresholds)
    for point in normal.extrapolated:
        assert point.fmr_low <= stats.norm.sf(point.threshold, scale=0.1) <= point.fmr_high
    found = normal.threshold_at(1e-5, extrapolate=True)
    assert found.extrapolated and "EXTRAPOLATED below the data" in str(found) and "\n" not in str(found)
    assert found.interval[0] < 1e-5 < found.interval[1]
    assert found.prediction[1] >= found.interval[1] * 0.9
    assert not normal.threshold_at(1e-3, extrapolate=True).extrapolated
    search = normal.threshold_for_fpir(0.01, 500, extrapolate=True)
    assert search.extrapolated and search.fpir == 0.01


def test_it_is_asked_for_and_goes_one_decade(normal: Calibration):
    with pytest.raises(CalibrationError, match=r"at least 200,000 non-mated pairs, or extrapolate=True"):
        normal.threshold_at(5e-5)
    with pytest.raises(CalibrationError, match=r"estimates down to 1e-05, no further"):
        normal.threshold_at(9e-6, extrapolate=True)
    with pytest.raises(CalibrationError, match=r"here FPIR .*, or extrapolate=True"):
        normal.threshold_for_fpir(0.01, 500)


def test_wrong_labels_end_it():
    """20 pairs that are one person under two names: what the others' tail says of the largest scores is untrue."""
    draws = np.random.default_rng(0).normal(0, 0.1, 100_000)
    draws[:20] = np.linspace(0.7, 0.95, 20)
    found = listed(draws)
    assert found.extrapolated == () and found.tail is None and found.lowest == found.floor
    with pytest.raises(CalibrationError, match="largest scores do not follow the tail"):
        found.threshold_at(5e-5, extrapolate=True)


def test_few_or_equal_scores_are_not_extrapolated():
    assert listed(np.random.default_rng(0).normal(0, 0.1, 2000)).extrapolated == ()
    assert listed(np.round(np.random.default_rng(0).normal(0, 0.1, 100_000), 1)).extrapolated == ()


def test_a_threshold_above_every_cosine_is_not_offered():
    found = listed(np.minimum(0.2 + np.random.default_rng(0).exponential(0.085, 100_000), 0.999))
    assert all(point.threshold < 1 for point in found.extrapolated)
