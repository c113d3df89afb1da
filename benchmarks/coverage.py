"""Do 95 % intervals hold the truth in 95 % of data sets? Simulated people, whose true rates are known.

    uv run python benchmarks/coverage.py [--quick] [--repeats 1000] [--out coverage.json]
    uv run --no-project --with cimat --with rich env PYTHONPATH=src python benchmarks/coverage.py --cimat

Every score is a sum of normal effects: of the two people (some look like everybody, some photograph badly), of the two
images, of the pair of people, and of chance. Its distribution is therefore known exactly, and with it the true FNMR,
FMR and TAR at FAR; a data set is a draw of the effects. Beside each other, on the same data sets:

    independent   Wilson's interval, as if no two comparisons shared a person
    published     Wilson's with the variance of Fogliato, Patil, Perona (arXiv 2306.01198)
    percentile    percentiles of the bootstrap over identities (the vertex bootstrap of the same paper)
    vultus        `mated_rate`, `non_mated_rate`, `fnmr_at_far`, `compare_paired`

`--cimat` compares the variances with those of the paper's own package on small data sets instead.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

from vultus.evaluation.comparisons import AllPairs
from vultus.evaluation.intervals import (
    IdentityBootstrap,
    Interval,
    difference_interval,
    fnmr_at_far,
    mated_rate,
    non_mated_rate,
    percentile_interval,
    wilson,
    wilson_at,
)
from vultus.evaluation.intervals.at_far import errors_at_far
from vultus.evaluation.intervals.spread import Spread, mated_spread, non_mated_spread
from vultus.evaluation.scores.pairs import PairScores
from vultus.terminal import table, track

NORMAL = NormalDist()
FARS = (0.1, 0.01, 0.001)
FNMRS = (0.1, 0.03, 0.01)
DIFFERENCE_FAR = 0.01
METHODS = ("independent", "published", "percentile", "vultus")


@dataclass(frozen=True)
class Setting:
    """`person`, `image`, `pair`: the share of a non-mated score's variance that is each person's, each image's, the
    pair's of people; `mated`: the share of a mated score's variance that is the person's. SFace on LFW: person 0.05.
    """

    name: str
    identities: int
    images: str
    person: float = 0.05
    image: float = 0.05
    pair: float = 0.05
    mated: float = 0.2
    apart: float = 4.0
    """Mean mated score in standard deviations: 4 gives TAR 99.7 %, 95 % and 82 % at the three FARs."""


SETTINGS = (
    Setting("independent", 200, "2 to 6", 0, 0, 0, 0),
    Setting("as SFace on LFW", 50, "2 to 6"),
    Setting("as SFace on LFW", 100, "2 to 6"),
    Setting("as SFace on LFW", 500, "2 to 6"),
    Setting("uneven images", 100, "1 to 20"),
    Setting("uneven images", 500, "1 to 20"),
    Setting("strong effects", 100, "2 to 6", 0.1, 0.1, 0.1, 0.4, 3.5),
    Setting("strong effects", 500, "2 to 6", 0.1, 0.1, 0.1, 0.4, 3.5),
    Setting("a few with most images", 200, "1 to 60"),
)


@dataclass
class Sample:
    """One data set: scores of two recognisers on the same images, ascending, with whose comparison each is."""

    images: np.ndarray
    kept: tuple[PairScores, PairScores]


def draw(setting: Setting, rng: np.random.Generator) -> Sample:
    images = _images(setting, rng)
    owner = np.repeat(np.arange(len(images), dtype=np.int32), images)
    row, column = np.triu_indices(len(owner), 1)
    a, b = owner[row], owner[column]
    same = a == b
    looks, photographs, image = (rng.normal(size=n) for n in (len(images), len(images), len(owner)))
    hard = 0.87 * photographs - 0.5 * looks  # who looks like others is also harder to recognise
    pairs = rng.standard_normal(len(images) ** 2, dtype=np.float32)
    shared = np.sqrt(setting.image) * (image[row] + image[column])
    shared[same] += np.sqrt(setting.mated) * hard[a[same]]
    apart = ~same
    shared[apart] += np.sqrt(setting.person) * (looks[a[apart]] + looks[b[apart]])
    shared[apart] += np.sqrt(setting.pair) * pairs[a[apart].astype(np.int64) * len(images) + b[apart]]
    left = np.where(
        same, 1 - setting.mated - 2 * setting.image, 1 - 2 * setting.person - 2 * setting.image - setting.pair
    )
    common, kept = rng.standard_normal(len(row), dtype=np.float32), []
    for better in (0.0, -0.3):  # the second recogniser tells people apart less well, and errs in part elsewhere
        noise = np.sqrt(0.6) * common + np.sqrt(0.4) * rng.standard_normal(len(row), dtype=np.float32)
        scores = (shared + np.sqrt(left) * noise + (setting.apart + better) * same).astype(np.float32)
        kept.append(_kept(scores, same, a, b, images))
    return Sample(images, (kept[0], kept[1]))


def _images(setting: Setting, rng: np.random.Generator) -> np.ndarray:
    size = setting.identities
    if setting.images == "2 to 6":
        return rng.integers(2, 7, size)
    if setting.images == "1 to 20":
        return np.minimum(1 + rng.poisson(rng.gamma(1.0, 3.0, size=size)), 20)
    return np.minimum(1 + np.round(np.exp(rng.normal(0.5, 1.1, size=size))).astype(int), 60)


def _kept(scores: np.ndarray, same: np.ndarray, a: np.ndarray, b: np.ndarray, images: np.ndarray) -> PairScores:
    mated, apart = np.flatnonzero(same), np.flatnonzero(~same)
    mated = mated[np.argsort(scores[mated])]
    held = int(0.3 * len(apart))
    tail = apart[np.argpartition(scores[apart], -held)[-held:]]
    tail = tail[np.argsort(scores[tail])]
    return PairScores(
        mated=scores[mated],
        mated_failures=0,
        non_mated=len(apart),
        tail=scores[tail],
        histogram=np.empty(0, np.int64),
        comparisons=AllPairs(images),
        mated_identity=a[mated],
        failures=np.zeros(len(images), np.int64),
        tail_identities=np.stack([a[tail], b[tail]], axis=1),
    )


def intervals(
    setting: Setting, sample: Sample, replicates: int, seed: int
) -> Iterator[tuple[str, str, float, Interval]]:
    """(figure, method, truth, interval) of everything measured on one data set."""
    scores, comparisons = sample.kept[0], AllPairs(sample.images)
    drawn = IdentityBootstrap(comparisons, replicates, seed)
    assert scores.mated_identity is not None and scores.tail_identities is not None
    counts = comparisons.mated
    for fnmr in FNMRS:
        lost = int(np.searchsorted(scores.mated, np.float32(setting.apart + NORMAL.inv_cdf(fnmr))))
        errors = np.bincount(scores.mated_identity[:lost], minlength=len(counts))
        rate = mated_rate(errors, comparisons)
        spread = mated_spread(errors - rate.value * counts, counts)
        name = f"FNMR {fnmr:g}"
        yield name, "independent", fnmr, wilson(rate.errors, rate.trials)
        yield name, "published", fnmr, published(rate.errors, rate.trials, spread)
        yield name, "percentile", fnmr, percentile_interval(drawn.mated(errors))
        yield name, "vultus", fnmr, rate.interval
    for far in FARS:
        passed = int(np.searchsorted(scores.tail, np.float32(NORMAL.inv_cdf(1 - far))))
        first, second = scores.tail_identities[passed:].T
        rate = non_mated_rate(first, second, comparisons)
        name = f"FMR {far:g}"
        yield name, "independent", far, wilson(rate.errors, rate.trials)
        spread = non_mated_spread(first, second, comparisons)
        yield name, "published", far, published(rate.errors, rate.trials, spread)
        yield name, "percentile", far, percentile_interval(drawn.non_mated(first, second))
        yield name, "vultus", far, rate.interval
    for far in FARS:
        name, truth = f"FNMR at FAR {far:g}", fnmr_at(far, setting.apart)
        rate = fnmr_at_far(scores, far, drawn)
        assert rate is not None and rate.bootstrap is not None
        yield name, "independent", truth, wilson(rate.errors, rate.trials)
        yield name, "percentile", truth, rate.bootstrap
        yield name, "vultus", truth, rate.interval
    yield from _difference(setting, sample, drawn)


def _difference(
    setting: Setting, sample: Sample, drawn: IdentityBootstrap
) -> Iterator[tuple[str, str, float, Interval]]:
    far, counts = DIFFERENCE_FAR, drawn.comparisons.mated
    truth = fnmr_at(far, setting.apart - 0.3) - fnmr_at(far, setting.apart)
    lost = [errors_at_far(scores, far) for scores in sample.kept]
    tars = [drawn.tar_at_far(scores, far) for scores in sample.kept]
    assert lost[0] is not None and lost[1] is not None and tars[0] is not None and tars[1] is not None
    better, replicates = lost[1] - lost[0], tars[0] - tars[1]
    value, total = int(better.sum()) / int(counts.sum()), int(counts.sum())
    rates = [int(errors.sum()) / total for errors in lost if errors is not None]
    half = 1.96 * np.sqrt(sum(p * (1 - p) for p in rates) / total)
    name = f"difference at FAR {far:g}"
    yield name, "independent", truth, (value - half, value + half)
    yield name, "percentile", truth, percentile_interval(replicates)
    yield name, "vultus", truth, difference_interval(better, counts, replicates)


def fnmr_at(far: float, apart: float) -> float:
    """The true FNMR at the threshold whose true FMR is `far`."""
    return NORMAL.cdf(NORMAL.inv_cdf(1 - far) - apart)


def published(errors: int, trials: int, spread: Spread | None) -> Interval:
    rate = errors / trials
    if errors in (0, trials) or spread is None:
        return wilson(errors, trials)
    variance = max(spread.plain, rate * (1 - rate) / trials)
    return wilson_at(rate, rate * (1 - rate) / variance)


def measure(setting: Setting, repeats: int, replicates: int, seed: int = 0) -> list[dict[str, object]]:
    """A row for each figure: the share of data sets whose interval held the truth, and the mean width."""
    rng = np.random.default_rng(seed)
    found: dict[str, dict[str, list[tuple[bool, float]]]] = defaultdict(lambda: defaultdict(list))
    for repeat in track(range(repeats), f"{setting.name}, {setting.identities}"):
        sample = draw(setting, rng)
        for figure, method, truth, (low, high) in intervals(setting, sample, replicates, seed + repeat):
            found[figure][method].append((low <= truth <= high, high - low))
    rows: list[dict[str, object]] = []
    for figure, methods in found.items():
        row: dict[str, object] = {"setting": setting.name, "identities": setting.identities, "figure": figure}
        for method, hits in methods.items():
            held, widths = zip(*hits, strict=True)
            row[method] = {"coverage": float(np.mean(held)), "width": float(np.median(widths))}
        rows.append(row)
    return rows


def show(setting: Setting, rows: list[dict[str, object]], repeats: int) -> None:
    """Coverage in per cent; the median width of ours over that of independent comparisons."""

    def cell(row: dict[str, object], method: str) -> str:
        entry = row.get(method)
        if not isinstance(entry, dict):
            return ""
        share = 100 * entry["coverage"]
        return f"{share:.1f}" + (" " if 93 <= share <= 97 else "-" if share < 93 else "+")

    def ratio(row: dict[str, object]) -> str:
        ours, plain = row["vultus"], row["independent"]
        assert isinstance(ours, dict) and isinstance(plain, dict)
        return f"{ours['width'] / plain['width']:.1f}" if plain["width"] else ""

    table(
        f"{setting.name}: {setting.identities} identities, {setting.images} images; {repeats} data sets",
        ("figure", *METHODS, "width / independent"),
        [[row["figure"], *(cell(row, method) for method in METHODS), ratio(row)] for row in rows],
    )


def check_cimat(repeats: int = 20) -> None:
    """The largest relative difference between our uncorrected variances and those of the package `cimat`."""
    from cimat.uncertainty_estimator import UncertaintyEstimator  # pyright: ignore[reportMissingImports]

    rng, worst = np.random.default_rng(0), {"FNMR": 0.0, "FMR": 0.0}
    for _ in range(repeats):
        images = rng.integers(2, 5, 12)
        owner = np.repeat(np.arange(12), images)
        row, column = np.triu_indices(len(owner), 1)
        a, b = owner[row], owner[column]
        person = rng.normal(size=12)
        scores = rng.normal(size=len(row)) + 2 * (a == b) + 0.7 * (person[a] + person[b]) * (a != b)
        nested: dict[int, dict[int, list[float]]] = {i: defaultdict(list) for i in range(12)}
        for first, second, score in zip(a, b, scores, strict=True):
            nested[first][second].append(score)
            if first != second:
                nested[second][first].append(score)
        threshold, same, comparisons = 1.5, a == b, AllPairs(images)
        theirs = UncertaintyEstimator(nested).compute_variance(threshold)
        errors = np.bincount(a[same & (scores < threshold)], minlength=12)
        residuals = errors - errors.sum() / comparisons.mated.sum() * comparisons.mated
        passed = ~same & (scores > threshold)
        ours = (mated_spread(residuals, comparisons.mated), non_mated_spread(a[passed], b[passed], comparisons))
        for name, expected, spread in zip(worst, theirs, ours, strict=True):
            assert spread is not None
            worst[name] = max(worst[name], abs(spread.plain / expected - 1))
    for name, difference in worst.items():
        print(f"variance of {name}: within {difference:.1e} of cimat's on {repeats} data sets")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000, help="data sets a setting; a quarter of 500 people's")
    parser.add_argument("--replicates", type=int, default=300, help="resamples a data set")
    parser.add_argument("--settings", type=int, nargs="+", default=range(len(SETTINGS)), help="their numbers, from 0")
    parser.add_argument("--quick", action="store_true", help="100 data sets of at most 100 identities")
    parser.add_argument("--out", type=Path, help="JSON of all rows, written after each setting")
    parser.add_argument("--cimat", action="store_true", help="compare the variances with the package cimat instead")
    options = parser.parse_args()
    if options.cimat:
        check_cimat()
        return
    repeats = 100 if options.quick else options.repeats
    results: list[dict[str, object]] = []
    for number in options.settings:
        setting = SETTINGS[number]
        if options.quick and setting.identities > 100:
            continue
        made = repeats if setting.identities < 500 else repeats // 4  # two million comparisons each
        rows = measure(setting, made, options.replicates)
        show(setting, rows, made)
        results.append({**asdict(setting), "repeats": made, "replicates": options.replicates, "rows": rows})
        if options.out:
            options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
