"""Does a converted network still recognise people? Measured on real pairs before and after, and refused if not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vultus.data import FaceDataset, Seen
from vultus.errors import VultusError
from vultus.evaluation import OperatingPoint, Verification, verify_all_pairs
from vultus.recognizer import Recognizer
from vultus.workflows.embedder import Embedder
from vultus.workflows.evaluate import describe

FARS = (1e-3, 1e-2, 1e-1)
"""The guard reads the first of them that the data supports."""
FIGURES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
PER_IDENTITY = 10
"""Images of one person at most, so that a few people do not decide the figures."""
MAX_LOSS = 0.5
"""Points of TAR that a conversion may cost. fp16 cost 0.0 and int8 0.0 to 0.3 for SFace, MobileFaceNet and EdgeFace on
LFW; a conversion that went wrong cost 2 to 90 (docs/deploying.md)."""


@dataclass(frozen=True)
class Check:
    """Figures of a recogniser on one dataset view, and of the one that it was converted from."""

    data: FaceDataset
    runtime: str
    after: Verification
    before: Verification | None = None
    notes: tuple[str, ...] = ()

    @property
    def far(self) -> float:
        """The rate that the guard reads. Raises `VultusError` where the data supports none."""
        for far in FARS:
            if self.after.point(far).tar is not None:
                return far
        raise VultusError(f"{self.data.title} has too few pairs to check a conversion; it needs {10 / FARS[-1]:.0f}")

    @property
    def loss(self) -> float:
        """Points of TAR lost at `far`; negative where it rose."""
        return 100 * (self._tar(self.before) - self._tar(self.after))

    def refuse_beyond(self, max_loss: float, precision: str) -> None:
        """Raises `VultusError` where more than `max_loss` points of TAR were lost."""
        if self.loss > max_loss:
            raise VultusError(
                f"{precision} lowers TAR at FAR {self.far:g} on {self.data.title} from {self._tar(self.before):.2%} to "
                f"{self._tar(self.after):.2%}: {self.loss:.2f} points, more than --max-loss {max_loss:g}; nothing was "
                "written. Give other calibration crops, choose another precision, or allow more"
            )

    def to_dict(self) -> dict[str, Any]:
        """What the card records under "measured"."""
        return {
            "data": describe(self.data),
            "digest": self.data.digest,
            "images": self.after.images,
            "identities": self.after.identities,
            "mated": self.after.mated,
            "non_mated": self.after.non_mated,
            "runtime": self.runtime,
            "points": _points(self.after),
            "before": _points(self.before) if self.before else None,
            "notes": list(self.notes),
        }

    def decision(self, max_loss: float) -> dict[str, Any]:
        """What the card records of the guard."""
        return {
            "far": self.far,
            "before": self._tar(self.before),
            "after": self._tar(self.after),
            "loss": self.loss,
            "max_loss": max_loss,
        }

    def describe(self) -> str:
        """One line for a person."""
        after = _text(self.after.point(self.far))
        if self.before is None:
            return f"TAR at FAR {self.far:g} on {self.data.title}: {after}"
        return f"TAR at FAR {self.far:g} on {self.data.title}: {_text(self.before.point(self.far))} before, {after} now"

    def _tar(self, figures: Verification | None) -> float:
        tar = figures.point(self.far).tar if figures else None
        assert tar is not None  # both have the same pairs
        return tar


def check(after: Recognizer, data: FaceDataset, seen: Seen | None, before: Recognizer | None = None) -> Check:
    """Measure on every pair of `data`, at most `PER_IDENTITY` images a person.

    Raises:
        VultusError: its people were trained on.
    """
    data = data.at_most(PER_IDENTITY)
    notes = []
    if seen is not None:
        trained, validated = seen.overlap(data)
        if trained:
            raise VultusError(
                f"--check: {data.title} has {trained} identities that the network was trained on; choose another split"
            )
        if validated:
            notes.append(f"The checkpoint was chosen on {validated} of these identities: figures a little too good.")
    if data.info["made"].get("procedural"):
        notes.append("These are procedural faces: the figures say nothing about real people.")
    return Check(data, after.backend, _measure(after, data), _measure(before, data) if before else None, tuple(notes))


def _measure(recognizer: Recognizer, data: FaceDataset) -> Verification:
    embeddings = Embedder(recognizer.name, recognizer.embed).dataset(data)
    return verify_all_pairs(embeddings, data.labels, FIGURES)


def _points(figures: Verification) -> list[dict[str, Any]]:
    return [
        {"far": p.far, "tar": p.tar, "interval": list(p.tar_interval), "threshold": p.threshold}
        for p in figures.points
        if p.tar is not None and p.tar_interval is not None
    ]


def _text(point: OperatingPoint) -> str:
    low, high = point.tar_interval or (0.0, 1.0)
    return f"{point.tar or 0:.2%} ({100 * low:.2f} to {100 * high:.2f})"
