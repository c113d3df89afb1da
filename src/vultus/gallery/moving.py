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
from vultus.gallery.successors import IncompleteError, Missing

PASSES = 10
"""How often newcomers are looked for before the cut-over is left to another run: enrollments go on meanwhile."""


@dataclass(frozen=True)
class Moved:
    """What a change of model came to."""

    state: Reembedding
    """`missing` is what is still missing, or where the move is done, what was left behind."""
    done: bool
    """Whether the collection is of the new model now; if not, the old one goes on, until nothing is missing."""
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

    Once every template and kept crop has its successor (`reembed` tells by which rule), all searches change over at
    once, in every process, and the old templates are deleted; with `leave_behind` also where some are missing, whose
    people must then be enrolled again. What others enroll meanwhile is embedded as well before that. Until then the
    present model goes on, and the same call goes on from where it was, also after an interruption. With `compatible`,
    evidence that templates of the present model can be searched by the other one, they stay as they are: see `adopt`.

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
            replaces = reembed.replaceable(store, name, person)  # before the work: who is enrolled meanwhile is not
            shots, bad = photographs.shoot(recognizer, pictures, None, gate, True)
            rows = recognizer.embed([shot.face for shot in shots]) if shots else ()
            keep = collection.settings.keep_crops
            samples = [photographs.sample_of(shot, row, keep) for shot, row in zip(shots, rows, strict=True)]
            reembed.from_samples(store, name, person, recognizer, samples, replaces)
        except VultusError as error:
            bad = [Skipped("", str(error))]
        skipped += [Skipped(f"{person}: {one.image}", one.reason, one.codes) for one in bad]
    before: tuple[Missing, ...] = ()
    for _ in range(PASSES):
        state = reembed.from_crops(store, name, recognizer, progress)
        if state.missing != before:  # crops of newcomers may be among it, which the next pass embeds
            before = state.missing
            continue
        if state.missing and not leave_behind:
            break
        try:
            reembed.cut_over(store, name, leave_behind=state.missing, contract_id=recognizer.contract.id)
        except IncompleteError:  # somebody was enrolled since
            continue
        binding.take(model, recognizer)
        return Moved(state, True, tuple(skipped), store.unscrubbed)
    return Moved(reembed.state(store, name), False, tuple(skipped))
