"""Scores of every comparison, in bounded memory."""

from vultus.evaluation.scores.embeddings import check_embeddings, lengths_of, off_unit
from vultus.evaluation.scores.identity_counts import IdentityCounts, count_by_identity
from vultus.evaluation.scores.pairs import BIN, BINS, TAIL, PairScores, ScoredPair, explicit_scores
from vultus.evaluation.scores.walk import all_pairs, two_sets

__all__ = [
    "BIN",
    "BINS",
    "TAIL",
    "IdentityCounts",
    "PairScores",
    "ScoredPair",
    "all_pairs",
    "check_embeddings",
    "count_by_identity",
    "explicit_scores",
    "lengths_of",
    "off_unit",
    "two_sets",
]
