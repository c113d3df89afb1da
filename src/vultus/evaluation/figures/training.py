"""What happened during a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vultus.evaluation.figures.style import INK, SERIES, new_figure, to_png


def training_curves(
    columns: Mapping[str, Sequence[float] | np.ndarray], *, x: str = "step", only: Sequence[str] = (), title: str = ""
) -> bytes:
    """One panel for each column of a run's `metrics.csv` over column `x`; NaN (an empty cell) is skipped.

    A column with more than 60 values is drawn pale with its running mean on top. `only` chooses and orders columns.
    """
    names = [name for name in (only or columns) if name != x and np.isfinite(_numbers(columns[name])).any()]
    steps = _numbers(columns[x])
    wide = min(3, max(1, len(names)))
    rows = max(1, -(-len(names) // wide))
    figure, panels = new_figure(4.4 * wide if wide > 1 else 8.8, 2.9 * rows, title, rows, wide)
    for panel in panels[len(names) :]:
        panel.set_axis_off()
    for index, (name, panel) in enumerate(zip(names, panels, strict=False)):
        values = _numbers(columns[name])
        known = np.isfinite(values) & np.isfinite(steps)
        at, values, colour = steps[known], values[known], SERIES[index % len(SERIES)]
        if len(values) > 60:
            width = len(values) // 20
            smooth = np.convolve(values, np.ones(width) / width, mode="valid")
            panel.plot(at, values, color=colour, alpha=0.22, lw=0.8)
            panel.plot(at[width // 2 : width // 2 + len(smooth)], smooth, color=colour, lw=1.8)
        else:
            panel.plot(at, values, color=colour, lw=1.8, marker="o", ms=4 if len(values) < 25 else 0)
        panel.set_title(name.replace("_", " "), fontsize=10, color=INK, loc="left")
        panel.set_xlabel(x)
    return to_png(figure)


def _numbers(values: Sequence[float] | np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=np.float64)
