"""Galleries sampled from a dataset, and how FPIR grows with their size."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.evaluation.intervals import wilson
from vultus.evaluation.protocols.fpir_growth import fpir_growth, law
from vultus.evaluation.protocols.galleries import Draw, gallery_sizes, nested_galleries
from vultus.evaluation.protocols.open_set import open_set
from vultus.evaluation.protocols.search_rates import SearchRates
from vultus.evaluation.protocols.searches import Split, searches

NOBODY = np.empty(0, np.int64)


def people(rng, identities: int, images: int, noise: float = 0.5, dimensions: int = 16):
    """(N, D) unit rows and labels 0, 10, 20, ...: `images` images of each identity around a centre of its own."""
    labels = np.repeat(np.arange(identities), images)
    rows = rng.normal(size=(identities, dimensions))[labels] + noise * rng.normal(size=(len(labels), dimensions))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels * 10


def draws(codes, sizes, draw, *, missing=NOBODY, seed=0) -> list[Split]:
    return list(nested_galleries(codes, missing, sizes, draw, np.random.default_rng(seed)))


def test_nobody_is_in_two_places():
    codes = np.random.default_rng(0).permutation(np.repeat(np.arange(12), [1, 1, 1, 2, 2, 3, 4, 5, 6, 8, 9, 20]))
    draw = Draw(enrol=2, mated_each=3, strangers_each=4)
    small, large = draws(codes, (3, 6), draw)
    for split, size in ((small, 3), (large, 6)):
        enrolled, counts = np.unique(codes[split.enrolled], return_counts=True)
        assert len(enrolled) == size
        assert (counts == 2).all()  # so nobody of the three people with one image
        assert not set(split.enrolled) & set(split.mated)
        assert set(codes[split.mated]) <= set(enrolled)
        assert not set(codes[split.strangers]) & set(enrolled)
        assert np.bincount(codes[split.mated]).max() <= 3
        assert np.bincount(codes[split.strangers]).max() <= 4
    assert set(codes[small.enrolled]) < set(codes[large.enrolled])
    np.testing.assert_array_equal(small.strangers, large.strangers)
    # Everybody who is not in the largest gallery is a stranger, also with one image.
    assert len(set(codes[large.strangers])) == 12 - 6


def test_first_images_are_enrolled_in_the_order_of_the_dataset():
    codes = np.array([1, 0, 1, 0, 2, 2])
    split = draws(codes, (1,), Draw(choose="first"))[0]
    person = int(codes[split.enrolled[0]])
    assert split.enrolled[0] == {0: 1, 1: 0, 2: 4}[person]
    assert split.mated.tolist() == {0: [3], 1: [2], 2: [5]}[person]
    enrolled = {draws(codes, (1,), Draw(), seed=seed)[0].enrolled[0] for seed in range(60)}
    assert enrolled == set(range(6))  # sampled: any image of anybody


def test_photographs_without_a_face_follow_their_person():
    codes, missing = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 2])  # of 2 there is no face at all
    split = draws(codes, (1,), Draw(), missing=missing)[0]
    person = int(codes[split.enrolled[0]])
    assert split.mated_missing.tolist() == [person] * (1, 2)[person]
    assert split.strangers_missing == 4 - len(split.mated_missing)


def test_the_limit_of_probes_keeps_the_share_without_a_face():
    # Of each of 60 people 101 images with a face, one of them enrolled, and 20 photographs without: 20 of 120 are lost.
    codes, missing = np.repeat(np.arange(60), 101), np.repeat(np.arange(60), 20)
    drawn = [draws(codes, (50,), Draw(), missing=missing, seed=seed)[0] for seed in range(20)]
    for split in drawn:
        searched = np.concatenate([codes[split.mated], split.mated_missing])
        assert np.unique(searched, return_counts=True)[1].tolist() == [10] * 50
        assert split.strangers_missing == 10 * 20
    assert np.mean([len(split.mated_missing) / 500 for split in drawn]) == pytest.approx(1 / 6, abs=0.02)
    everything = draws(codes, (50,), Draw(mated_each=None), missing=missing)[0]
    assert (len(everything.mated), len(everything.mated_missing)) == (50 * 100, 50 * 20)


def test_default_sizes():
    images = np.full(2820, 3)
    assert gallery_sizes(images, Draw()) == (50, 100, 200, 500, 1000)
    assert gallery_sizes(images[:70], Draw()) == (35,)
    assert gallery_sizes(images[:2], Draw()) == (1,)
    images[100:] = 1  # 100 people can be enrolled with two images
    assert gallery_sizes(images, Draw(enrol=2)) == (50,)


def test_pooled_rates_are_errors_of_all_galleries_among_searches_of_all():
    embeddings, labels = people(np.random.default_rng(3), 40, 4)
    draw, fpirs = Draw(enrol=1, mated_each=None, strangers_each=None), (0.2, 0.01)
    found = open_set(embeddings, labels, (10, 20), galleries=5, draw=draw, fpirs=fpirs, resamples=0, seed=7)
    rng, codes = np.random.default_rng(7), labels // 10
    splits = [list(nested_galleries(codes, NOBODY, (10, 20), draw, rng)) for _ in range(5)]
    for place, size in enumerate(found.sizes):
        each = [searches(embeddings, codes, pair[place]) for pair in splits]
        assert (size.people, size.templates, size.galleries) == ((10, 20)[place], (10, 20)[place], 5)
        assert (size.mated, size.non_mated) == (5 * 3 * size.people, 5 * 4 * 20)
        point, withheld = size.points
        assert point.threshold is not None
        assert point.fpir_rate is not None
        assert point.fnir is not None
        threshold = np.float32(point.threshold)
        fpir = [(g.best >= threshold).mean() for g in each]
        fnir = [1 - ((g.mate >= threshold) & (g.rank == 1)).mean() for g in each]
        assert point.fpir_rate.value == pytest.approx(np.mean(fpir))
        assert point.fnir.value == pytest.approx(np.mean(fnir))
        assert point.fpir_spread == (min(fpir), max(fpir))
        assert point.fnir_spread == pytest.approx((min(fnir), max(fnir)))
        assert size.rank_one == pytest.approx(np.mean([(g.rank == 1).mean() for g in each]))
        # One gallery has 80 searches of strangers, though five have 400: 0.01 x 80 < 10.
        assert (withheld.tpir, withheld.needs) == (None, 1000)
    assert [p.gallery for p in found.points] == [10, 10, 20, 20]
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_same_seed_gives_the_same_figures():
    embeddings, labels = people(np.random.default_rng(4), 60, 3)
    first, again, other = (open_set(embeddings, labels, (20,), fpirs=(0.1,), seed=seed) for seed in (1, 1, 2))
    assert first.to_dict() == again.to_dict()
    assert first.to_dict() != other.to_dict()


def test_the_bootstrap_moves_the_threshold():
    embeddings, labels = people(np.random.default_rng(5), 80, 4, noise=0.8)
    point = open_set(embeddings, labels, (30,), fpirs=(0.1,)).sizes[0].points[0]
    assert point.fnir is not None
    assert point.fnir.bootstrap is not None
    assert point.tpir is not None
    assert point.tpir_interval is not None
    assert point.fnir.bootstrap[0] < point.fnir.value < point.fnir.bootstrap[1]
    assert point.tpir_interval[0] < point.tpir < point.tpir_interval[1]
    # Both lie inside: it is the wider bound of two.
    assert point.tpir_interval[0] <= 1 - point.fnir.bootstrap[1]
    assert point.tpir_interval[1] >= 1 - point.fnir.interval[0]


def test_bootstrap_of_one_resample_by_hand(monkeypatch):
    # Strangers 3, 4, 5 score 0.9 (raised by 0), 0.8 (by 1), 0.7 (by 0); mated scores: 0.75 of 0, 0.85 of 1, 0.3 of 2.
    rates = SearchRates(
        [
            searches_of(
                mated=[(0, 0.75), (1, 0.85), (2, 0.3)],
                strangers=[(3, 0.9, 0), (4, 0.8, 1), (5, 0.7, 0)],
            )
        ]
    )
    # People drawn: 0 twice, 1 not at all, 2 twice, 3 once, 4 not at all, 5 once. So two searches of strangers, and the
    # scores 0.9 and 0.7 weigh 2 each (a person who is drawn twice is raised twice), 0.8 nothing. FPIR <= 1/2 allows
    # a weight of 1: the border is 0.9. Found above it is nobody: FNIR = 4 / 4.
    drawn = np.array([0, 0, 2, 2, 3, 5])
    monkeypatch.setattr(np.random, "default_rng", lambda seed: type("Fixed", (), {"integers": lambda *a, **k: drawn}))
    assert rates.fnir_at_fpir([0.5], 4) == [(1.0, 1.0)]
    # FPIR <= 0.99 x 2 allows nothing more (2 > 1.98); without a limit the border is below everybody.
    assert rates.fnir_at_fpir([0.99], 4) == [(1.0, 1.0)]
    # With person 0 drawn once: weights 1 (0.9), 0, 1 (0.7). FPIR <= 1/2 of 2 lets 0.9 through, and the next that
    # weighs is 0.7: all above it are found, 0.75 of person 0 (weight 1), not 0.3 of person 2 (weight 3): FNIR 3/4.
    drawn[:] = [0, 2, 2, 2, 3, 5]
    assert rates.fnir_at_fpir([0.5], 4) == [(0.75, 0.75)]


def searches_of(mated, strangers):
    from vultus.evaluation.protocols.searches import Searches

    owner, mate = zip(*mated, strict=True)
    stranger, best, candidate = zip(*strangers, strict=True)
    return Searches(
        enrolled=np.unique(owner),
        templates=len(set(owner)),
        mated_identity=np.array(owner),
        mate=np.array(mate, np.float32),
        rank=np.ones(len(owner), np.int64),
        mated_best=np.array(mate, np.float32),
        failures=0,
        stranger=np.array(stranger),
        best=np.array(best, np.float32),
        candidate=np.array(candidate),
        strangers_without_face=0,
    )


def simulated(rng, identities: int, size: int, galleries: int) -> SearchRates:
    """Searches in data whose people differ: some look alike, some photograph badly, some have many images."""
    codes = np.repeat(np.arange(identities), rng.geometric(0.3, identities).clip(max=15))
    centres = rng.normal(size=(identities, 16))
    centres[rng.random(identities) < 0.3, 0] += 2
    noise = 0.5 * rng.lognormal(0, 0.5, identities)[codes, None]
    rows = centres[codes] + noise * rng.normal(size=(len(codes), 16))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    draw = Draw(mated_each=None, strangers_each=None)
    splits = [split for _ in range(galleries) for split in nested_galleries(codes, NOBODY, (size,), draw, rng)]
    return SearchRates([searches(rows, codes, split) for split in splits])


def test_intervals_cover_the_rate_of_the_population():
    rng = np.random.default_rng(0)
    drawn = [simulated(rng, 120, 40, 10) for _ in range(100)]
    threshold = float(np.quantile(np.concatenate([rates.best for rates in drawn]), 0.95))
    for found in ([rates.fpir(threshold) for rates in drawn], [rates.fnir(threshold) for rates in drawn]):
        truth = sum(rate.errors for rate in found) / sum(rate.trials for rate in found)
        independent = [wilson(rate.errors, rate.trials) for rate in found]
        assert np.mean([low <= truth <= high for low, high in (rate.interval for rate in found)]) >= 0.91
        assert np.mean([low <= truth <= high for low, high in independent]) < 0.75


def test_the_law_of_independent_comparisons():
    assert law(0.5, 2) == 0.75
    assert law(0, 5) == 0
    assert law(1, 5) == 1
    assert law(1e-12, 1000) == pytest.approx(1e-9)


def test_growth_follows_the_law_where_strangers_are_alike_and_stays_below_where_they_are_not():
    rng = np.random.default_rng(0)
    embeddings, labels = people(rng, 600, 1)
    alike = fpir_growth(embeddings, labels, (1, 10, 100), fmrs=(1e-3, 1e-7), galleries=20)
    measured, withheld = alike.series
    assert (alike.pairs, alike.searches) == (600 * 599 // 2, 500)
    assert (withheld.points, withheld.needs) == ((), 10**8)
    for point in measured.points:
        assert point.spread[0] <= point.fpir <= point.spread[1]
        assert point.predicted == law(measured.fmr_rate.value, point.people) if measured.fmr_rate else False
    assert measured.points[2].fpir == pytest.approx(measured.points[2].predicted, rel=0.15)
    # A tenth of the people look alike: their scores are nearly all of the false matches, and FPIR cannot pass a tenth.
    crowded = embeddings.copy()
    crowded[::10] += 3 * embeddings[0]
    crowded /= np.linalg.norm(crowded, axis=1, keepdims=True)
    clustered = fpir_growth(crowded, labels, (1, 100), fmrs=(5e-3,), galleries=20).series[0].points
    assert clustered[0].fpir == pytest.approx(clustered[0].predicted, rel=0.6)
    assert clustered[1].fpir < 0.12 < clustered[1].predicted


def test_several_templates_of_a_person_raise_fpir_by_less_than_their_number():
    embeddings, labels = people(np.random.default_rng(1), 300, 4, noise=0.3)
    one, four = (
        fpir_growth(embeddings, labels, (50,), fmrs=(1e-3,), enrol=enrol, images_each=4, galleries=10)
        .series[0]
        .points[0]
        for enrol in (1, 4)
    )
    assert (one.templates, four.templates) == (50, 200)
    assert one.fpir < four.fpir < four.predicted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"people": (40,)}, "leaves no stranger: enrol at most 39"),
        ({"people": (41,)}, "41 people needs as many"),
        ({"people": (0,)}, "at least 1"),
        ({"galleries": 0}, "0 galleries"),
        ({"draw": Draw(enrol=3)}, "no identity has 3 images to enrol"),
        ({"draw": Draw(enrol=2)}, "no identity has an image beside the 2 enrolled"),
        ({"fuse": "median"}, "fuse"),
        ({"missing": np.array(["Ann"])}, "missing"),
    ],
)
def test_impossible_galleries_say_so(options, message):
    embeddings, labels = people(np.random.default_rng(0), 40, 2)
    with pytest.raises(VultusError, match=message):
        open_set(embeddings, labels, **options)


def test_bad_data_says_so():
    embeddings, labels = people(np.random.default_rng(0), 4, 2)
    with pytest.raises(VultusError, match="1 identity"):
        open_set(embeddings[:2], labels[:2])
    with pytest.raises(VultusError, match="0 identity"):
        open_set(embeddings[:0], labels[:0])
    with pytest.raises(VultusError, match="do not belong together"):
        fpir_growth(embeddings, labels[:-1])
    with pytest.raises(VultusError, match="enrol is 0"):
        fpir_growth(embeddings, labels, enrol=0)
    with pytest.raises(VultusError, match="choose"):
        Draw(choose="best")  # pyright: ignore[reportArgumentType]


def test_a_sampled_gallery_of_people_without_other_images_has_no_mated_search():
    # One person of 200 has a second image, and is not among the one enrolled with this seed.
    embeddings, _ = people(np.random.default_rng(0), 201, 1)
    labels = np.append(np.arange(200), 0)
    with pytest.raises(VultusError, match="no probe shows one of the 1 enrolled people"):
        open_set(embeddings, labels, (1,), galleries=1)
