"""Error-versus-discard curves and rates by condition, worked out on paper."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.evaluation.breakdown import Condition, Outcomes, by_condition, discard, edc
from vultus.evaluation.comparisons import AllPairs
from vultus.evaluation.figures.quality import bin_names, condition_dots, edc_curves
from vultus.evaluation.intervals import mated_rate, non_mated_rate
from vultus.evaluation.report import write_report
from vultus.evaluation.report.quality import condition_sections, discard_sections


def test_a_curve_by_hand():
    # Ten comparisons of quality 1..10; those of quality 1, 3 and 10 are false non-matches.
    quality = np.arange(1, 11)[::-1]
    found = discard(np.isin(quality, (1, 3, 10)), quality, fractions=(0, 0.1, 0.15, 0.2, 0.3))
    assert [(r.errors, r.trials) for r in found.fnmr] == [(3, 10), (2, 9), (2, 9), (2, 8), (1, 7)]
    assert found.discarded == pytest.approx([0, 0.1, 0.1, 0.2, 0.3])
    assert found.lowest.tolist() == [1, 2, 2, 3, 4]
    assert found.ideal == pytest.approx([3 / 10, 2 / 9, 2 / 9, 1 / 8, 0])
    two, three = found.areas
    # Stepwise: 0.3 until 0.1 is discarded, 2/9 until 0.2, 1/4 until 0.3. Ideally 0.3, 2/9, 1/8.
    assert (two.value, two.random, two.ideal) == pytest.approx((0.03 + 0.2 / 9, 0.06, 0.03 + 0.2 / 9))
    assert two.gain == pytest.approx(1)
    assert three.value == pytest.approx(0.03 + 0.2 / 9 + 0.025)
    assert three.random == pytest.approx(0.09)
    assert three.ideal == pytest.approx(0.03 + 0.2 / 9 + 0.0125)
    assert three.gain == pytest.approx((0.09 - three.value) / (0.09 - three.ideal))


def test_equal_quality_goes_together():
    # Three comparisons of the worst quality: none may go while two may at most.
    found = discard(np.arange(10) < 3, np.array([1, 1, 1, *range(2, 9)]), fractions=(0, 0.2, 0.3))
    assert found.discarded == pytest.approx([0, 0, 0.3])
    assert [(r.errors, r.trials) for r in found.fnmr] == [(3, 10), (3, 10), (0, 7)]
    constant = discard(np.arange(10) < 3, np.zeros(10))
    assert {(r.errors, r.trials) for r in constant.fnmr} == {(3, 10)}
    assert constant.areas[0].gain == pytest.approx(0)


def test_no_face_is_the_worst_quality_and_an_error():
    found = discard(np.zeros(8, bool), np.arange(8), failures=2, fractions=(0, 0.1, 0.2))
    assert [(r.errors, r.trials) for r in found.fnmr] == [(2, 10), (2, 10), (0, 8)]
    by_identity = discard(np.zeros(8, bool), np.arange(8), np.arange(8), failures=np.eye(8, dtype=int)[3] * 2)
    assert by_identity.fnmr[0] == mated_rate(2 * np.eye(8, dtype=int)[3], AllPairs(np.array([2, 2, 2, 3, 2, 2, 2, 2])))


def test_a_harmful_score_has_a_gain_below_nothing():
    wrong = np.arange(100) >= 90
    assert discard(wrong, np.arange(100)).areas[1].gain < 0  # type: ignore[operator]
    assert discard(np.zeros(10, bool), np.arange(10)).areas[0].gain is None


def outcomes():
    """Three people with two pictures each: rows 0, 1 of a, 2, 3 of b, 4, 5 of c; b is not recognised."""
    return Outcomes(
        threshold=0.5,
        identity=np.repeat(np.arange(3), 2),
        mated=np.arange(6).reshape(3, 2),
        rejected=np.array([False, True, False]),
        false_matches=np.array([[0, 2], [1, 4]]),
        failures=np.zeros(3, np.int64),
    )


def test_fmr_is_that_of_the_pictures_left():
    # Pairs are as good as their worse picture: a 3, b 1, c 4. A third may go: that of b, with the pictures below 3.
    found = edc(outcomes(), np.array([3, 5, 1, 9, 4, 4]), fractions=(0, 1 / 3))
    assert [(r.errors, r.trials) for r in found.fnmr] == [(1, 3), (0, 2)]
    # Left are both of a, one of b, both of c: 2 + 4 + 2 comparisons of different people; 0-2 is gone, 1-4 is not.
    assert [(r.errors, r.trials) for r in found.fmr] == [(2, 12), (1, 8)]
    assert found.fmr[1] == non_mated_rate(np.array([0]), np.array([2]), AllPairs(np.array([2, 1, 2])))


@pytest.mark.parametrize(
    ("quality", "said"),
    [(np.zeros(5), "5,. qualities for 6 pictures"), (np.array([1, 2, np.nan, 4, 5, 6]), "picture 2 is not a number")],
)
def test_every_picture_has_a_quality(quality, said):
    with pytest.raises(VultusError, match=said):
        edc(outcomes(), quality)


def many(rejected, values):
    """A person for each mated comparison; both pictures have its value."""
    people = len(rejected)
    found = Outcomes(
        threshold=0.5,
        identity=np.repeat(np.arange(people), 2),
        mated=np.arange(2 * people).reshape(people, 2),
        rejected=np.asarray(rejected),
        false_matches=np.zeros((0, 2), np.int64),
        failures=np.zeros(people, np.int64),
    )
    return found, np.repeat(np.asarray(values, float), 2)


def test_bins_hold_the_worse_picture_and_as_many_comparisons_each():
    # Values 0..99 in five bins of twenty; every fourth of the twenty smallest is rejected, and five of the others.
    rejected = np.zeros(100, bool)
    rejected[[0, 4, 8, 12, 16, 20, 40, 60, 80, 99]] = True
    found, values = many(rejected, np.arange(100))
    values[1::2] += 1000  # the better picture of each pair
    low = by_condition(found, Condition("size", "size", "pixels", "low", values), bins=5)
    assert [b.fnmr.rate.trials for b in low.bins] == [20] * 5
    assert [b.fnmr.rate.errors for b in low.bins] == [5, 1, 1, 1, 2]
    assert (low.bins[0].low, low.bins[-1].high) == (0, 99)
    assert low.bins[0].fnmr.value is None  # 10 of 100: a hundred comparisons would be needed
    assert low.bins[0].fnmr.needs == 100
    high = by_condition(found, Condition("size", "size", "pixels", "high", values), bins=1)
    assert (high.bins[0].low, high.bins[0].fnmr.value) == (1000, 0.1)


def test_the_worst_bin_comes_first_and_nothing_is_dropped():
    found, values = many(np.arange(100) % 2 == 0, np.arange(100))
    values[:20] = np.nan
    found.failures[5] = 7
    turned = by_condition(found, Condition("yaw", "turned", "degrees", "high", values), bins=2)
    assert turned.bins[0].low > turned.bins[1].low
    assert turned.unknown is not None
    assert turned.unknown.rate.trials == 10
    assert turned.no_face == 7
    assert sum(b.fnmr.rate.trials for b in turned.bins) + 10 == 100
    half = values.copy()
    half[::2] = np.nan  # one of the two pictures is enough
    with pytest.raises(VultusError, match="known of no mated comparison"):
        by_condition(found, Condition("yaw", "turned", "degrees", "high", half))


def test_one_value_makes_one_bin():
    found, values = many(np.arange(100) % 2 == 0, np.full(100, 3.0))
    assert [(b.low, b.high, b.fnmr.value) for b in by_condition(found, Condition("x", "", "", "low", values)).bins] == [
        (3, 3, 0.5)
    ]


@pytest.mark.parametrize(
    ("values", "bins", "expected"),
    [
        ([1] * 90 + [2] * 10, 2, [(1, 2, 90), (2, 2, 10)]),
        ([1] * 10 + [2] * 90, 2, [(1, 2, 10), (2, 2, 90)]),
        ([1] * 10 + [2] * 80 + [3] * 10, 5, [(1, 2, 10), (2, 3, 80), (3, 3, 10)]),
        ([*range(50), *[50] * 50], 4, [(0, 25, 25), (25, 50, 25), (50, 50, 50)]),
    ],
)
def test_tied_values_at_an_end_have_a_bin_of_their_own(values, bins, expected):
    found, doubled = many(np.arange(100) % 2 == 0, values)
    parts = by_condition(found, Condition("x", "", "", "low", doubled), bins=bins).bins
    assert [(b.low, b.high, b.fnmr.rate.trials) for b in parts] == expected
    assert bin_names(parts)[-1] == str(expected[-1][0])


def test_a_quality_that_is_unknown_is_null_in_json():
    found = discard(np.array([True, False]), np.array([-np.inf, 1.0]), fractions=(0, 0.5))
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["lowest"] == [None, 1.0]


def test_figures_and_words(tmp_path, monkeypatch):
    monkeypatch.setattr("vultus.evaluation.figures.style.DPI", 40)
    rng = np.random.default_rng(0)
    found, values = many(rng.random(300) < 0.2, rng.random(300))
    values[:20] = np.nan
    found.failures[0] = 3
    size, flat = Condition("a", "size", "pixels", "low", values), Condition("b", "flat", "", "high", np.ones(600))
    curves = [edc(found, c.quality, name=c.title) for c in (size, flat)]
    parts = [by_condition(found, c) for c in (size, flat)]
    sections = discard_sections(curves) + condition_sections(parts)
    html = write_report(tmp_path / "r.html", "r", sections).read_text(encoding="utf-8")
    for words in ("gain up to 20%", "1 - TAR of all is", "size, unknown", "In 3 further comparisons no face was found"):
        assert words in html
    without, _ = many(np.zeros(20, bool), np.arange(20))
    alone = by_condition(without, Condition("a", "size", "pixels", "low", np.repeat(np.arange(20.0), 2)))
    curve = discard(np.zeros(20, bool), np.arange(20))
    for picture in (condition_dots([alone]), edc_curves([curve]), edc_curves(curves, upto=0.5)):
        assert picture.startswith(b"\x89PNG")


def test_bins_are_named_with_as_few_digits_as_tell_them_apart():
    found, values = many(np.arange(100) % 2 == 0, np.linspace(0.92, 0.94, 100))
    parts = by_condition(found, Condition("s", "", "", "low", values), bins=4)
    assert bin_names(parts.bins, " to ") == ["0.92 to 0.925", "0.925 to 0.93", "0.93 to 0.935", "0.935 to 0.94"]
