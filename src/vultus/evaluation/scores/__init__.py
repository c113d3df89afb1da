"""Scores of every comparison, in bounded memory."""

from vultus.evaluation.scores.embeddings import check_embeddings
from vultus.evaluation.scores.pairs import BIN, BINS, TAIL, PairScores, ScoredPair, explicit_scores
from vultus.evaluation.scores.walk import all_pairs, two_sets

__all__ = [
    "BIN",
    "BINS",
    "TAIL",
    "PairScores",
    "ScoredPair",
    "all_pairs",
    "check_embeddings",
    "explicit_scores",
    "two_sets",
]
