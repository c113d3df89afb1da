"""95 % intervals hold the true rate in about 95 % of simulated data sets (benchmarks/coverage.py measures more)."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from vultus.evaluation.comparisons import AllPairs
from vultus.evaluation.intervals import IdentityBootstrap, fnmr_at_far, mated_rate, non_mated_rate, wilson
from vultus.evaluation.scores.pairs import PairScores

NORMAL = NormalDist()
SETS = 200
PEOPLE = 45
FAR, FNMR, APART = 0.02, 0.05, 3.5


def data_set(rng: np.random.Generator) -> PairScores:
    """Standard normal non-mated scores and mated ones around `APART`, with an effect of each person on both."""
    images = rng.integers(1, 8, PEOPLE)
    owner = np.repeat(np.arange(PEOPLE), images)
    row, column = np.triu_indices(len(owner), 1)
    a, b = owner[row], owner[column]
    looks, photographs = rng.normal(size=(2, PEOPLE))
    same = a == b
    person = np.where(same, np.sqrt(0.3) * photographs[a], np.sqrt(0.1) * (looks[a] + looks[b]))
    scores = person + np.sqrt(np.where(same, 0.7, 0.8)) * rng.normal(size=len(a)) + APART * same
    mated, apart = np.flatnonzero(same), np.flatnonzero(~same)
    mated, apart = (which[np.argsort(scores[which])] for which in (mated, apart))
    return PairScores(
        mated=scores[mated].astype(np.float32),
        mated_failures=0,
        non_mated=len(apart),
        tail=scores[apart].astype(np.float32),
        histogram=np.empty(0, np.int64),
        comparisons=AllPairs(images),
        mated_identity=a[mated],
        failures=np.zeros(PEOPLE, np.int64),
        tail_identities=np.stack([a[apart], b[apart]], 1),
    )


def test_intervals_hold_the_truth_in_95_of_100_data_sets():
    rng = np.random.default_rng(1)
    truth = {"fnmr": FNMR, "fmr": FAR, "fnmr at far": NORMAL.cdf(NORMAL.inv_cdf(1 - FAR) - APART)}
    held, plain = dict.fromkeys(truth, 0), dict.fromkeys(truth, 0)
    for number in range(SETS):
        kept = data_set(rng)
        assert kept.comparisons is not None
        assert kept.mated_identity is not None
        assert kept.tail_identities is not None
        lost = np.searchsorted(kept.mated, APART + NORMAL.inv_cdf(FNMR))
        passed = np.searchsorted(kept.tail, NORMAL.inv_cdf(1 - FAR))
        first, second = kept.tail_identities[passed:].T
        rates = {
            "fnmr": mated_rate(np.bincount(kept.mated_identity[:lost], minlength=PEOPLE), kept.comparisons),
            "fmr": non_mated_rate(first, second, kept.comparisons),
            "fnmr at far": fnmr_at_far(kept, FAR, IdentityBootstrap(kept.comparisons, 100, seed=number)),
        }
        for name, rate in rates.items():
            assert rate is not None
            low, high = rate.interval
            held[name] += low <= truth[name] <= high
            low, high = wilson(rate.errors, rate.trials)
            plain[name] += low <= truth[name] <= high
    for name in truth:
        # Two standard errors of 200 draws at 95 % are 3.1 %.
        assert 0.92 <= held[name] / SETS <= 0.98, (name, held, plain)
        assert plain[name] / SETS < 0.85, (name, plain)
