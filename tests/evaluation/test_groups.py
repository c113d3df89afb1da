"""Groups at one threshold: whose errors they are, when a rate is told, and what a ratio may say."""

from __future__ import annotations

import json
from itertools import combinations
from math import exp, inf, log, sqrt

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.evaluation.breakdown import Outcomes, decide, group_rates, rates_of, tidy
from vultus.evaluation.breakdown.cell import cell, mated_cell
from vultus.evaluation.breakdown.groups import ratio
from vultus.evaluation.comparisons import AllPairs
from vultus.evaluation.figures.groups import group_dots, group_matrix, share
from vultus.evaluation.intervals import Rate, independent_rate, mated_rate, non_mated_rate
from vultus.evaluation.report import Table, write_report
from vultus.evaluation.report.groups import group_sections


def at_angles(degrees):
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], 1).astype(np.float32)


def test_decisions_by_hand():
    # a at 0 and 20 degrees, b at 30 and 90; a match is 25 degrees or less. Mated: 20 (match), 60 (rejected).
    # Of different people: 30, 90, 10 (a false match: the second of a, the first of b), 70.
    found = decide(at_angles([0, 20, 30, 90]), np.array([5, 5, 9, 9]), float(np.cos(np.radians(25))))
    assert found.mated.tolist() == [[0, 1], [2, 3]]
    assert found.rejected.tolist() == [False, True]
    assert found.false_matches.tolist() == [[1, 2]]
    assert found.images.tolist() == [2, 2]
    assert found.mated_identity.tolist() == [0, 1]


@pytest.mark.parametrize("block", [1, 3, 7, 64])
def test_decisions_are_those_of_a_plain_loop(block):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 9, 40)
    rows = rng.normal(size=(40, 4))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    found = decide(rows, labels, 0.4, block=block)
    mated, false = {}, set()
    for i, j in combinations(range(40), 2):
        match = float(rows[i] @ rows[j]) >= 0.4
        if labels[i] == labels[j]:
            mated[i, j] = not match
        elif match:
            false.add((i, j))
    assert {tuple(sorted(p)): r for p, r in zip(found.mated.tolist(), found.rejected.tolist(), strict=True)} == mated
    assert {tuple(sorted(p)) for p in found.false_matches.tolist()} == false
    assert len(found.mated) == len(mated)


def two_groups(a_errors, b_errors, across=0, misses=()):
    """Ten people of A (identities 0..9) and ten of B, two images each (rows 2i, 2i + 1)."""
    identity = np.repeat(np.arange(20), 2)
    within = [list(combinations(range(start, start + 10), 2)) for start in (0, 10)]
    pairs = [*within[0][:a_errors], *within[1][:b_errors], *[(i, 10 + i) for i in range(across)]]
    return Outcomes(
        threshold=0.5,
        identity=identity,
        mated=np.arange(40).reshape(20, 2),
        rejected=np.isin(np.arange(20), misses),
        false_matches=2 * np.array(pairs, np.int64).reshape(-1, 2),
        failures=np.zeros(20, np.int64),
    )


HALVES = np.repeat([0, 1], 20)


def test_the_rates_of_two_groups_by_hand():
    # Of 40 images in pairs: 760 comparisons of different people; inside a group 190 - 10 = 180, across 20 x 20 = 400.
    found = rates_of(two_groups(36, 9, across=4), HALVES, ("A", "B"))
    assert (found.all_fmr.rate.errors, found.all_fmr.rate.trials) == (49, 760)
    (aa, ab), (ba, bb) = ((c.rate for c in row) for row in found.fmr)
    assert (aa.errors, aa.trials) == (36, 180)
    assert (bb.errors, bb.trials) == (9, 180)
    assert (ab.errors, ab.trials) == (4, 400)
    assert ab == ba
    assert found.images == (20, 20)
    assert found.identities == (10, 10)
    # The interval is the one that knows who was in the 36 false matches: ten people with two images each.
    first, second = np.array(list(combinations(range(10), 2))[:36]).T
    assert aa == non_mated_rate(first, second, AllPairs(np.full(10, 2)))


def test_the_ratio_and_its_interval_by_hand():
    found = rates_of(two_groups(36, 9), HALVES, ("A", "B"))
    high, low = found.fmr[0][0].rate, found.fmr[1][1].rate
    shown = found.fmr_ratio
    assert (shown.worst, shown.best, shown.left_out) == ("A", "B", ())
    down = sqrt(log(0.2 / high.interval[0]) ** 2 + log(low.interval[1] / 0.05) ** 2)
    up = sqrt(log(high.interval[1] / 0.2) ** 2 + log(0.05 / low.interval[0]) ** 2)
    assert shown.interval == pytest.approx((4 * exp(-down), 4 * exp(up)))


def test_a_ratio_is_withheld_where_alike_groups_may_show_any():
    # About three errors of twenty: one of two alike groups has none in one data set of thirteen (2 x 0.85^20 = 0.08).
    few = ratio(
        {"A": cell(independent_rate(4, 20), 20, None, power=1), "B": cell(independent_rate(2, 20), 20, None, power=1)}
    )
    assert (few.value, few.chance, few.shows_a_difference) == (None, inf, False)
    many = ratio({"A": cell(of(400), 400, None, power=1), "B": cell(of(100), 400, None, power=1)})
    assert many.value == pytest.approx(4)
    assert many.shows_a_difference


def of(errors):
    return independent_rate(errors, 10_000)


def test_a_group_is_told_or_withheld_by_what_is_expected_of_it_not_by_what_it_shows():
    # 45 of 760 are 0.0592: ten errors are expected of 169 comparisons, and each group has 180.
    found = rates_of(two_groups(45, 0), HALVES, ("A", "B"))
    assert found.fmr[1][1].value == 0.0  # told, though it has no error
    assert found.fmr_ratio.value is None
    assert found.fmr_ratio.interval == (
        pytest.approx(found.fmr[0][0].rate.interval[0] / found.fmr[1][1].rate.interval[1]),
        inf,
    )
    # 40 of 760 are 0.0526: 190 are needed; that are about 10 sqrt(190 / 180) = 10.3 people.
    short = rates_of(two_groups(40, 0), HALVES, ("A", "B")).fmr[0][0]
    assert short.value is None
    assert (short.needs, short.needs_people) == (190, 11)
    # 20 mated comparisons of all, 10 of a group; 10 misses: 20 are needed, so 20 people.
    mated = rates_of(two_groups(1, 1, misses=range(10)), HALVES, ("A", "B")).fnmr[0][0]
    assert (mated.value, mated.needs, mated.needs_people) == (None, 20, 20)


def test_few_people_make_no_rate_however_many_their_pictures():
    errors, counts = np.full(9, 100), np.full(9, 1000)
    few = mated_cell(errors, counts, independent_rate(900, 9000))
    assert (few.value, few.needs, few.needs_people) == (None, None, 10)
    assert mated_cell(np.full(10, 100), np.full(10, 1000), independent_rate(900, 9000)).value == 0.1
    # Nine people with one comparison each and one with 1,000 are worth 1009^2 / 1000009 = 1.02 people.
    counts = np.array([1] * 9 + [1000])
    alone = mated_cell(counts // 10, counts, independent_rate(900, 9000))
    assert alone.people == pytest.approx(1.018, abs=1e-3)
    assert (alone.value, alone.needs, alone.needs_people) == (None, None, 10)


def test_where_nobody_errs_nothing_is_told():
    found = rates_of(two_groups(0, 0), HALVES, ("A", "B"))
    assert found.fmr[0][0].value is None
    assert found.fmr_ratio.value is None
    assert found.fmr_ratio.left_out == ("A", "B")


def test_alike_groups_show_a_ratio_above_one_and_chance_says_so():
    rates = {name: cell(independent_rate(20, 1000), 50, None, power=1) for name in "abcdef"}
    rates["a"] = cell(independent_rate(25, 1000), 50, None, power=1)
    found = ratio(rates)
    assert found.value == pytest.approx(1.25)
    # Six draws of about 20 +- 4.5: the largest is often twice the smallest.
    assert found.chance is not None
    assert 1.8 < found.chance < 3.5
    certain = ratio({name: cell(Rate(2000, 10**5, (0.019, 0.021), 1e5), 50, None, power=1) for name in "ab"})
    assert certain.value == 1
    assert certain.chance is not None
    assert certain.chance < 1.1


def test_photographs_without_a_face_are_misses_of_their_group():
    outcomes = two_groups(36, 9, misses=[0])
    outcomes.failures[10:] = 2  # two lost comparisons for each of B
    found = rates_of(outcomes, HALVES, ("A", "B"))
    assert (found.all_fnmr.rate.errors, found.all_fnmr.rate.trials) == (21, 40)
    assert found.fnmr[0][0].rate == mated_rate(np.arange(10) == 0, AllPairs(np.full(10, 2)))
    assert (found.fnmr[1][1].rate.errors, found.fnmr[1][1].rate.trials) == (20, 30)
    assert found.fmr[1][1].rate.trials == 180  # and no correct rejections


def test_a_column_of_the_image_has_misses_across_groups():
    # One person with a bright and a dark image, and one of each more: mated pairs bright-dark, dark-dark.
    rows = at_angles([0, 5, 90, 95])
    found = group_rates(rows, np.array([0, 0, 1, 1]), ["bright", "dark", "dark", "dark"], 0.5, by_image=True)
    assert found.by_image
    assert found.fnmr[0][0].rate.trials == 0
    assert found.fnmr[0][1].rate.trials == 1
    assert found.fnmr[1][1].rate.trials == 1
    # Different people: bright with the two of the other person; the first one's dark with the same two.
    assert found.fmr[0][1].rate.trials == 2
    assert found.fmr[1][1].rate.trials == 2
    assert found.all_fmr.rate.trials == 4


def test_what_is_infinite_is_null_in_json():
    # Nobody of B errs: no upper bound. With 45 errors of 760, 180 comparisons may expect 10 and both groups are told.
    found = rates_of(two_groups(45, 0), HALVES, ("A", "B"))
    assert found.fmr_ratio.interval is not None
    assert found.fmr_ratio.interval[1] == inf
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["fmr_ratio"]["interval"] == [pytest.approx(found.fmr_ratio.interval[0]), None]
    assert plain["fmr"][0][0]["rate"]["errors"] == 45


def test_missing_groups_are_a_group_of_their_own():
    codes, names, filled = tidy([1, 1, 2, 3, 4], ["x", None, "", float("nan"), "y"])
    assert names == ("x", "y", "unknown")
    assert codes.tolist() == [0, 0, 2, 2, 1]
    assert filled == 1  # the second image of 1 is x as the first is
    codes, _, filled = tidy([1, 1, 2, 3, 4], ["x", None, "", float("nan"), "y"], by_image=True)
    assert codes.tolist() == [0, 2, 2, 2, 1]
    assert filled == 0
    assert tidy([7, 3, 3], ["three", "seven"])[0].tolist() == [0, 1, 1]  # by identity, in the labels' order
    assert tidy([1, 2, 3, 4], ["none", "nan", " ", "NaN"])[1] == ("NaN", "nan", "none", "unknown")  # names of groups
    assert tidy([1, 2, 3], np.array([1.0, np.nan, 2.0]))[1] == ("1.0", "2.0", "unknown")


@pytest.mark.parametrize(
    ("labels", "groups", "said"),
    [
        ([1, 1, 2, 2], ["x", "y", "x", "x"], "1 of 2 people lie in two or more groups .label 1: x, y"),
        ([1, 1, 2, 2], ["x"] * 3, "3 values for 4 images of 2 people"),
        ([1, 1, 2, 2], ["x"] * 4, "every image is 'x'"),
        (list(range(31)), list(range(31)), "31 different values"),
    ],
)
def test_bad_columns_are_refused(labels, groups, said):
    with pytest.raises(VultusError, match=said):
        tidy(labels, groups)


@pytest.mark.parametrize(
    ("labels", "failures", "said"),
    [([0, 0], None, "one identity only"), ([0, 1], None, "two images"), ([0, 1], [1, 2, 3], "counts of the 2")],
)
def test_nothing_to_decide(labels, failures, said):
    with pytest.raises(VultusError, match=said):
        decide(at_angles([0, 20]), np.array(labels), 0.5, failures=failures)


def test_figures_and_words(tmp_path, monkeypatch):
    monkeypatch.setattr("vultus.evaluation.figures.style.DPI", 40)
    sections = group_sections(rates_of(two_groups(40, 0, misses=[0]), HALVES, ("A", "unknown"), "sex <b>", filled=3))
    html = write_report(tmp_path / "r.html", "r", sections).read_text(encoding="utf-8")
    for words in ("sex &lt;b&gt;", "group “unknown”", "withheld: 190 pairs, has 180", "no certificate of fairness"):
        assert words in html
    assert "3 images without a value" in html
    table = next(section for section in sections if isinstance(section, Table))
    assert [row[0] for row in table.rows] == ["A", "unknown", "all"]
    many = rates_of(two_groups(20, 20), np.repeat(np.arange(10), 4), tuple("abcdefghij"))  # nothing told
    none = rates_of(two_groups(0, 0), HALVES, ("A", "B"))
    for rates in (many, none):
        for draw in (group_dots, group_matrix):
            assert draw(rates).startswith(b"\x89PNG")
    across = group_sections(
        group_rates(at_angles([0, 5, 90, 95]), np.array([0, 0, 1, 1]), ["x", "y", "y", "y"], 0.5, by_image=True)
    )
    assert any(section.title == "Not recognised across" for section in across if isinstance(section, Table))


@pytest.mark.parametrize("name", ["$a_{$", "$\\mathdefault{$", "50 $"])
def test_a_dollar_in_a_name_is_a_dollar(name, monkeypatch):
    monkeypatch.setattr("vultus.evaluation.figures.style.DPI", 40)
    rates = rates_of(two_groups(45, 9), HALVES, (name, "B $x^$"), name)
    for draw in (group_dots, group_matrix):
        assert draw(rates, title=name).startswith(b"\x89PNG")


def test_small_shares_have_two_digits():
    found = [share(rate) for rate in (0, 1, 0.123, 0.00123, 0.000998, 1e-7)]
    assert found == ["0%", "100%", "12%", "0.12%", "0.10%", "0.000010%"]
