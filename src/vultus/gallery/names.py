"""Names of enrolled people: one spelling each, and a suggestion for a mistyped one."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

from vultus.errors import VultusError

MAX_LENGTH = 200
# Characters that make a shown name lie about its order. Joiners stay allowed: Persian and Indic names need them.
_BIDI = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_REFUSED = ("Cc", "Cs", "Zl", "Zp")


def clean_name(name: str) -> str:
    """`name` stripped and in Unicode's composed form (NFC).

    Raises VultusError where it is empty, longer than 200 characters, or holds control characters.
    """
    if not isinstance(name, str):
        raise VultusError(f"a person's name must be text, not {type(name).__name__}")
    cleaned = unicodedata.normalize("NFC", name).strip()
    for character in cleaned:
        if unicodedata.category(character) in _REFUSED or character in _BIDI:
            raise VultusError(f"the name {cleaned[:60]!r} holds the control character {character!r}; remove it")
    if not cleaned:
        raise VultusError("a person's name is empty; give one")
    if len(cleaned) > MAX_LENGTH:
        raise VultusError(
            f"the name {cleaned[:30]!r}... has {len(cleaned):,} characters; at most {MAX_LENGTH} are allowed"
        )
    return cleaned


def unknown_name(name: str, known: Iterable[str], where: str) -> VultusError:
    """The error for a name that is not enrolled, with the nearest that is."""
    by_fold = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name.casefold(), by_fold, n=1, cutoff=0.6)
    if not by_fold:
        hint = "the gallery is empty"
    elif near:
        hint = f"did you mean {by_fold[near[0]]!r}?"
    else:
        hint = f"{len(by_fold)} others are; see the list"
    return VultusError(f"{name!r} is not enrolled in {where}; {hint}")
