"""kill -9 of a writer and of whoever keeps the gallery up beside it: nothing is lost, and nobody comes back."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from vultus.gallery.custody import ledger, restore
from vultus.gallery.store.verification import verify_gallery

from . import writer
from .observing import nursery_in, observed, possible

DELAY = 0.5
"""Seconds after the writer's first acknowledgement in which both are killed."""
UNFINISHED = (".vultus-work", ".vultus-part", ".part", ".new")


def rounds_of_upkeep(place: str | Path, folder: Path, rounds: int, seed: int = 0) -> Counter[str]:
    """Kill a writer and a keeper `rounds` times, and look after each at all that must hold; what was counted.

    The journal of what was acknowledged lies outside the gallery. People's ids hold a token that nothing else does, so
    that the bytes of the erased can be looked for.
    """
    rng = np.random.default_rng(seed)
    journal, out = folder / "journal", folder / "out"
    journal.mkdir()
    prefix = f"a{os.urandom(6).hex()}x"
    counted: Counter[str] = Counter()
    erased: set[str] = set()
    with nursery_in(journal) as nursery:
        with writer.opened(str(place)) as gallery:
            gallery.create()
            state_folder = gallery._binding.store.state
        state = writer.nothing()
        for number in range(rounds):
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            kind = writer.UPKEEP[number % len(writer.UPKEEP)]
            jobs = [{"number": one, "kind": kind, "folder": str(out)} for one in range(30)]
            first = nursery.start(place, state, first=1 + 1000 * number, prefix=prefix)
            keeper = nursery.start(place, writer.nothing(), first=number, operations=jobs)
            first.after(1)
            time.sleep(rng.uniform(0, DELAY))
            told, kept = first.kill(), keeper.kill()
            for one in (told, kept):
                assert one.failed is None or (kind == "rotate" and "new key" in one.failed), one.failed
            counted |= Counter(dict.fromkeys((f"{kind} killed at work", f"{kind} done"), 0))
            counted[f"{kind} killed at work"] += kept.pending is not None
            counted[f"{kind} done"] += len(kept.done)
            counted["acknowledged"] += len(told.done)
            erased |= {what["person"] for what in told.done if what["kind"] == "erase"}
            with writer.opened(str(place)) as fresh:
                store = fresh._binding.store
                after = observed(store)
                allowed = [(one["people"], one["settings"]) for one in possible(state, [told])]
                assert (after["people"], after["settings"]) in allowed, (kind, told.pending)
                assert verify_gallery(store) == []
                receipts = ledger.read(ledger.ledger_path(store), store.info.uuid, store.info.public_key).receipts
                with store.reading() as connection:
                    assert {one.person_uuid for one in receipts} == ledger.known(connection)
                made = fresh.custody.backup(out / "last.backup").path
                # Sweeps where it writes, as opening a gallery there would.
                restore(made, out / "last.db", ledgers=[ledger.ledger_path(store)])
            assert [one for one in _files(place, state_folder, out) if one.name.endswith(UNFINISHED)] == []
            for path in _files(place, state_folder):
                found = {text.decode() for text in re.findall(rb"%s\d+" % prefix.encode(), path.read_bytes())}
                assert not found & erased, f"{path} holds erased people after {kind}"
            state = after
    counted["erased"] = len(erased)
    counted["rounds"] = rounds
    return counted


def _files(place: str | Path, *folders: Path) -> list[Path]:
    """Everything in the folders, and beside a SQLite file what bears its name."""
    beside = [] if "://" in str(place) else list(Path(place).parent.glob(f"*{Path(place).name}*"))
    inside = [path for folder in folders for path in folder.rglob("*")]
    return [path for path in (*beside, *inside) if path.is_file() or path.name.endswith(UNFINISHED)]


def test_a_killed_writer_and_keeper_lose_nothing_and_bring_nobody_back(place, tmp_path):
    print(rounds_of_upkeep(place, tmp_path, len(writer.UPKEEP)))


@pytest.mark.slow
def test_two_hundred_killed_writers_and_keepers(place, tmp_path):
    rounds = int(os.environ.get("VULTUS_KILL_ROUNDS", "200"))
    counted = rounds_of_upkeep(place, tmp_path, rounds, seed=1)
    print(dict(sorted(counted.items())))
    assert rounds < 100 or sum(n for what, n in counted.items() if what.endswith("killed at work")) > rounds / 4
