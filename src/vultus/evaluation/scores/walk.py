"""Every comparison of one set or of two, in bounded memory: cosine scores block by block, on all cores or a GPU."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.comparisons import AllPairs, TwoSets
from vultus.evaluation.scores.checkpoint import Checkpoint, digest_of
from vultus.evaluation.scores.compare import Compare, Part, Scores
from vultus.evaluation.scores.compare_torch import CompareTorch
from vultus.evaluation.scores.embeddings import check_rows
from vultus.evaluation.scores.failures import by_identity, with_failures
from vultus.evaluation.scores.layout import Layout, Side
from vultus.evaluation.scores.pairs import HARDEST, TAIL, PairScores, ScoredPair
from vultus.evaluation.scores.strips import LOWEST
from vultus.evaluation.scores.tally import Tally
from vultus.evaluation.scores.threads import blas_threads, in_order
from vultus.terminal import track

BLOCK = 1536
"""Rows and columns of a tile: its 2.4 million comparisons take 0.03 s of one core."""

GPU_BLOCK = 8192
"""The same on a GPU: large enough that loading the columns takes less time than comparing them."""

SAMPLE = 512
"""Rows and columns of the sample that tells roughly where the largest scores begin."""

LONG = 10**9
"""Comparisons from which on there is a progress bar (about ten seconds of two cores)."""


def all_pairs(
    embeddings: np.ndarray,
    labels: np.ndarray,
    *,
    mated_failures: int | np.ndarray = 0,
    block: int | None = None,
    tail: int = TAIL,
    hardest: int = HARDEST,
    threads: int | None = None,
    device: str | None = None,
    checkpoint: Path | None = None,
) -> PairScores:
    """Compare every image with every other one, once.

    embeddings      (N, D) rows of unit length, float32 (other floats are converted tile by tile); a `np.memmap` is
                    read in tiles and never copied as a whole
    labels          (N,) identity of each; coded 0..G-1 in the order of `np.unique(labels)`
    mated_failures  mated comparisons without a score (no face was found): (G,) by identity, or in all; a total above
                    zero leaves the mated scores without identities
    block           rows and columns of a tile
    tail            how many of the largest non-mated scores are kept one by one, with their identities
    hardest         how many of the lowest mated and highest non-mated pairs are kept with their rows
    threads         by default as many as a matrix product takes: the cores, or what OMP_NUM_THREADS says
    device          None: numpy. "cuda": torch on a GPU (never run on one so far); "cpu": torch on the processor
    checkpoint      an .npz file in which the walk is written down every minute and when it is interrupted; the same
                    call takes it up there. It stays when all is done

    Scores are float32 cosines clipped to [-1, 1]; a tile of another size may round one differently in the last bit
    (about 1e-7). The result does not depend on the number of threads, nor on interruptions.

    Memory beyond the input: the tail (40 bytes a score at the most), the mated scores (8 bytes each, twice that at the
    end), 40 bytes an image, about 15 MiB a thread. Time at 512 dimensions: 16 ns of one core a comparison (measured on
    an AMD EPYC 9004), so that a million images, 5e11 comparisons, would take two cores 70 minutes (extrapolated).

    Raises VultusError for a row with NaN, a row that is not of unit length, labels of another length, and for a
    checkpoint of other data.
    """
    embeddings, labels = check_rows(embeddings, labels)
    identities, codes, images = np.unique(labels, return_inverse=True, return_counts=True)
    failures = by_identity(mated_failures, len(identities))
    side = Side.of(embeddings, codes)
    layout = Layout(side, side, _block(block, device))
    kept = walk(layout, tail, hardest, threads, device, checkpoint)
    return _with_failures(kept, AllPairs(images), mated_failures, failures)


def two_sets(
    enrolled: np.ndarray,
    enrolled_labels: np.ndarray,
    probes: np.ndarray,
    probe_labels: np.ndarray,
    *,
    same_images: bool = False,
    mated_failures: int | np.ndarray = 0,
    block: int | None = None,
    tail: int = TAIL,
    hardest: int = HARDEST,
    threads: int | None = None,
    device: str | None = None,
    checkpoint: Path | None = None,
) -> PairScores:
    """Compare every enrolled image with every probe, once.

    enrolled     (N, D) and enrolled_labels (N,): the gallery; probes (M, D) and probe_labels (M,)
    same_images  both are the same N images in the same order, as two recognisers embed them, say: image i is compared
                 with every image but itself, N (N - 1) comparisons

    Identities are coded in the order of `np.unique` of all labels. Of the hardest pairs i is a row of `enrolled` and
    j one of `probes`. The rest is as in `all_pairs`.
    """
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
    images = [np.bincount(part, minlength=len(identities)) for part in (mine, theirs)]
    sides = Side.of(enrolled, mine), Side.of(probes, theirs)
    layout = Layout(*sides, _block(block, device), two_sets=True, same_images=same_images)
    kept = walk(layout, tail, hardest, threads, device, checkpoint)
    counts = TwoSets(*images, same_images=images[0] if same_images else 0)
    return _with_failures(kept, counts, mated_failures, failures)


def walk(
    layout: Layout, tail: int, hardest: int, threads: int | None, device: str | None, checkpoint: Path | None
) -> PairScores:
    """All tiles of a layout, without failures and the numbers of comparisons by identity."""
    threads = 1 if device is not None else min(threads or blas_threads(), max(1, len(layout)))
    compare = Compare(layout, threads) if device is None else CompareTorch(layout, device)
    keep = max(tail, hardest)
    tally = Tally(keep, hardest, _floor(layout, keep))
    saved = None
    if checkpoint is not None:
        saved = Checkpoint(Path(checkpoint), digest_of(layout, tail=tail, hardest=hardest, device=device))
        saved.load(tally)
    _add_tiles(layout, compare, tally, threads, saved)
    if tally.is_short:  # the sample misled
        tally = Tally(keep, hardest)
        _add_tiles(layout, compare, tally, threads, saved)
    del compare  # its memory serves the sorting
    return _kept(layout, tally, tail, threads)


def _add_tiles(
    layout: Layout,
    compare: Callable[[tuple[int, int], float], Part],
    tally: Tally,
    threads: int,
    saved: Checkpoint | None,
) -> None:
    """The tiles that the tally does not have yet."""
    left = len(layout) - tally.tiles
    if not left:
        return
    tiles = islice(layout.tiles(), tally.tiles, None)
    parts = in_order(lambda tile: compare(tile, tally.cut), tiles, threads)
    try:
        with closing(parts):
            shown = track(parts, "comparing", total=left, unit="tiles") if layout.comparisons >= LONG else parts
            for part in shown:
                tally.add(part)
                if saved is not None:
                    saved.save_if_due(tally)
    finally:
        if saved is not None and tally.is_whole:
            saved.save(tally)


def _floor(layout: Layout, keep: int) -> float:
    """A score below the `keep` largest, guessed from a sample: collecting starts there, not at the lowest score.

    Where the guess is too high, the histogram shows at the end that scores are missing, and all is done again.
    """
    share = 2 * keep / max(1, layout.comparisons)
    if share > 0.9:
        return float(LOWEST)
    rng = np.random.default_rng(0)
    rows, columns = (
        np.sort(rng.choice(len(side.codes), min(SAMPLE, len(side.codes)), replace=False))
        for side in (layout.rows, layout.columns)
    )
    scores = layout.rows.panel(rows) @ layout.columns.panel(columns).T
    scores = scores[layout.rows.codes[rows, None] != layout.columns.codes[columns]]
    rank = int(share * len(scores)) + 100  # in a small share a hundred scores still tell where it begins
    if rank >= 0.9 * len(scores):
        return float(LOWEST)
    return float(np.partition(scores, len(scores) - rank)[len(scores) - rank])


def _kept(layout: Layout, tally: Tally, tail: int, threads: int) -> PairScores:
    mated, rows = tally.mated_scores()
    up = np.argsort(mated, kind="stable")
    best = tally.largest.ascending(threads)
    codes = np.empty((len(best.values), 2), np.int32)
    codes[:, 0], codes[:, 1] = layout.rows.codes[best.rows], layout.columns.codes[best.columns]
    kept = slice(max(0, len(best.values) - tail), None)
    return PairScores(
        mated=mated[up],
        mated_failures=0,
        non_mated=tally.non_mated,
        tail=best.values[kept],
        histogram=tally.histogram,
        hardest_mated=_pairs(layout, tally.lowest.ascending(), tally.lowest.keep, -1),
        hardest_non_mated=_pairs(layout, best, tally.lowest.keep, 1),
        mated_identity=layout.rows.codes[rows[up]],
        tail_identities=codes[kept],
    )


def _with_failures(
    kept: PairScores, scored: object, mated_failures: int | np.ndarray, failures: np.ndarray | None
) -> PairScores:
    return replace(
        kept,
        comparisons=with_failures(scored, failures),
        mated_failures=int(np.sum(mated_failures)),
        mated_identity=None if failures is None else kept.mated_identity,
        failures=failures,
    )


def _pairs(layout: Layout, scores: Scores, hardest: int, sign: int) -> tuple[ScoredPair, ...]:
    """The last `hardest` of ascending scores, the hardest first."""
    values, rows, columns = (column[::-1][:hardest] for column in scores)
    rows, columns = layout.rows.images(rows), layout.columns.images(columns)
    if not layout.two_sets:
        rows, columns = np.minimum(rows, columns), np.maximum(rows, columns)
    found = [ScoredPair(int(i), int(j), sign * float(v)) for i, j, v in zip(rows, columns, values, strict=True)]
    return tuple(sorted(found, key=lambda pair: (-sign * pair.score, pair.i, pair.j)))


def _block(block: int | None, device: str | None) -> int:
    if block is not None and block < 1:
        raise VultusError(f"block {block}: a tile has at least one row")
    return block or (BLOCK if device in (None, "cpu") else GPU_BLOCK)
