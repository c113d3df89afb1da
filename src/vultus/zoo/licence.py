"""What the licence of a published weight asks: said when it is loaded, and carried along in what is made of it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from vultus.terminal import say
from vultus.zoo.entry import ModelFile

_announced: set[str] = set()


class LicenceLink(TypedDict):
    """One link of a licence chain: a weight that went into a model. A chain is a list of these, oldest first."""

    name: str
    licence: str
    commercial_use: str
    """allowed, forbidden or unclear."""
    source: str
    sha256: str | None


def commercial_use(entry: ModelFile) -> str:
    """allowed, forbidden or unclear."""
    return {True: "allowed", False: "forbidden", None: "unclear"}[entry.commercial]


def announce(entry: ModelFile) -> None:
    """One line on stderr where commercial use is not plainly allowed; once a process and name.

    Workers of a process that has said it already stay silent. Never on stdout, which may hold JSON.
    """
    if entry.commercial or entry.name in _announced or multiprocessing.parent_process() is not None:
        return
    _announced.add(entry.name)
    is_ = "is forbidden" if entry.commercial is False else "may not be allowed"
    say(f"vultus: commercial use of {entry.name} {is_}: {entry.licence}", err=True)


def announce_chain(chain: Iterable[Mapping[str, Any]]) -> None:
    """One line on stderr for each weight of a licence chain whose commercial use is forbidden; once a process."""
    for link in chain:
        name = str(link.get("name"))
        if link.get("commercial_use") == "forbidden" and name not in _announced:
            if multiprocessing.parent_process() is None:
                say(f"vultus: commercial use of {name} is forbidden: {link.get('licence')}", err=True)
            _announced.add(name)


def licence_link(entry: ModelFile, sha256: str | None = None) -> LicenceLink:
    """What a model made of `entry` records about it. sha256: of the file used, where the table knows none."""
    return {
        "name": entry.name,
        "licence": entry.licence,
        "commercial_use": commercial_use(entry),
        "source": entry.url,
        "sha256": entry.sha256 or sha256,
    }
