"""Every comparison of one set or of two, in bounded memory: cosine scores block by block, on all cores or a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.comparisons import AllPairs, TwoSets
from vultus.evaluation.scores.checkpoint import Checkpoint, digest_of
from vultus.evaluation.scores.compare import LOWEST, Compare, Part, Scores
from vultus.evaluation.scores.embeddings import check_rows
from vultus.evaluation.scores.failures import by_identity, with_failures
from vultus.evaluation.scores.layout import Layout, Side
from vultus.evaluation.scores.pairs import HARDEST, TAIL, PairScores, ScoredPair
from vultus.evaluation.scores.tally import Tally
from vultus.evaluation.scores.threads import blas_threads, in_order
from vultus.terminal import track

BLOCK = 2048
"""Rows and columns of a tile: its 4 million comparisons take 0.05 s of one core."""

SAMPLE = 1024
"""Rows and columns of the sample that tells roughly where the largest scores begin."""

LONG = 10**9
"""Comparisons from which on there is a progress bar (about ten seconds)."""


def all_pairs(
    embeddings: np.ndarray,
    labels: np.ndarray,
    *,
    mated_failures: int | np.ndarray = 0,
    block: int = BLOCK,
    tail: int = TAIL,
    hardest: int = HARDEST,
    threads: int | None = None,
    device: str | None = None,
    checkpoint: Path | None = None,
) -> PairScores:
    """Compare every image with every other one, once."""
    embeddings, labels = check_rows(embeddings, labels)
    identities, codes, images = np.unique(labels, return_inverse=True, return_counts=True)
    failures = by_identity(mated_failures, len(identities))
    side = Side.of(embeddings, codes)
    tally = walk(Layout(side, side, block), tail, hardest, threads, device, checkpoint)
    return _kept(tally, Layout(side, side, block), tail, hardest, AllPairs(images), mated_failures, failures)


def two_sets(
    enrolled: np.ndarray,
    enrolled_labels: np.ndarray,
    probes: np.ndarray,
    probe_labels: np.ndarray,
    *,
    same_images: bool = False,
    mated_failures: int | np.ndarray = 0,
    block: int = BLOCK,
    tail: int = TAIL,
    hardest: int = HARDEST,
    threads: int | None = None,
    device: str | None = None,
    checkpoint: Path | None = None,
) -> PairScores:
    """Compare every enrolled image (N, D) with every probe (M, D)."""
    enrolled, enrolled_labels = check_rows(enrolled, enrolled_labels)
    probes, probe_labels = check_rows(probes, probe_labels)
    if enrolled.shape[1] != probes.shape[1]:
        raise VultusError(
            f"embeddings of {enrolled.shape[1]} and of {probes.shape[1]} dimensions cannot be compared: "
            "they come from different recognisers"
        )
    if same_images and not np.array_equal(enrolled_labels, probe_labels):
        raise VultusError("enrolled and probes cannot be the same images: their labels differ")
    identities, codes = np.unique(np.concatenate([enrolled_labels, probe_labels]), return_inverse=True)
    failures = by_identity(mated_failures, len(identities))
    mine, theirs = codes[: len(enrolled)], codes[len(enrolled) :]
    images = tuple(np.bincount(part, minlength=len(identities)) for part in (mine, theirs))
    layout = Layout(Side.of(enrolled, mine), Side.of(probes, theirs), block, two_sets=True, same_images=same_images)
    tally = walk(layout, tail, hardest, threads, device, checkpoint)
    comparisons = TwoSets(*images, same_images=images[0] if same_images else 0)
    return _kept(tally, layout, tail, hardest, comparisons, mated_failures, failures)


def walk(
    layout: Layout, tail: int, hardest: int, threads: int | None, device: str | None, checkpoint: Path | None
) -> Tally:
    keep = max(tail, hardest)
    tally = Tally(keep, hardest, _floor(layout, keep))
    compare: Callable[[int, int, float], Part] = Compare(layout)
    saved = None
    if checkpoint is not None:
        saved = Checkpoint(checkpoint, digest_of(layout, tail=tail, hardest=hardest, device=device))
        saved.load(tally)
    _add_tiles(layout, compare, tally, threads or blas_threads(), saved)
    if tally.is_short:  # the sample misled: rare, and told by the histogram
        tally = Tally(keep, hardest)
        _add_tiles(layout, compare, tally, threads or blas_threads(), saved)
    return tally


def _add_tiles(layout, compare, tally, threads, saved):
    from itertools import islice

    tiles = islice(layout.tiles(), tally.tiles, None)
    parts = in_order(lambda tile: compare(*tile, tally.cut), tiles, threads)
    if layout.comparisons >= LONG:
        parts = track(parts, "comparing", total=len(layout) - tally.tiles, unit="tiles")
    try:
        for part in parts:
            tally.add(part)
            if saved is not None:
                saved.save_if_due(tally)
    finally:
        if saved is not None:
            saved.save(tally)


def _floor(layout: Layout, keep: int) -> float:
    rng = np.random.default_rng(0)
    share = 2 * keep / max(1, layout.comparisons)
    if share > 0.9:
        return float(LOWEST)
    places = [
        np.sort(rng.choice(len(side.codes), min(SAMPLE, len(side.codes)), replace=False))
        for side in (layout.rows, layout.columns)
    ]
    rows, columns = places
    scores = layout.rows.panel(rows) @ layout.columns.panel(columns).T
    scores = scores[layout.rows.codes[rows][:, None] != layout.columns.codes[columns]]
    rank = int(share * len(scores)) + 100
    if rank >= 0.9 * len(scores):
        return float(LOWEST)
    return float(np.partition(scores, len(scores) - rank)[len(scores) - rank])


def _kept(tally, layout, tail, hardest, comparisons, mated_failures, failures) -> PairScores:
    mated, rows = tally.mated_scores()
    up = np.argsort(mated, kind="stable")
    best = tally.largest.ascending()
    codes = np.stack([layout.rows.codes[best.rows], layout.columns.codes[best.columns]], axis=1)
    kept = slice(max(0, len(best.values) - tail), None)
    return PairScores(
        mated=mated[up],
        mated_failures=int(np.sum(mated_failures)),
        non_mated=tally.non_mated,
        tail=best.values[kept],
        histogram=tally.histogram,
        hardest_mated=_pairs(tally.lowest.ascending(), layout, hardest, -1),
        hardest_non_mated=_pairs(best, layout, hardest, 1),
        comparisons=with_failures(comparisons, failures),
        mated_identity=None if failures is None else layout.rows.codes[rows[up]],
        failures=failures,
        tail_identities=codes[kept],
    )


def _pairs(scores: Scores, layout: Layout, hardest: int, sign: int) -> tuple[ScoredPair, ...]:
    """The last `hardest` of ascending scores, the hardest first."""
    values, rows, columns = (column[::-1][:hardest] for column in scores)
    rows, columns = layout.rows.images(rows), layout.columns.images(columns)
    if not layout.two_sets:
        rows, columns = np.minimum(rows, columns), np.maximum(rows, columns)
    found = [ScoredPair(int(i), int(j), sign * float(v)) for i, j, v in zip(rows, columns, values, strict=True)]
    return tuple(sorted(found, key=lambda pair: (-sign * pair.score, pair.i, pair.j)))
