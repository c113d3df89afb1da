"""An earlier recogniser beside a new one: is it better, and does the old gallery stay usable?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vultus.data import FaceDataset
from vultus.data.failures import lost_comparisons
from vultus.evaluation import compare_paired, verify, verify_cross
from vultus.evaluation.scores import PairScores, all_pairs
from vultus.workflows.embedder import Embedder
from vultus.workflows.results import Against


def compare_with(
    earlier: Embedder,
    data: FaceDataset,
    embeddings: np.ndarray,
    new: PairScores,
    fars: Sequence[float],
    *,
    kept: int,
    resamples: int,
) -> Against:
    """The earlier recogniser with itself, and with these `embeddings` by the new one, whose scores are `new`.

    A photograph without a face is lost to all three; the cross test compares each two images twice.
    """
    old, lost = earlier.dataset(data), lost_comparisons(data)
    scores = all_pairs(old, data.labels, mated_failures=lost, tail=kept)
    return Against(
        earlier.name,
        verify(scores, fars, images=len(data), identities=len(data.identities)),
        verify_cross(old, embeddings, data.labels, fars, mated_failures=2 * lost),
        tuple(compare_paired(new, scores, fars, replicates=resamples)),
        earlier.contract_id,
    )
