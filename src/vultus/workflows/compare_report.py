"""report.html and comparison.png of a comparison of losses, and the rows of its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import vultus
from vultus.evaluation.figures.comparison import DotPanel, dots
from vultus.evaluation.intervals.seeds import SeedEstimate
from vultus.evaluation.report import Figure, Section, Table, Text, write_report
from vultus.files import save_atomically
from vultus.training.recipe import dotted
from vultus.workflows.compare_results import Comparison, Entry

DRAWN = (1e-2, 1e-3)
"""FARs of the figure, where the data supports them."""

COSTS = ("loss", "crops", "crops / CPU s", "crops / s", "CPU min", "peak memory")


def write_comparison_report(result: Comparison) -> Path:
    """Write comparison.png and report.html into the comparison's folder; returns the path of the latter."""
    picture = draw_comparison(result)
    save_atomically(picture, result.folder / "comparison.png")
    budget = [(key, str(value)) for key, value in dotted(result.recipe).items()]
    sections: list[Section] = [
        Text(_provenance(result), title="What was compared"),
        *(Text(note, kind="note") for note in cautions(result)),
        Table(rate_columns(result), rate_rows(result), title="TAR in percent, mean of the seeds", note=INTERVALS),
        Figure(picture, caption=_caption(result), title="Losses side by side"),
        Table(
            difference_columns(result),
            difference_rows(result),
            title=f"Difference to {result.baseline}, in points of TAR",
            note=f"* the interval excludes 0. {verdict(result)}",
        ),
        Table(COSTS, cost_rows(result), title="What training cost", note=COSTS_NOTE),
        Table(_seed_columns(result), _seed_rows(result), title="Every run"),
        Table(("key", "value"), budget, title="The budget, the same for all"),
    ]
    if result.failures:
        sections.insert(2, Table(("run", "reason"), result.failures, title="Runs that are not in the figures"))
    return write_report(
        result.folder / "report.html",
        f"Losses on {result.data}",
        sections,
        subtitle=f"{len(result.entries)} losses, {result.seeds} seed{'s' if result.seeds != 1 else ''} each; "
        f"vultus {vultus.__version__}",
    )


INTERVALS = (
    "95 % intervals for another test set of such people and other seeds: the variance between the test people of the "
    "mean over seeds, plus the variance between seeds (pooled over the losses) divided by their number; Student's t "
    "with Satterthwaite's degrees of freedom. Each seed has the smallest threshold whose FAR on the test "
    "split does not exceed the one asked for."
)
COSTS_NOTE = (
    "Each training ran in a process of its own. Time covers opening the data, training, validating and saving, not the "
    "start of Python; crops / s is by wall time, and so depends on what else the machine did. Peak memory is the "
    "largest resident set of the process, libraries included."
)


def cautions(result: Comparison) -> list[str]:
    """What a reader must not conclude."""
    notes = []
    if result.procedural:
        notes.append("These are procedural faces: the figures say nothing about real people.")
    if result.seeds == 1:
        notes.append("One seed a loss: how much another seed would change is unknown, and no interval holds it.")
    for entry in result.entries:
        if entry.different:
            notes.append(f"{entry.name} had another budget: {'; '.join(entry.different)}.")
    return notes


def verdict(result: Comparison) -> str:
    """Which differences to the baseline are larger than the noise, in a sentence or two for each FAR."""
    words = []
    for far in result.fars:
        pairs = [(entry.name, entry.difference[far]) for entry in result.entries if far in entry.difference]
        above = [f"{name} ({100 * found.value:+.1f})" for name, found in pairs if found.beyond_noise]
        inside = [name for name, found in pairs if not found.beyond_noise]
        if above:
            words.append(f"At FAR {far:g}, different from {result.baseline} beyond the noise: {', '.join(above)}.")
        if inside:
            words.append(f"At FAR {far:g}, inside the noise: {', '.join(inside)}.")
    return " ".join(words)


def draw_comparison(result: Comparison) -> bytes:
    """TAR at each drawn FAR, and the difference to the baseline beside it."""
    fars = [far for far in DRAWN if far in result.fars] or list(result.fars[:1])
    panels, names = [], [entry.name for entry in result.entries]
    for far in fars:
        panels.append(
            DotPanel(
                f"TAR at FAR {far:g}",
                *_split([entry.tar.get(far) for entry in result.entries]),
                single=[[run.tars[far] for run in entry.finished] for entry in result.entries],
                axis="mean of the seeds and its 95 % interval; small marks: the seeds" if far == fars[-1] else "",
            )
        )
        panels.append(
            DotPanel(
                f"difference to {result.baseline}, points",
                *_split([entry.difference.get(far) for entry in result.entries]),
                difference=True,
                baseline=names.index(result.baseline),
                axis="on the same comparisons; open and grey: inside the noise" if far == fars[-1] else "",
            )
        )
    return dots(names, panels)


def _split(found: list[SeedEstimate | None]) -> tuple[list[Any], list[Any]]:
    return [each and each.value for each in found], [each and each.interval for each in found]


def _caption(result: Comparison) -> str:
    return (
        "Dots: mean over the seeds, with its 95 % interval; small marks: the seeds. On the right the same test "
        f"comparisons minus those of {result.baseline}; open grey dots lie inside the noise."
    )


def rate_columns(result: Comparison) -> tuple[str, ...]:
    return ("loss", *(f"at FAR {far:g}" for far in result.fars))


def rate_rows(result: Comparison) -> list[tuple[str, ...]]:
    """A row a loss: TAR with its interval."""
    return [(entry.name, *(_cell(entry.tar.get(far)) for far in result.fars)) for entry in result.entries]


def difference_columns(result: Comparison) -> tuple[str, ...]:
    return ("loss", *(f"at FAR {far:g}" for far in result.fars))


def difference_rows(result: Comparison) -> list[tuple[str, ...]]:
    """A row a loss other than the baseline: difference with its interval, an asterisk where that excludes 0."""
    return [
        (entry.name, *(_points(entry.difference.get(far)) for far in result.fars))
        for entry in result.entries
        if entry.name != result.baseline
    ]


def cost_rows(result: Comparison) -> list[tuple[str, ...]]:
    """A row a loss; the time of a whole run follows from its pace, for a life that was killed left none."""
    rows = []
    for entry in result.entries:
        if not entry.finished:
            rows.append((entry.name, *["–"] * 5))
            continue
        pace = entry.images_per_cpu_second
        rows.append(
            (
                entry.name,
                f"{entry.crops:,}",
                _number(pace),
                _number(entry.images_per_second),
                f"{entry.crops / pace / 60:.1f}" if pace else "–",
                f"{entry.peak_bytes / 2**20:,.0f} MiB",
            )
        )
    return rows


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _cell(found: SeedEstimate | None) -> str:
    if found is None:
        return "–"
    return f"{100 * found.value:.1f} ({100 * found.interval[0]:.1f} to {100 * found.interval[1]:.1f})"


def _points(found: SeedEstimate | None) -> str:
    if found is None:
        return "–"
    low, high = found.interval
    return f"{100 * found.value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}){'*' if found.beyond_noise else ''}"


def _seed_columns(result: Comparison) -> tuple[str, ...]:
    return ("run", "state", *(f"TAR at FAR {far:g}" for far in result.fars), "CPU min")


def _seed_rows(result: Comparison) -> list[tuple[str, ...]]:
    return [_seed_row(result, entry, number) for entry in result.entries for number in range(len(entry.runs))]


def _seed_row(result: Comparison, entry: Entry, number: int) -> tuple[str, ...]:
    run = entry.runs[number]
    tars = (f"{100 * run.tars[far]:.1f} %" if far in run.tars else "–" for far in result.fars)
    return (f"{entry.name}, seed {run.seed}", run.outcome.state, *tars, f"{run.cpu_seconds / 60:.1f}")


def _provenance(result: Comparison) -> str:
    """Losses with their parameters, data, withheld rates and the command: a list and a paragraph."""
    capped = f", at most {result.max_per_identity} an identity" if result.max_per_identity else ""
    (images, people), (test_images, test_people) = result.train_counts, result.test_counts
    lines = [
        *(e.loss if e.loss.split(",")[0] == e.name else f"{e.name}: {e.loss}" for e in result.entries),
        f"trained on {result.data}: {images:,} images of {people:,} identities (digest {result.train_digest[:16]})",
        f"measured on {result.test}: {test_images:,} images of {test_people:,} other identities{capped} "
        f"(digest {result.test_digest[:16]}); {result.mated:,} mated and {result.non_mated:,} non-mated pairs",
        *(f"FAR {far:g} is withheld: it needs {n:,} non-mated pairs" for far, n in result.withheld.items()),
    ]
    return "\n".join(f"- {line}" for line in lines) + f"\n\nCommand: {result.command}"
