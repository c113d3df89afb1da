"""JSON with one spelling, for what is signed or chained."""

from __future__ import annotations

import json
from typing import Any


def canonical(value: Any) -> bytes:
    """Sorted keys, no white space, ASCII only; what was stored as JSON and read again gives the same bytes.

    Numbers are spelt as Python spells them (the shortest text that reads back as the same float). `ValueError` for NaN
    and infinities, which JSON does not have, and `TypeError` for what JSON cannot hold.
    """
    return spell(plain(value))


def plain(value: Any) -> Any:
    """The value as it comes back from JSON: tuples are lists, and every key is text."""
    return json.loads(json.dumps(value, allow_nan=False))


def spell(value: Any) -> bytes:
    """`canonical` of a value that comes from JSON."""
    return json.dumps(value, allow_nan=False, sort_keys=True, separators=(",", ":")).encode("ascii")
