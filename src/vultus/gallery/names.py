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
_REFUSED = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
"""Control and format characters (of no width, or that turn the order of letters), unassigned, private, surrogates."""
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
"""Fillers, joiners and blanks that Unicode files under letters, marks and symbols."""
_JOINERS = "\u200c\u200d"
_JOINING = frozenset(
    ("ARABIC", "BENGALI", "DEVANAGARI", "GUJARATI", "GURMUKHI", "KANNADA", "KHMER", "MALAYALAM", "MANDAIC")
    + ("MONGOLIAN", "MYANMAR", "NKO", "ORIYA", "SINHALA", "SYRIAC", "TAMIL", "TELUGU", "TIBETAN")
)
"""Scripts whose letters take another form beside a joiner; Persian and Indic names need it."""
_LOOKS = str.maketrans(
    "АВЕЅІЈКМНОРСТХУаеѕіјорсухһԁԛԝѵӏΑΒΕΖΗΙΚΜΝΟΡΤΥΧαιονρυ" + "օոսհ" + "ɑɡıI1|0‘’ʼʹ‐‑‒–−",
    "ABESIJKMHOPCTXYaesijopcyxhdqwvlABEZHIKMNOPTYXaiovpu" + "onuh" + "agilllO" + "'" * 4 + "-" * 5,
)
"""Letters of Cyrillic, Greek and Armenian, digits and marks that most fonts draw as these Latin ones."""


def clean_name(name: str) -> str:
    """`name` stripped, in Unicode's composed form (NFC), and each space or run of spaces one ordinary space.

    Raises VultusError where it is empty, longer than 200 characters, or holds characters that cannot be seen or have no
    meaning. Codes: name_type, name_characters, name_empty, name_length.
    """
    if not isinstance(name, str):
        raise VultusError(f"a person's name must be text, not {type(name).__name__}", code="name_type")
    shown = "".join(" " if unicodedata.category(c) == "Zs" else c for c in unicodedata.normalize("NFC", name.strip()))
    cleaned = " ".join(part for part in shown.split(" ") if part)
    if not cleaned:
        raise VultusError("a person's name is empty; give one", code="name_empty")
    if len(cleaned) > MAX_LENGTH:
        told = f"the name {cleaned[:30]!r}... has {len(cleaned):,} characters; at most {MAX_LENGTH} are allowed"
        raise VultusError(told, code="name_length")
    for index, character in enumerate(cleaned):
        if not _visible(cleaned, index):
            told = f"the name {cleaned[:60]!r} holds the invisible or meaningless character {character!a}; remove it"
            raise VultusError(told, code="name_characters", character=f"U+{ord(character):04X}")
    return cleaned


def _visible(text: str, index: int) -> bool:
    """Whether a character can be seen, or is a joiner or a variation selector where a script gives it a meaning."""
    character = text[index]
    before, after = text[max(0, index - 1) : index], text[index + 1 : index + 2]
    if character in _JOINERS:
        return _script(before) in _JOINING and _script(before) == _script(after)
    if "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef":
        return _script(before) == "CJK"  # variants of ideographs, which Japanese names are told apart by
    return character not in _INVISIBLE and unicodedata.category(character) not in _REFUSED


def _script(character: str) -> str:
    """The first word of a character's name, which is its script for the letters that matter here."""
    return unicodedata.name(character, "").partition(" ")[0] if character else ""


def alike(name: str) -> frozenset[str]:
    """Other names that look like `name`, the likely ones: at most some hundreds, to be looked up by an index.

    A look-alike is told by a table of letters that Cyrillic, Greek and Armenian share with Latin by their looks, of
    compatibility forms (NFKC), and of 0 and O, 1, I and l; not by all of Unicode's confusables (UTS 39), and not where
    an enrolled name mixes two or more letters of other scripts with Latin ones, or holds such forms or joiners itself.
    """
    plain = unicodedata.normalize("NFKC", name.translate({ord(joiner): None for joiner in _JOINERS}))
    base = plain.translate(_LOOKS)
    forms = {plain, base, *(each(text) for each in (str.lower, str.upper, str.title) for text in (plain, base))}
    found = set(forms)
    for form in forms:
        found |= {"".join(of.get(letter, letter) for letter in form) for of in _OTHERS}
        for index, letter in enumerate(form[:40]):
            found |= {form[:index] + other + form[index + 1 :] for of in _OTHERS if (other := of.get(letter))}
    return frozenset(clean for one in found if (clean := unicodedata.normalize("NFC", one)) != name)


def _drawn_as() -> list[dict[str, str]]:
    """For each script, Latin letter to its look-alike."""
    scripts: dict[str, dict[str, str]] = {}
    for code, latin in _LOOKS.items():
        scripts.setdefault(_script(chr(code)), {})[chr(latin)] = chr(code)
    return list(scripts.values())


_OTHERS = _drawn_as()


def clean_line(text: str, what: str) -> str:
    """A remark for the audit log: one line of at most 500 characters, white space made single."""
    line = " ".join(unicodedata.normalize("NFC", str(text)).split())
    if len(line) > MAX_REMARK:
        raise VultusError(f"{what} has {len(line):,} characters; at most {MAX_REMARK} are kept")
    for character in line:
        if unicodedata.category(character) in _REFUSED and character not in _JOINERS:
            raise VultusError(f"{what} holds the control character {character!r}; remove it", code="name_characters")
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
