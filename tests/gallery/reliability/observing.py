"""What a gallery holds, as the plain model of `writer` tells it; and whether everything in it fits together."""

from __future__ import annotations

import atexit
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import func, select

from vultus.gallery import Gallery
from vultus.gallery.custody import consents_of, ledger
from vultus.gallery.live import Current, Live
from vultus.gallery.store import Collection, Store, collections, persons, templates, verification
from vultus.gallery.store import schema as tables

from . import writer
from .writer import State

ENVIRONMENT = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "VULTUS_GALLERY_KEY", "VULTUS_ACTOR")
PATIENCE = 60.0
"""Seconds for a process to start or to end; it takes a fraction of one."""


@dataclass(frozen=True)
class Told:
    """What a writer said: its operations in order, whether the last was acknowledged, and how it ended if by itself."""

    done: list[dict]
    pending: dict | None
    failed: str | None


class Process:
    """One writer."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self.log = log

    def told(self) -> Told:
        lines = self.log.read_bytes().split(b"\n")[:-1] if self.log.exists() else []  # the last may be torn
        done, pending, failed = [], None, None
        for line in map(json.loads, lines):
            assert "broken" not in line, line["broken"]
            if "start" in line:
                pending = line["start"]
            elif "done" in line:
                assert pending is not None and pending["number"] == line["done"]
                done.append(pending)
                pending = None
            else:
                failed = line["failed"]
        return Told(done, pending, failed)

    def after(self, acknowledged: int) -> None:
        """Wait until so many operations are acknowledged, or the writer has ended."""
        end = time.monotonic() + PATIENCE
        while len(self.told().done) < acknowledged and self.alive():
            assert time.monotonic() < end, "a writer does nothing"
            time.sleep(0.005)

    def alive(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> Told:
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
        self.gone()
        return self.told()

    def gone(self) -> None:
        end = time.monotonic() + PATIENCE
        while self.alive():
            assert time.monotonic() < end, "a writer does not end"
            time.sleep(0.005)


class Nursery:
    """Forks writers; see `writer`. It lasts as long as the tests, since it takes seconds to start."""

    def __init__(self) -> None:
        self.folder = Path()
        self._count = itertools.count()
        self._process = subprocess.Popen(
            [sys.executable, writer.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        assert self._process.stdout is not None and self._process.stdout.readline() == "ready\n"

    def start(self, place: str | Path, state: State, first: int, prefix: str = "a", **more: Any) -> Process:
        log = self.folder / f"writer-{next(self._count)}.log"
        settings = {name: os.environ.get(name) for name in ENVIRONMENT}
        asked: dict[str, Any] = {"environment": settings}
        asked |= {"place": str(place), "state": state, "first": first, "prefix": prefix, "log": str(log), **more}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return Process(int(self._process.stdout.readline()), log)

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()


@cache
def _nursery() -> Nursery:
    made = Nursery()
    atexit.register(made.close)
    return made


@contextmanager
def nursery_in(folder: Path) -> Iterator[Nursery]:
    """Its writers log into `folder`."""
    made = _nursery()
    made.folder = folder
    yield made


def observed(store: Store) -> State:
    """The whole of a gallery in terms of the model, read from one state of the database."""
    people = {}
    with store.reading() as connection:
        collection = collections.get(store, connection, "default")
        for one in persons.listed(connection, collection):
            person = persons.find(connection, collection, one.external_id)
            assert person is not None
            brought: dict[str, int] = {}
            whole: dict[str, int] = {}
            for template in templates.of_person(connection, collection, person):
                key = str(template.provenance["number"])
                brought[key] = brought.get(key, 0) + 1
                whole[key] = template.provenance["of"]
            assert brought == whole, "half an enrolment is visible"
            assert one.templates == sum(brought.values())
            people[one.external_id] = {
                "name": one.name,
                "metadata": dict(one.metadata),
                "templates": brought,
                "consents": [[c.basis, c.withdrawn_at is not None] for c in consents_of(connection, person)],
                "retain": person.retain_until,
            }
        kinds = select(tables.audit.c.kind, func.count()).group_by(tables.audit.c.kind)
        entries = {kind: count for kind, count in connection.execute(kinds) if not kind.endswith("_created")}
        settings = collection.settings
        changed = {"retention_days": settings.retention_days, "max_templates": settings.max_templates}
        untouched = {"retention_days": None, "max_templates": 1000}
    return {
        "people": people,
        "settings": {name: value for name, value in changed.items() if value != untouched[name]},
        "log": entries,
    }


def possible(state: State, told: Sequence[Told]) -> list[State]:
    """Every state that the gallery may be in: all that is acknowledged, each last operation wholly or not at all."""
    for one in told:
        for what in one.done:
            state = writer.applied(state, what)
    found = [state]
    for one in told:
        if one.pending is not None:
            found += [writer.applied(before, one.pending) for before in found]
    return found


def rows_in(current: Current) -> list[tuple[int, int, bytes]]:
    """(template, person, row) of an index, in the order of templates."""
    return sorted(
        (int(template), int(person), row.tobytes())
        for part in current.view.parts
        for template, person, row in zip(part.template_ids, part.person_ids, part.rows, strict=True)
    )


def check_whole(gallery: Gallery, place: str | Path, before: State, told: Sequence[Told]) -> State:
    """Everything that must hold after a crash; returns what the gallery holds.

    `gallery` was open all the time; another one is opened, as a process that starts after the crash does.
    """
    with writer.opened(str(place)) as fresh:
        store = fresh._binding.store
        state = observed(store)
        assert state in possible(before, told), (state, told[-1].pending)
        assert verification.verify_gallery(store) == []
        with store.reading() as connection:
            row = connection.execute(select(tables.gallery)).one()
            first, last, count = connection.execute(
                select(func.min(tables.changes.c.seq), func.max(tables.changes.c.seq), func.count()).select_from(
                    tables.changes
                )
            ).one()
            assert (first, last, count) == (1, row.head, row.head), "the change sequence has gaps"
            for table in (tables.templates, tables.person_keys, tables.consents, tables.writes, tables.crops):
                orphans = select(func.count()).where(table.c.person_id.not_in(select(tables.persons.c.id)))
                assert connection.execute(orphans).scalar_one() == 0, f"{table.name} without their person"
            erased = set(connection.execute(select(tables.erasures.c.person_uuid)).scalars())
        assert not row.scrub_pending, "opening it again took the erased bytes out"
        noted = ledger.read(ledger.ledger_path(store), store.info.public_key)
        assert {receipt.person_uuid for receipt in noted} == erased
        check_index(gallery, fresh, state)
    return state


def check_index(gallery: Gallery, fresh: Gallery, state: State) -> None:
    """The index that followed, a new one (from a snapshot or not), and the model have the same rows."""
    followed, new = gallery._binding.existing(), fresh._binding.existing()
    read = Live(fresh._binding.store, new.collection)
    read._from_snapshot = lambda collection: None  # pyright: ignore[reportAttributeAccessIssue]
    assert rows_in(followed) == rows_in(new) == rows_in(read.current())
    names = {p.id: p.external_id for p in _people(fresh, new.collection)}
    held = sorted((names[person], row) for _, person, row in rows_in(new))
    wanted = [
        (name, row)
        for name, person in state["people"].items()
        for number, count in person["templates"].items()
        for row in new.collection.rotation.apply(writer.rows_of(int(number), count))
    ]
    assert [name for name, _ in held] == sorted(name for name, _ in wanted)
    for name in state["people"]:
        mine = np.array([np.frombuffer(row, np.float32) for of, row in held if of == name]).reshape(-1, writer.DIM)
        theirs = np.array([row for of, row in wanted if of == name]).reshape(-1, writer.DIM)
        assert np.allclose((mine @ theirs.T).max(1, initial=-1), 1, atol=1e-5), f"other rows of {name}"


def _people(gallery: Gallery, collection: Collection) -> list[persons.Person]:
    store = gallery._binding.store
    with store.reading() as connection:
        found = [
            persons.find(connection, collection, one.external_id) for one in persons.listed(connection, collection)
        ]
    return [one for one in found if one is not None]
