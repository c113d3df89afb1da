"""Names of enrolled people: one spelling each, and a suggestion for a mistyped one."""

from __future__ import annotations

import difflib
import json
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from vultus.errors import VultusError

MAX_LENGTH = 200
MAX_REMARK = 500
MAX_METADATA_BYTES = 16_384
"""Of a person's metadata as JSON: a page of text, no archive."""
_MAX_DEPTH = 8
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


def clean_line(text: str, what: str) -> str:
    """A remark for the audit log: one line of at most 500 characters, white space made single."""
    line = " ".join(unicodedata.normalize("NFC", str(text)).split())
    if len(line) > MAX_REMARK:
        raise VultusError(f"{what} has {len(line):,} characters; at most {MAX_REMARK} are kept")
    for character in line:
        if unicodedata.category(character) in _REFUSED or character in _BIDI:
            raise VultusError(f"{what} holds the control character {character!r}; remove it")
    return line


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


def clean_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """`metadata` as plain JSON values, text in composed form.

    Raises VultusError for anything that is no JSON, NaN or infinity, more than 16 KB, or nesting deeper than 8.
    """
    if not isinstance(metadata, Mapping):
        raise VultusError(f"metadata must be a JSON object, not {type(metadata).__name__}")
    cleaned = _plain(dict(metadata), "metadata", _MAX_DEPTH)
    size = len(json.dumps(cleaned, ensure_ascii=False).encode())
    if size > MAX_METADATA_BYTES:
        raise VultusError(f"metadata has {size:,} bytes as JSON; at most {MAX_METADATA_BYTES:,} are kept")
    return cleaned


def _plain(value: Any, where: str, depth: int) -> Any:
    if depth == 0:
        raise VultusError(f"metadata is nested deeper than {_MAX_DEPTH} levels; make it flatter")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) >= 2**63:
            raise VultusError(f"{where} is a number of more than 64 bits; give it as text")
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise VultusError(f"{where} is {value}, which JSON cannot hold; leave it out")
        return value
    if isinstance(value, str):
        if len(value) > MAX_METADATA_BYTES:
            raise VultusError(f"{where} has {len(value):,} characters; metadata holds at most {MAX_METADATA_BYTES:,}")
        text = unicodedata.normalize("NFC", value)
        if any(unicodedata.category(character) == "Cs" or character == "\0" for character in text):
            raise VultusError(f"{where} holds a character that cannot be stored; remove it")
        return text
    if isinstance(value, Mapping):
        return {
            _plain(key if isinstance(key, str) else _bad_key(key), "a key of metadata", depth): _plain(
                item, f"metadata {str(key)[:40]!r}", depth - 1
            )
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(item, where, depth - 1) for item in value]
    raise VultusError(f"{where} is a {type(value).__name__}, which JSON cannot hold; give text or a number")


def _bad_key(key: Any) -> str:
    raise VultusError(f"a key of metadata is a {type(key).__name__}: {str(key)[:40]!r}; keys are text")
