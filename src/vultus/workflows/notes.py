"""What a reader of figures must know about the people and photographs behind them."""

from __future__ import annotations

from vultus.data import FaceDataset
from vultus.data.duplicates import shared_photographs
from vultus.data.failures import never_found
from vultus.workflows.embedder import Embedder

CROWDED = 0.1
"""Share of the mated comparisons from which on one person is worth a note."""


def notes_on_people(embedder: Embedder, data: FaceDataset) -> tuple[str, ...]:
    """People who are no evidence, because the recogniser has met them, or are none at all."""
    notes = []
    if data.info["made"].get("procedural"):
        notes.append("These are procedural faces: the figures say nothing about real people.")
    if embedder.seen is not None:
        trained, validated = embedder.seen.overlap(data)
        if trained:
            notes.append(f"{trained} of the {len(data.identities)} identities were TRAINED on: this is no evidence.")
        if validated:
            notes.append(f"The checkpoint was chosen on {validated} of the identities: figures a little too good.")
    return tuple(notes)


def notes_on_photographs(data: FaceDataset) -> tuple[str, ...]:
    """Wrong labels that can be proved, and people who weigh too much."""
    notes = []
    if twice := shared_photographs(data):
        sources = data.sources
        shown = " = ".join(sources[row] for row in twice[0])
        notes.append(
            f"{len(twice):,} photograph{'s are' if len(twice) > 1 else ' is'} filed under two people ({shown}): "
            "they count as false matches; correct the folders."
        )
    mated = data.counts * (data.counts - 1) // 2
    if mated.sum() and (share := mated.max() / mated.sum()) > CROWDED:
        notes.append(
            f"One person makes {share:.0%} of the comparisons of the same person, which widens the intervals; "
            "--max-per-identity 10 weighs people more evenly."
        )
    if data.name is None and (gone := never_found(data)) != (0, 0):
        people, photographs = gone
        who = f"{people:,} people are" if people > 1 else "1 person is"
        notes.append(f"{who} in no figure: in none of their {photographs:,} photographs was a face found.")
    return tuple(notes)
