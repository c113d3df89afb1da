"""A collection's way to another model, from kept crops and new photographs to the cut-over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vultus.errors import VultusError
from vultus.gallery import photographs, reembed
from vultus.gallery.adopt import adopt
from vultus.gallery.binding import Binding
from vultus.gallery.photographs import Image, Skipped
from vultus.gallery.rates import require_calibration
from vultus.gallery.reembed import Progress, Reembedding
from vultus.gallery.reference import Embedder, reference_of


@dataclass(frozen=True)
class Moved:
    """What a change of model came to."""

    state: Reembedding
    done: bool
    """Whether the collection is of the new model now; if not, the old one goes on, until nobody is missing."""
    skipped: tuple[Skipped, ...] = ()
    """Photographs that no template was made of; `image` is "person: photograph"."""
    unscrubbed: VultusError | None = None
    """What keeps the old templates in the database's files, as `Store.unscrubbed`; the next opening tries again."""


def move(
    binding: Binding,
    model: str | Path | Embedder,
    images: Mapping[str, Sequence[Image]],
    leave_behind: bool,
    progress: Progress | None,
    compatible: str | Path | None = None,
) -> Moved:
    """Make templates of `model` beside the present ones, from kept crops and from `images` (person to photographs).

    Once everybody has one, all searches change over at once, in every process, and the old templates are deleted; with
    `leave_behind` also where people are missing, who must then be enrolled again. Until then the present model goes on,
    and the same call goes on from where it was, also after an interruption. With `compatible`, evidence that templates
    of the present model can be searched by the other one, they stay as they are: see `adopt`.

    Raises CalibrationError for a model without a calibration, with which the gallery could decide nothing.
    """
    recognizer = binding.load(model)
    require_calibration(recognizer)  # or nothing would be decided
    store, name = binding.store, binding.place.collection
    if compatible is not None:
        count = adopt(store, name, recognizer, reference_of(model), compatible)
        binding.take(model, recognizer)
        return Moved(Reembedding(recognizer.name, recognizer.contract.id, 0, 0, count, ()), True)
    collection = reembed.begin(store, name, recognizer, reference_of(model))
    gate = collection.settings.gate_of_enrolment
    skipped: list[Skipped] = []
    for person, pictures in images.items():
        try:
            shots, bad = photographs.shoot(recognizer, pictures, None, gate, True)
            rows = recognizer.embed([shot.face for shot in shots]) if shots else ()
            keep = collection.settings.keep_crops
            samples = [photographs.sample_of(shot, row, keep) for shot, row in zip(shots, rows, strict=True)]
            reembed.from_samples(store, name, person, recognizer, samples)
        except VultusError as error:
            bad = [Skipped("", str(error))]
        skipped += [Skipped(f"{person}: {one.image}", one.reason, one.codes) for one in bad]
    reembed.from_crops(store, name, recognizer, progress)
    state = reembed.state(store, name)
    if state.missing and not leave_behind:
        return Moved(state, False, tuple(skipped))
    reembed.cut_over(store, name, leave_behind=leave_behind, contract_id=recognizer.contract.id)
    binding.take(model, recognizer)
    return Moved(state, True, tuple(skipped), store.unscrubbed)
