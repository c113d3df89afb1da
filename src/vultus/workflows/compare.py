"""Compare losses: train each recipe with each seed under one budget, and measure all on the same test comparisons."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vultus.data import FaceDataset
from vultus.errors import VultusError
from vultus.files import save_atomically, writing
from vultus.formats import read_array
from vultus.terminal import track
from vultus.workflows.compare_plan import Plan, Planned, make_plan
from vultus.workflows.compare_report import write_comparison_report
from vultus.workflows.compare_results import Comparison, measure, measured_fars, runs_to_embed, withheld
from vultus.workflows.compare_run import Outcome, train_apart
from vultus.workflows.embedder import open_embedder


def compare(
    recipes: Sequence[str | Path],
    data: str | Path,
    *,
    seeds: int = 3,
    out: str | Path = "runs/compare",
    overrides: Sequence[str] = (),
    baseline: str | None = None,
    max_per_identity: int | None = 10,
    different: bool = False,
    training: bool = True,
) -> Comparison:
    """Train `recipes` on `data`/train, each with the seeds 0 to `seeds` - 1, and measure them on `data`/test.

    Every training runs in a process of its own, one after the other. What `out` holds already is kept: finished runs
    as they are, an interrupted one goes on where it stopped, one that failed stays listed with its reason (delete its
    folder to try again). Writes comparison.json, comparison.png and report.html into `out`.

    Args:
        overrides: `key=value` for every recipe.
        baseline: name (file stem) of the recipe that the others are compared with; the first in the order of
            `vultus losses` by default.
        max_per_identity: at most so many test images of an identity, so that a few people do not decide the figures.
        different: take recipes that differ in more than the loss, and list in what.
        training: False to report what is finished and train nothing.

    Raises:
        VultusError: recipes or data that do not fit, or no run that finished.
        KeyboardInterrupt: by Ctrl-C, after the run of the moment has saved; the same call goes on from there.
    """
    plan = make_plan(
        recipes,
        data,
        out,
        seeds=seeds,
        overrides=overrides,
        max_per_identity=max_per_identity,
        different=different,
    )
    names = [candidate.name for candidate in plan.candidates]
    if baseline is not None and baseline not in names:
        raise VultusError(f"--baseline: no recipe is called {baseline!r}; there are {', '.join(names)}")
    outcomes = [
        train_apart(run.recipe, run.folder) if training else Outcome.read(run.folder)
        for run in track(plan.runs, "runs", unit="runs")
    ]
    words = ["vultus", "compare", *recipes, *overrides, "--data", data, "--seeds", seeds, "--out", out]
    words += [] if baseline is None else ["--baseline", baseline]
    words += [] if max_per_identity is None else ["--max-per-identity", max_per_identity]
    words += ["--different"] if different else []
    command = shlex.join(map(str, words))
    return _report(plan, outcomes, Path(out), command, baseline or names[0], max_per_identity)


def _report(
    plan: Plan, outcomes: Sequence[Outcome], out: Path, command: str, baseline: str, capped: int | None
) -> Comparison:
    finished = runs_to_embed(plan, outcomes)
    embeddings = {run.folder: _embeddings(run, plan.test) for run in track(finished, "embed the test split")}
    entries, scores = measure(plan, outcomes, embeddings, baseline)
    recipe = plan.candidates[0].recipe.model_dump(mode="json", exclude={"run", "loss"}, exclude_none=True)
    for name in ("seed", "images_per_identity"):
        recipe["training"].pop(name, None)
    missing = withheld(scores)
    result = Comparison(
        folder=out,
        command=command,
        data=plan.train.title,
        test=plan.test.title,
        procedural=bool(plan.train.info["made"].get("procedural")),
        train_digest=plan.train.digest,
        test_digest=plan.test.digest,
        train_counts=_counts(plan.train),
        test_counts=_counts(plan.test),
        max_per_identity=capped,
        seeds=plan.seeds,
        mated=scores.mated_comparisons,
        non_mated=scores.non_mated,
        fars=measured_fars(entries),
        withheld=missing,
        baseline=baseline,
        recipe=recipe,
        entries=entries,
    )
    save_atomically((json.dumps(result.to_dict(), indent=1) + "\n").encode(), out / "comparison.json")
    write_comparison_report(result)
    return result


def _counts(data: FaceDataset) -> tuple[int, int]:
    return len(data), len(data.identities)


def _embeddings(run: Planned, test: FaceDataset) -> np.ndarray:
    """(len(test), D) by the run's best checkpoint, kept beside it."""
    path = run.folder / f"test-{test.digest[:10]}.npy"
    if path.is_file():
        return read_array(path)
    found = open_embedder(run.folder / "run").dataset(test)
    with writing(path) as file:
        np.save(file, found, allow_pickle=False)
    return found
