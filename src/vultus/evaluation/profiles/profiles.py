"""What an application asks of a recogniser, as data: a TOML file a profile, shipped here or anybody's own.

name = "night-shift"
title = "Doors at night"
words = "What is decided, and what an error costs."

[[requirement]]
measure = "tar"      # TAR at a FAR; also "auc", and "tpir" with fpir and gallery in place of far
far = 1e-4
at_least = 0.95
source = "Where the number comes from."
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from vultus.errors import VultusError
from vultus.files import parsing
from vultus.formats import read_text

Measure = Literal["tar", "auc", "tpir"]
_BESIDE: dict[str, tuple[str, ...]] = {"tar": ("far",), "auc": (), "tpir": ("fpir", "gallery")}
"""What belongs to each measure beside the goal."""


@dataclass(frozen=True)
class Requirement:
    """A measure that must reach `at_least`, in (0, 1)."""

    measure: Measure
    at_least: float
    source: str
    """Where the number comes from."""
    far: float | None = None
    """For "tar": the false accept rate of 1:1 comparisons at which TAR is read."""
    fpir: float | None = None
    """For "tpir": the false positive identification rate of searches at which TPIR is read."""
    gallery: int | None = None
    """For "tpir": how many people are enrolled."""

    @property
    def title(self) -> str:
        """ "TAR at FAR 0.0001", "AUC", "TPIR at FPIR 0.0003 among 10,000 people"."""
        if self.measure == "tar":
            return f"TAR at FAR {f'{self.far:g}'.replace('e-0', 'e-')}"
        if self.measure == "tpir":
            return f"TPIR at FPIR {self.fpir:.2g} among {self.gallery:,} people"
        return "AUC"


@dataclass(frozen=True)
class Profile:
    """An application in words, and its requirements, all of which must be met."""

    name: str
    title: str
    words: str
    requirements: tuple[Requirement, ...]

    @property
    def fars(self) -> tuple[float, ...]:
        """False accept rates at which a verification must have been measured."""
        return tuple(r.far for r in self.requirements if r.far is not None)

    @property
    def searches(self) -> tuple[tuple[int, float], ...]:
        """(gallery size, FPIR) of each requirement on searches."""
        return tuple((r.gallery, r.fpir) for r in self.requirements if r.gallery is not None and r.fpir is not None)


def list_profiles() -> tuple[Profile, ...]:
    """The shipped profiles, by name."""
    return tuple(load_profile(name) for name in _shipped())


MOST_PROFILE = 2**20
"""Bytes of a profile."""


def load_profile(name_or_path: str | Path) -> Profile:
    """The shipped profile of this name, or the one in a TOML file.

    Raises VultusError for an unknown name (with the nearest one and the list), a file that cannot be read, a missing,
    unknown or impossible field.
    """
    shipped = _shipped()
    name = str(name_or_path)
    if name in shipped:
        return parse_profile(shipped[name].read_text(encoding="utf-8"), name)
    path = Path(name_or_path)
    if path.suffix.lower() != ".toml":
        near = difflib.get_close_matches(name.lower(), shipped, n=1)
        hint = f", nearest is {near[0]}" if near else ""
        raise VultusError(
            f"no profile {name!r}{hint}; there are {', '.join(shipped)}, or give the path of a .toml file"
        )
    return parse_profile(read_text(path, MOST_PROFILE, "the profile"), str(path))


def parse_profile(text: str, where: str) -> Profile:
    """A profile from the text of a TOML file; `where` names it in messages."""
    with parsing(where, "profile in TOML", "see `vultus profiles` for examples"):
        content = tomllib.loads(text)
    fields = {"name": str, "title": str, "words": str, "requirement": list}
    _check(content, fields, tuple(fields), where)
    if not content["requirement"]:
        raise VultusError(f"profile {where}: requirement is empty; give at least one [[requirement]]")
    requirements = [_requirement(r, f"{where}, requirement {k}") for k, r in enumerate(content["requirement"], 1)]
    return Profile(content["name"], content["title"], content["words"].strip(), tuple(requirements))


def _requirement(content: Any, where: str) -> Requirement:
    if not isinstance(content, dict):
        raise VultusError(f"profile {where}: must be a table, written [[requirement]]")
    measure = content.get("measure")
    if not isinstance(measure, str) or measure not in _BESIDE:
        raise VultusError(f"profile {where}: measure is {measure!r}; choose {', '.join(_BESIDE)}")
    kinds = {"measure": str, "at_least": float, "source": str, "far": float, "fpir": float, "gallery": int}
    needed = ("measure", "at_least", "source", *_BESIDE[measure])
    _check(content, {name: kinds[name] for name in needed}, needed, where)
    for name in ("at_least", "far", "fpir"):
        if name in content and not 0 < content[name] < 1:
            raise VultusError(f"profile {where}: {name} is {content[name]}; it is a share between 0 and 1")
    if content.get("gallery", 1) < 1:
        raise VultusError(f"profile {where}: gallery is {content['gallery']}; it is the number of people enrolled")
    return Requirement(**{**content, "source": content["source"].strip()})


def _check(content: dict[str, Any], fields: dict[str, type], needed: tuple[str, ...], where: str) -> None:
    """Every field known and of its type, every needed one there."""
    for name, value in content.items():
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(fields)}"
            raise VultusError(f"profile {where}: unknown field {name!r} here; {hint}")
        wanted = (int, float) if fields[name] is float else fields[name]
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise VultusError(f"profile {where}: {name} is {value!r}; it must be a {_KINDS[fields[name]]}")
    for name in needed:
        if name not in content:
            raise VultusError(f"profile {where}: {name} is missing")


_KINDS = {str: "text", float: "number", int: "whole number", list: "list of [[requirement]] tables"}


def _shipped() -> dict[str, Any]:
    files = resources.files("vultus.evaluation.profiles").iterdir()
    return {file.name.removesuffix(".toml"): file for file in sorted(files, key=str) if file.name.endswith(".toml")}
