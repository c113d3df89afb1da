"""What an export wrote, in a few lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.terminal import say

if TYPE_CHECKING:
    from vultus.recognizer import Card


def show_exported(card: Card, out: Path) -> None:
    size = out.stat().st_size + (out.with_suffix(".bin").stat().st_size if out.suffix.lower() == ".xml" else 0)
    contract = card.contract
    say(f"wrote {out}: {contract.dim} dimensions, {contract.precision}, {size / 1e6:.2f} MB, contract {contract.id}")
    say(f"wrote {out.with_suffix('.md')}: the model card")
    if (found := card.provenance.get("measured")) is not None:
        before = {point["far"]: point for point in found["before"] or []}
        for point in found["points"]:
            was = f", {_tar(before[point['far']])} before" if point["far"] in before else ""
            say(f"TAR at FAR {point['far']:g} on {found['data']}: {_tar(point)}{was}")
    if card.calibration is None:
        say("no thresholds in it: --calibrate DATA/calibration adds them, without them nobody can be identified")
        return
    for line in card.calibration.describe():
        say(line)


def _tar(point: dict[str, Any]) -> str:
    low, high = point["interval"]
    return f"{point['tar']:.2%} ({100 * low:.2f} to {100 * high:.2f})"
