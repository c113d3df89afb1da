"""What a comparison of losses finds: rates over seeds with intervals, differences on the same comparisons, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.intervals import IdentityBootstrap, is_supported, needed_comparisons
from vultus.evaluation.intervals.at_far import errors_at_far
from vultus.evaluation.intervals.seeds import (
    SeedEstimate,
    SeedResult,
    SeedSpread,
    difference_over_seeds,
    mean_over_seeds,
)
from vultus.evaluation.protocols.verification import require_comparisons
from vultus.evaluation.scores import PairScores, all_pairs
from vultus.workflows.compare_plan import Plan, Planned
from vultus.workflows.compare_run import Outcome

FARS = (1e-2, 1e-3, 1e-4)


@dataclass(frozen=True)
class Trained:
    """One run and how it did on the test split."""

    seed: int
    outcome: Outcome
    tars: Mapping[float, float] = field(default_factory=dict)
    """TAR at each supported FAR; empty where the run has not finished."""
    results: Mapping[float, SeedResult] = field(default_factory=dict, repr=False)
    """The same, identity by identity."""

    @property
    def images(self) -> int:
        """Crops whose time is known: not those of a life that was killed."""
        return sum(life.images for life in self.outcome.lives)

    @property
    def cpu_seconds(self) -> float:
        return sum(life.cpu_seconds for life in self.outcome.lives)

    @property
    def seconds(self) -> float:
        return sum(life.seconds for life in self.outcome.lives)

    @property
    def peak_bytes(self) -> int:
        return max((life.peak_bytes for life in self.outcome.lives), default=0)


@dataclass(frozen=True)
class Entry:
    """One recipe of the comparison."""

    name: str
    loss: str
    """With its parameters, in words."""
    runs: tuple[Trained, ...]
    different: tuple[str, ...] = ()
    """In what it differs outside the loss."""
    tar: Mapping[float, SeedEstimate] = field(default_factory=dict)
    """Mean over the finished seeds, by FAR."""
    difference: Mapping[float, SeedEstimate] = field(default_factory=dict)
    """That minus the baseline's; empty for the baseline itself."""

    @property
    def finished(self) -> tuple[Trained, ...]:
        return tuple(run for run in self.runs if run.tars)

    @property
    def images_per_second(self) -> float | None:
        """Crops by wall time, which other programs on the machine slow down."""
        return _speed(sum(run.images for run in self.finished), sum(run.seconds for run in self.finished))

    @property
    def images_per_cpu_second(self) -> float | None:
        return _speed(sum(run.images for run in self.finished), sum(run.cpu_seconds for run in self.finished))

    @property
    def crops(self) -> int:
        """That a run sees, mean of the seeds."""
        return sum(run.outcome.images for run in self.finished) // max(1, len(self.finished))

    @property
    def peak_bytes(self) -> int:
        return max((run.peak_bytes for run in self.finished), default=0)


@dataclass(frozen=True)
class Comparison:
    """Everything that the table, the figure and the report show."""

    folder: Path
    command: str
    """What makes this comparison again."""
    data: str
    test: str
    procedural: bool
    train_digest: str
    test_digest: str
    train_counts: tuple[int, int]
    """Images and identities."""
    test_counts: tuple[int, int]
    max_per_identity: int | None
    seeds: int
    mated: int
    non_mated: int
    fars: tuple[float, ...]
    """Those that the test split supports."""
    withheld: Mapping[float, int]
    """FARs that it does not, with the non-mated comparisons that they would need."""
    baseline: str
    recipe: Mapping[str, Any]
    """What all recipes have in common: the budget."""
    entries: tuple[Entry, ...]

    def entry(self, name: str) -> Entry:
        return next(entry for entry in self.entries if entry.name == name)

    @property
    def failures(self) -> list[tuple[str, str]]:
        """Runs that are not in the figures, and why."""
        return [
            (f"{entry.name}, seed {run.seed}", _why(run.outcome))
            for entry in self.entries
            for run in entry.runs
            if not run.tars
        ]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; rates by FAR as text, "0.01"."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("folder", "entries")}
        plain["withheld"] = {f"{far:g}": needs for far, needs in self.withheld.items()}
        plain["entries"] = [_entry_dict(entry) for entry in self.entries]
        return plain


def _entry_dict(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "loss": entry.loss,
        "different": list(entry.different),
        "tar": {f"{far:g}": asdict(found) for far, found in entry.tar.items()},
        "difference": {f"{far:g}": asdict(found) for far, found in entry.difference.items()},
        "images_per_second": entry.images_per_second,
        "images_per_cpu_second": entry.images_per_cpu_second,
        "peak_bytes": entry.peak_bytes,
        "runs": [
            {
                "seed": run.seed,
                **asdict(run.outcome),
                "tar": {f"{far:g}": tar for far, tar in run.tars.items()},
            }
            for run in entry.runs
        ],
    }


def measure(
    plan: Plan,
    outcomes: Sequence[Outcome],
    embeddings: Mapping[Path, np.ndarray],
    baseline: str,
    replicates: int = 1000,
) -> tuple[tuple[Entry, ...], PairScores]:
    """Entries in the plan's order, and the scores of one run for the numbers of comparisons.

    embeddings: (N, D) unit rows of the test crops, by the folder of each finished run.

    Raises:
        VultusError: a test split without mated or non-mated comparisons, or no run that could be measured.
    """
    labels, found, last, bootstrap = plan.test.labels, {}, None, None
    for planned, outcome in zip(plan.runs, outcomes, strict=True):
        trained = Trained(planned.seed, outcome)
        if planned.folder in embeddings:
            try:
                scores = all_pairs(embeddings[planned.folder], labels, hardest=0)
            except VultusError as error:
                trained = replace(trained, outcome=replace(outcome, state="failed", reason=f"test: {error}"))
            else:
                last = scores
                bootstrap = bootstrap or _bootstrap(scores, replicates, plan.test.title)
                trained = _measured(trained, scores, bootstrap)
        found[planned.candidate.name, planned.seed] = trained
    if last is None:
        reasons = "; ".join(f"{run.title}: {_why(outcome)}" for run, outcome in zip(plan.runs, outcomes, strict=True))
        raise VultusError(f"no run has finished, so there is nothing to compare: {reasons}")
    entries = [
        Entry(each.name, each.loss, tuple(found[each.name, seed] for seed in range(plan.seeds)), each.different)
        for each in plan.candidates
    ]
    return tuple(_with_estimates(entries, baseline)), last


def _bootstrap(scores: PairScores, replicates: int, test: str) -> IdentityBootstrap:
    assert scores.comparisons is not None
    require_comparisons(scores, len(scores.comparisons.mated))
    if not is_supported(FARS[0], scores.non_mated):
        raise VultusError(
            f"{test} has {scores.non_mated:,} non-mated pairs, but FAR {FARS[0]:g} needs "
            f"{needed_comparisons(FARS[0]):,}; add people to the test split"
        )
    return IdentityBootstrap(scores.comparisons, replicates)


def _measured(trained: Trained, scores: PairScores, bootstrap: IdentityBootstrap) -> Trained:
    results = {}
    for far in FARS:
        if is_supported(far, scores.non_mated):
            errors, replicates = errors_at_far(scores, far), bootstrap.tar_at_far(scores, far)
            if errors is not None and replicates is not None:
                results[far] = SeedResult(errors, bootstrap.comparisons.mated, replicates)
    return replace(trained, tars={far: result.tar for far, result in results.items()}, results=results)


def _with_estimates(entries: Sequence[Entry], baseline: str) -> list[Entry]:
    """Means over seeds and differences to the baseline, at every FAR."""
    base = next(entry for entry in entries if entry.name == baseline)
    done = []
    spreads = {far: SeedSpread.pooled([_tars(entry, far) for entry in entries]) for far in measured_fars(entries)}
    for entry in entries:
        tar, difference = {}, {}
        for far, spread in spreads.items() if entry.finished else ():
            tar[far] = mean_over_seeds(_results(entry, far), spread)
            if base.finished and entry is not base:
                difference[far] = difference_over_seeds(_results(entry, far), _results(base, far), spread)
        done.append(replace(entry, tar=tar, difference=difference))
    return done


def measured_fars(entries: Sequence[Entry]) -> tuple[float, ...]:
    """FARs at which every finished run has its figures."""
    return tuple(far for far in FARS if all(far in run.tars for entry in entries for run in entry.finished))


def _tars(entry: Entry, far: float) -> list[float]:
    return [run.tars[far] for run in entry.finished]


def _results(entry: Entry, far: float) -> list[SeedResult]:
    return [run.results[far] for run in entry.finished]


def withheld(scores: PairScores) -> dict[float, int]:
    """FARs that so many non-mated comparisons do not support, with the number that each needs."""
    return {far: needed_comparisons(far) for far in FARS if not is_supported(far, scores.non_mated)}


def runs_to_embed(plan: Plan, outcomes: Sequence[Outcome]) -> list[Planned]:
    """The finished ones."""
    return [run for run, outcome in zip(plan.runs, outcomes, strict=True) if outcome.state == "finished"]


def _why(outcome: Outcome) -> str:
    return {"open": "not trained yet", "interrupted": "interrupted, not finished"}.get(outcome.state, outcome.reason)


def _speed(images: int, seconds: float) -> float | None:
    return images / seconds if seconds > 0 and images else None
