"""A profile is answered by the interval's bound; the AUC's interval knows shared people."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.evaluation import verify_all_pairs, verify_scores
from vultus.evaluation.auc import auc_interval
from vultus.evaluation.comparisons import AllPairs
from vultus.evaluation.intervals import Interval, wilson_at
from vultus.evaluation.profiles import judge, list_profiles, load_profile, parse_profile
from vultus.evaluation.report import Verdict, write_report
from vultus.evaluation.report.profile import profile_sections
from vultus.evaluation.scores import PairScores, explicit_scores
from vultus.evaluation.scores.pairs import BINS

MINE = """
name = "mine"
title = "Mine"
words = "Words."
[[requirement]]
measure = "tar"
far = 0.01
at_least = 0.9
source = "here"
"""
AUC = MINE.replace('"tar"\nfar = 0.01', '"auc"')
SEARCH = MINE.replace('"tar"\nfar = 0.01', '"tpir"\nfpir = 0.01\ngallery = 1000')


@dataclass
class Search:
    gallery: int
    fpir: float
    tpir: float | None
    tpir_interval: Interval | None
    needs: int | None = None


def test_the_shipped_profiles_ask_what_they_are_known_for():
    found = {p.name: [(r.measure, r.far or r.fpir, r.at_least) for r in p.requirements] for p in list_profiles()}
    assert found == {
        "document-verification": [("auc", None, 0.998)],
        "forensics": [("tar", 1e-5, 0.90)],
        "phone-unlock": [("tar", 1e-3, 0.985)],
        "physical-access": [("tar", 1e-4, 0.95)],
        "watch-list": [("tpir", 1.66666667e-4, 0.89)],
    }
    for profile in list_profiles():
        assert profile.words
        assert all(requirement.source for requirement in profile.requirements)
    assert load_profile("physical-access").fars == (1e-4,)
    assert load_profile("watch-list").searches == ((10_000, 1.66666667e-4),)


def test_ones_own_file_works_wherever_a_name_does(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    assert load_profile(path) == load_profile(str(path))
    assert load_profile(path).requirements[0].at_least == 0.9


@pytest.mark.parametrize(
    ("name", "said"),
    [("phone-unlok", "nearest is phone-unlock"), ("x", "watch-list"), ("none.toml", "does not exist")],
)
def test_an_unknown_profile_is_named_with_what_there_is(name, said):
    with pytest.raises(VultusError, match=said):
        load_profile(name)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("at_least = 0.9", "atleast = 0.9", "unknown field 'atleast' here; did you mean at_least"),
        ("at_least = 0.9", "", "at_least is missing"),
        ("at_least = 0.9", "at_least = 95", "at_least is 95; it is a share"),
        ("far = 0.01", 'far = "low"', "far is 'low'; it must be a number"),
        ("far = 0.01", "fpir = 0.01", "unknown field 'fpir' here"),
        ('"tar"', '"eer"', "measure is 'eer'; choose tar, auc, tpir"),
        ('title = "Mine"', "", "title is missing"),
        ('name = "mine"', "name =", "no profile in TOML"),
    ],
)
def test_a_bad_file_says_which_field(old, new, said):
    with pytest.raises(VultusError, match=said):
        parse_profile(MINE.replace(old, new), "f.toml")


def measured(matches: int, total: int):
    """TAR `matches` / `total` at FAR 0.01: 2,000 strangers at 0, of whom 10 at 0.5 and 10 more at 0.6."""
    mated = np.concatenate([np.full(matches, 0.9), np.full(total - matches, -0.5)])
    return verify_scores(mated, np.repeat([0.0, 0.5, 0.6], [1980, 10, 10]), fars=(0.01,), images=4000, identities=100)


@pytest.mark.parametrize(
    ("matches", "total", "answer"),
    # Wilson's 95 % intervals: 990 of 1000 [.982, .995]; 800 of 1000 [.774, .824]; 18 of 20 [.699, .972].
    [(990, 1000, "PASS"), (800, 1000, "FAIL"), (18, 20, "NOT ENOUGH EVIDENCE"), (97, 100, "PASS")],
)
def test_the_bound_decides(matches, total, answer):
    found = judge(parse_profile(MINE, "mine"), measured(matches, total))
    assert found.answer == answer
    assert bool(found.requirements[0].decides) == (answer == "NOT ENOUGH EVIDENCE")


@pytest.mark.parametrize(("people", "answer"), [(34, "NOT ENOUGH EVIDENCE"), (35, "PASS")])
def test_few_people_pass_nothing_however_many_their_comparisons(people, answer):
    # No error among 35 people leaves up to 9.9 % of people open who fail always, among 34 up to 10.2 % (Wilson).
    found = dataclasses.replace(measured(100_000, 100_000), identities=people)
    judged = judge(parse_profile(MINE, "mine"), found).requirements[0]
    assert judged.answer == answer
    assert judged.answer == "PASS" or "35 in place of 34" in judged.decides


def test_what_would_decide_it_is_counted():
    found = judge(parse_profile(MINE, "mine"), measured(95, 100)).requirements[0]
    low, high = wilson_at(0.95, 100)  # 0.888 to 0.978 around 0.95, and the goal is 0.9
    assert low < 0.9 < high
    # FNMR 0.05, of 100 people: 1.96^2 x 0.1 x 0.9 / 0.05^2 = 138.3 comparisons put 0.1 just outside the interval.
    assert found.factor == pytest.approx(1.39)
    assert "1.4 times as many people (139 in place of 100)" in found.decides
    assert wilson_at(0.95, 139)[0] > 0.9 > wilson_at(0.95, 138)[0]
    short = judge(parse_profile(MINE, "mine"), measured(88, 100)).requirements[0]
    assert short.answer == "NOT ENOUGH EVIDENCE"
    assert short.factor == pytest.approx(8.65)  # 1.96^2 x 0.1 x 0.9 / 0.02^2 = 864.3
    assert "(865 in place of 100)" in short.decides
    on_the_goal = judge(parse_profile(MINE, "mine"), measured(90, 100)).requirements[0]
    assert on_the_goal.factor is None
    assert "hardly decide" in on_the_goal.decides


def test_a_withheld_rate_is_no_failure():
    strict = parse_profile(MINE.replace("0.01", "1e-4"), "mine")
    v = verify_scores(np.full(50, 0.9), np.zeros(1000), fars=(1e-4,), images=150, identities=50)
    found = judge(strict, v).requirements[0]
    assert found.answer == "NOT ENOUGH EVIDENCE"
    assert found.measured is None
    assert "needs 100,000 comparisons of different people; there are 1,000" in found.because
    assert found.factor == pytest.approx(10)  # ten times the people make a hundred times the pairs
    with pytest.raises(VultusError, match=r"FAR 0\.0001 was not measured"):
        judge(strict, measured(5, 10))


def test_all_requirements_count():
    both = parse_profile(MINE + MINE[MINE.index("[[") :].replace("0.9", "0.999"), "mine")
    assert judge(both, measured(990, 1000)).answer == "FAIL"
    assert judge(both, measured(1000, 1000)).answer == "NOT ENOUGH EVIDENCE"
    assert judge(both, dataclasses.replace(measured(9999, 9999), identities=4000)).answer == "PASS"


def test_an_auc_is_judged_by_its_interval():
    profile, v = parse_profile(AUC, "mine"), measured(950, 1000)
    assert v.auc > 0.9
    assert judge(profile, v).answer == "NOT ENOUGH EVIDENCE"  # no interval
    assert judge(profile, v, auc_interval=(0.91, 0.99)).answer == "PASS"
    assert judge(profile, v, auc_interval=(0.89, 0.99)).answer == "NOT ENOUGH EVIDENCE"
    assert judge(profile, v, auc_interval=(0.8, 0.89)).answer == "FAIL"


def test_a_search_needs_the_gallery_it_will_have():
    profile, v = parse_profile(SEARCH, "mine"), measured(950, 1000)
    assert "holds 0 people, not 1,000" in judge(profile, v).requirements[0].because
    small = judge(profile, v, [Search(500, 0.01, 0.99, (0.98, 0.999))]).requirements[0]
    assert small.answer == "NOT ENOUGH EVIDENCE"
    assert "at least 900 enrolled people" in small.decides
    assert judge(profile, v, [Search(900, 0.01, 0.99, (0.98, 0.999))]).answer == "PASS"
    several = [Search(950, 0.01, 0.99, (0.98, 0.999)), Search(1000, 0.01, 0.8, (0.7, 0.85))]
    assert judge(profile, v, several).answer == "FAIL"
    assert "FPIR 0.01 was not measured" in judge(profile, v, [Search(1000, 0.1, 1, (1, 1))]).requirements[0].because
    withheld = judge(profile, v, [Search(1000, 0.01, None, None, 1000)]).requirements[0]
    assert "FPIR 0.01 needs 1,000 searches" in withheld.because


def test_the_report_says_the_answer_in_words(tmp_path):
    both = parse_profile(MINE + MINE[MINE.index("[[") :].replace("0.9", "0.999"), "mine")
    sections = profile_sections(judge(both, measured(95, 100)))
    answer = sections[0]
    assert isinstance(answer, Verdict)
    assert answer.answer == "FAIL"  # 0.978 is below 0.999
    assert "TAR at FAR 0.01 must be at least 99.9%; measured 95.00%" in answer.body
    html = write_report(tmp_path / "r.html", "r", sections).read_text(encoding="utf-8")
    assert "NOT ENOUGH EVIDENCE" in html  # the other requirement
    assert "88.82% to 97.85%" in html
    withheld = profile_sections(judge(load_profile("watch-list"), measured(95, 100)))[0]
    assert isinstance(withheld, Verdict)
    assert "withheld" in withheld.body
    assert "at least 9,000 enrolled people" in withheld.body
    assert "60,000 searches" in withheld.body
    auc = profile_sections(judge(parse_profile(AUC, "mine"), measured(95, 100), auc_interval=(0.91, 0.99)))[0]
    assert isinstance(auc, Verdict)
    assert "AUC must be at least 0.9; measured 0.95" in auc.body


def kept(mated, owners, tail, pairs, images) -> PairScores:
    """All non-mated scores but those in `tail` are 0."""
    comparisons = AllPairs(np.asarray(images))
    total = int(comparisons.non_mated.sum()) // 2
    histogram = np.zeros(BINS, np.int64)
    np.add.at(histogram, np.floor((np.asarray(tail) + 1) * 2**16).astype(int), 1)
    histogram[2**16] += total - len(tail)
    return PairScores(
        mated=np.asarray(mated, np.float32),
        mated_failures=0,
        non_mated=total,
        tail=np.asarray(tail, np.float32),
        histogram=histogram,
        comparisons=comparisons,
        mated_identity=np.asarray(owners),
        failures=np.zeros(len(images), np.int64),
        tail_identities=np.asarray(pairs),
    )


def test_the_auc_interval_by_hand():
    # Three people with two images each: mated scores 0.2 (a), 0.6 (b), 0.8 (c); 12 comparisons of different people.
    # Two of those score 0.4, both of a with b; the others score 0, and only those two are in the tail.
    # Above the mated scores lie 2, 0, 0 of 12: one person of three errs, by 2/12 of one comparison. Below 0.4 lies 1 of
    # 3 mated scores, below 0 none: a and b of three people err by 2/3 of their 8 comparisons each, and as each
    # comparison is of two people, three are worth one. Both 1/18 on average; at least as unsure as 3 comparisons.
    scores = kept([0.2, 0.6, 0.8], [0, 1, 2], [0.4, 0.4], [[0, 1], [1, 0]], [2, 2, 2])
    mated, apart, plain = wilson_at(1 / 3, 3), wilson_at(2 / 3, 1), wilson_at(1 / 18, 3)
    low, high = (
        pick([mated[end] / 6, apart[end] * (2 / 3) * 3 / 24, plain[end]]) for end, pick in enumerate((min, max))
    )
    assert auc_interval(scores) == pytest.approx((1 - high, 1 - low))


def test_the_auc_interval_does_not_depend_on_the_length_of_the_tail():
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(40), 3)
    rows = rng.normal(size=(40, 8))[labels] + 1.2 * rng.normal(size=(120, 8))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    score, (i, j) = rows @ rows.T, np.triu_indices(120, 1)
    same, value = labels[i] == labels[j], score[i, j]
    mated = np.argsort(value[same])
    other = np.argsort(value[~same])
    images = np.full(40, 3)
    pairs = np.stack([labels[i[~same]], labels[j[~same]]], 1)[other]
    whole = kept(value[same][mated], labels[i[same]][mated], value[~same][other], pairs, images)
    exact = auc_interval(whole)
    v = verify_all_pairs(rows, labels)
    assert exact[0] < v.auc < exact[1]
    histogram = np.bincount(np.floor((value[~same].astype(np.float64) + 1) * 2**16).astype(int), minlength=BINS)
    shorter = {"tail": whole.tail[-2000:], "tail_identities": pairs[-2000:], "histogram": histogram}
    part = dataclasses.replace(whole, **shorter)
    assert auc_interval(part) == pytest.approx(exact, abs=2e-3)
    independent = auc_interval(explicit_scores(value[same], value[~same]))
    assert exact[1] - exact[0] >= independent[1] - independent[0]


def test_a_perfect_auc_is_as_sure_as_the_rarer_kind_of_comparison_allows():
    few = kept(np.full(6, 0.8), np.arange(6), [0.1], [[0, 1]], np.full(6, 2))
    assert auc_interval(few) == pytest.approx(wilson_at(1.0, 6.0))
