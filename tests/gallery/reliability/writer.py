"""A process that changes a gallery until it is killed, and says each time what it does and that it is done.

Run as a script it is a nursery: it imports everything once, and forks a writer for each line of JSON it reads.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from vultus.errors import VultusError
from vultus.gallery import Gallery, reembed
from vultus.gallery.custody import ConsentGiven, restore
from vultus.gallery.custody.ledger import ledger_path
from vultus.gallery.store import Sample
from vultus.zoo import Contract

DIM = 32
PURPOSE = "tests"
SECONDS = 20.0
"""No writer lives longer, whoever forgot it."""
PEOPLE = 8
"""Of a writer, at most."""

State = dict[str, Any]
Operation = dict[str, Any]


class Bare:
    """A recogniser of which only the contract is needed: embeddings are invented."""

    name = "bare"
    calibration = crops = None
    contract = Contract("bare", DIM, (127.5, 127.5, 127.5), (127.5, 127.5, 127.5))

    def faces(self, image, select="all"):
        raise NotImplementedError

    def embed(self, faces):
        raise NotImplementedError


class Next(Bare):
    """The model that a collection is on its way to, and never reaches."""

    name = "next"
    contract = Contract("next", DIM, (127.5, 127.5, 127.5), (127.5, 127.5, 127.5))


def rows_of(operation: int, count: int) -> np.ndarray:
    """The embeddings that an enrolment brings: unit rows that its number determines."""
    made = np.random.default_rng(operation).normal(size=(count, DIM)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def nothing() -> State:
    return {"people": {}, "settings": {}, "log": {}}


def applied(state: State, what: Operation) -> State:
    """The plain-Python model of a gallery after one operation."""
    after = copy.deepcopy(state)
    people, number, kind = after["people"], what["number"], what["kind"]
    entry = {
        "enrol": "enrolled",
        "erase": "erased",
        "remove": "template_removed",
        "consent": "consent_recorded",
        "withdraw": "consent_withdrawn",
        "retain": "retention_changed",
        "configure": "settings_changed",
    }.get(kind)
    if entry is not None:
        after["log"][entry] = after["log"].get(entry, 0) + 1
    if kind == "enrol":
        blank = {"name": what["person"], "metadata": {}, "templates": {}, "consents": [], "retain": None}
        person = people.setdefault(what["person"], blank)
        person["name"] = what["name"]
        person["metadata"] = {"number": number}
        person["templates"][str(number)] = what["rows"]
        if what["consent"]:
            person["consents"].append([f"basis {number}", False])
            after["log"]["consent_recorded"] = after["log"].get("consent_recorded", 0) + 1
    elif kind == "erase":
        del people[what["person"]]
    elif kind == "remove":
        del people[what["person"]]["templates"][what["template"]]
    elif kind == "consent":
        people[what["person"]]["consents"].append([f"basis {number}", False])
    elif kind == "withdraw":
        for consent in people[what["person"]]["consents"]:
            consent[1] = True
    elif kind == "retain":
        people[what["person"]]["retain"] = f"{3000 + number % 6000}-01-01T00:00:00+00:00"
    elif kind == "configure":
        after["settings"][what["setting"]] = what["value"]
    return after


def chosen(rng: np.random.Generator, state: State, prefix: str, number: int) -> Operation:
    """A random operation that is possible in `state`, on people of this writer alone."""
    mine = [name for name in state["people"] if name.startswith(prefix)]
    what: Operation = {"number": number, "kind": "enrol"}
    if len(mine) < 2:
        person = f"{prefix}{number}"
    else:
        person = str(rng.choice(mine))
        kinds = [
            "enrol",
            "enrol",
            "enrol new",
            "erase",
            "remove",
            "consent",
            "withdraw",
            "retain",
            "configure",
            "snapshot",
        ]
        what["kind"] = str(rng.choice(kinds, p=[0.2, 0.1, 0.2, 0.16, 0.08, 0.06, 0.06, 0.06, 0.04, 0.04]))
        about = state["people"][person]
        single = [n for n, rows in about["templates"].items() if rows == 1]
        if what["kind"] == "remove" and single:
            what["template"] = str(rng.choice(single))
        elif what["kind"] == "configure":
            what |= {"setting": "retention_days" if prefix < "b" else "max_templates", "value": 100 + number % 900}
        elif (
            what["kind"] in ("enrol", "enrol new", "remove")
            or (what["kind"] == "withdraw" and all(gone for _, gone in about["consents"]))
        ):  # fmt: skip
            if what["kind"] == "enrol new":
                if len(mine) < PEOPLE:
                    person = f"{prefix}{number}"
                else:
                    what["kind"] = "erase"
            elif len(about["templates"]) > 3:
                what["kind"] = "erase"
            else:
                what["kind"] = "enrol"
        if what["kind"] == "enrol new":
            what["kind"] = "enrol"
    what["person"] = person
    if what["kind"] == "enrol":
        what |= {"rows": int(rng.integers(1, 5)), "name": f"name {number}", "consent": bool(rng.random() < 0.3)}
    return what


def do(gallery: Gallery, what: Operation) -> None:
    number, kind, person = what["number"], what["kind"], what.get("person", "")
    if kind == "enrol":
        gallery.enroll_embeddings(
            person,
            rows_of(number, what["rows"]),
            Bare.contract.id,
            name=what["name"],
            metadata={"number": number},
            consent=ConsentGiven(f"basis {number}", "words") if what["consent"] else None,
            provenance={"number": number, "of": what["rows"]},
            client_key=f"enrolment {number}",
        )
    elif kind == "erase":
        gallery.erase(person, reason="asked to")
    elif kind == "remove":
        found = gallery.custody.person(person).templates
        ids = [one.id for one in found if str(one.provenance["number"]) == what["template"]]
        gallery.custody.remove_template(person, ids[0])
    elif kind == "consent":
        gallery.custody.record_consent(person, basis=f"basis {number}", text="words")
    elif kind == "withdraw":
        gallery.custody.withdraw_consent(person)
    elif kind == "retain":
        gallery.custody.retain(person, f"{3000 + number % 6000}-01-01")
    elif kind == "create":
        gallery.create()
    elif kind == "configure":
        gallery.configure(**{what["setting"]: what["value"]})
    elif kind == "snapshot":
        gallery.custody.snapshot()
    else:
        keep(gallery, kind, Path(what["folder"]), number)


UPKEEP = ("renew", "rotate", "backup", "export", "restore", "sweep", "reembed")
"""What may go on beside writers, and changes nothing that they see."""


def keep(gallery: Gallery, kind: str, folder: Path, number: int) -> None:
    """One piece of upkeep; its files go to `folder`."""
    store = gallery._binding.store
    people = [one.external_id for one in gallery.persons(limit=2)]
    if kind == "renew":
        gallery.custody.renew()
    elif kind == "rotate":
        gallery.custody.rotate_key()
    elif kind == "backup":
        gallery.custody.backup(folder / f"{number}.backup")
    elif kind == "export" and people:
        with suppress(VultusError):  # erased meanwhile
            gallery.custody.export(people[0], folder / f"{number}.zip")
    elif kind == "restore":
        made = gallery.custody.backup(folder / f"{number}.backup").path
        restore(made, folder / f"{number}.db", ledgers=[ledger_path(store)])
    elif kind == "sweep":
        gallery.custody.sweep(dry_run=False)
    elif kind == "reembed":
        reembed.begin(store, "default", Next())  # pyright: ignore[reportArgumentType]
        for person in people:
            sample = Sample(rows_of(number, 1)[0], source=f"{number} {person}".encode())
            with suppress(VultusError):  # erased meanwhile
                reembed.from_samples(store, "default", person, Next(), [sample])  # pyright: ignore[reportArgumentType]
        reembed.abandon(store, "default")


def opened(place: str) -> Gallery:
    settings = {"gates": False, "purpose": PURPOSE, "max_templates": 1000}
    return Gallery.open(place, model=Bare(), settings=settings)  # pyright: ignore[reportArgumentType]


def write(asked: dict[str, Any]) -> None:
    """Change the gallery at random until the end; each line of the log file is on its way before the next step."""
    with open(asked["log"], "ab", buffering=0) as log:

        def say(**line: Any) -> None:
            log.write(json.dumps(line).encode() + b"\n")

        for name, value in asked["environment"].items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        if "user" in asked:
            os.setuid(asked["user"])
        state, number = asked["state"], asked["first"]
        rng = np.random.default_rng(number)
        end = time.monotonic() + SECONDS
        try:
            gallery = opened(asked["place"])
            for what in asked.get("operations", ()):
                say(start=what)
                do(gallery, what)
                say(done=what["number"])
            while "operations" not in asked and time.monotonic() < end:
                what = chosen(rng, state, asked["prefix"], number)
                say(start=what)
                do(gallery, what)
                say(done=number)
                state = applied(state, what)
                number += 1
        except VultusError as error:
            say(failed=str(error))
        except BaseException:
            say(broken=traceback.format_exc())


def nursery() -> None:
    import psycopg  # noqa: F401

    with tempfile.TemporaryDirectory() as folder, opened(f"{folder}/warm.db") as gallery:  # whatever is imported late
        do(gallery, {"number": 1, "kind": "enrol", "person": "a", "rows": 1, "name": "a", "consent": True})
        do(gallery, {"number": 2, "kind": "snapshot", "person": "a"})
        do(gallery, {"number": 3, "kind": "erase", "person": "a"})
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who ends is forgotten at once
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            try:
                write(json.loads(line))
            finally:
                os._exit(0)
        print(child, flush=True)


if __name__ == "__main__":
    nursery()
