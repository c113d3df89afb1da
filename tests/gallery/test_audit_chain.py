"""Any change of the audit log is found."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.gallery.audit import GENESIS, Entry, anchor, chain, seal, seal_head, verify
from vultus.gallery.protection import ProtectionError

KEY = bytes(range(32))

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
DETAILS = st.dictionaries(st.text(max_size=5), JSON, max_size=3)
CONTENT = st.tuples(st.sampled_from(["enrol", "search", "erase"]), st.none() | st.text(max_size=4), DETAILS)


def log(contents: list[tuple[str, str | None, dict[str, Any]]], key: bytes = KEY) -> list[Entry]:
    entries: list[Entry] = []
    for seq, (kind, subject, details) in enumerate(contents, 1):
        previous = entries[-1].mac if entries else GENESIS
        entries.append(seal(key, seq, "2025-03-01T12:00:00Z", kind, "me", "c", subject, details, previous))
    return entries


def simple(count: int) -> list[Entry]:
    return log([("enrol", f"p{number}", {"score": number / 3}) for number in range(count)])


def head(entries: list[Entry]) -> tuple[int, str]:
    return (entries[-1].seq, entries[-1].mac) if entries else (0, GENESIS)


def problems(entries: list[Entry], of: list[Entry], **more: Any) -> list[str]:
    return [str(finding) for finding in verify(KEY, iter(entries), *head(of), **more)]


@settings(deadline=None)
@given(st.lists(CONTENT, max_size=6))
def test_a_whole_log_is_whole_also_after_its_details_went_through_json(contents: list) -> None:
    entries = log(contents)
    assert verify(KEY, entries, *head(entries)) == []
    again = [replace(entry, details=json.loads(json.dumps(entry.details))) for entry in entries]
    assert again == entries and verify(KEY, again, *head(entries)) == []
    pretty = [
        replace(entry, details=json.loads(json.dumps(entry.details, indent=1, ensure_ascii=False)))
        for entry in entries
        if not any(0xD800 <= ord(letter) < 0xE000 for letter in repr(entry.details))
    ]
    assert len(pretty) < len(entries) or verify(KEY, pretty, *head(entries)) == []


@settings(deadline=None)
@given(st.lists(CONTENT, min_size=1, max_size=6), st.data())
def test_any_single_change_is_found(contents: list, data: st.DataObject) -> None:
    entries = log(contents)
    at = data.draw(st.integers(0, len(entries) - 1))
    entry, changed = entries[at], list(entries)
    how = data.draw(st.sampled_from(["field", "delete", "swap", "renumber", "insert", "double", "truncate", "forge"]))
    if how == "field":
        name = data.draw(st.sampled_from([field.name for field in fields(Entry)]))
        value = getattr(entry, name)
        strategy = {"seq": st.integers(0, 99), "details": DETAILS}.get(name, st.text(max_size=5) | st.just(GENESIS))
        if name in ("collection", "subject"):
            strategy |= st.none()
        other = data.draw(strategy.filter(lambda other: json.dumps(other) != json.dumps(value)))
        if json.dumps(other, sort_keys=True) == json.dumps(value, sort_keys=True):
            return  # the same JSON in another order
        changed[at] = replace(entry, **{name: other})
    elif how == "delete":
        del changed[at]
    elif how == "swap":
        other = data.draw(st.integers(0, len(entries) - 1).filter(lambda other: other != at or len(entries) == 1))
        if other == at:
            return
        changed[at], changed[other] = changed[other], changed[at]
    elif how == "renumber":  # contents swapped under each other's numbers, as ORDER BY seq would show it
        other = data.draw(st.integers(0, len(entries) - 1).filter(lambda other: other != at or len(entries) == 1))
        if other == at:
            return
        changed[at], changed[other] = replace(entries[other], seq=at + 1), replace(entry, seq=other + 1)
    elif how == "insert":
        changed.insert(at, data.draw(st.sampled_from(log([("enrol", "x", {"a": 1})] * 3))))
        if changed[at] in entries and changed == entries:
            return
    elif how == "double":
        changed.insert(at, entry)
    elif how == "truncate":
        changed = changed[:at]
    else:  # by somebody without the key, who mends everything that follows
        kept, forged = entries[:at], log(contents, bytes(32))[at:]
        changed = kept + forged
    assert verify(KEY, changed, *head(entries))


def test_findings_say_what_is_wrong_and_only_that() -> None:
    entries = simple(6)
    assert problems(entries[:3] + entries[4:], entries) == ["entry 4: missing: entry 4, before entry 5"]
    assert problems(entries[:2] + entries[4:], entries) == ["entry 3: missing: entries 3 to 4, before entry 5"]
    assert problems(entries[1:], entries) == ["entry 1: missing: entry 1, before entry 2"]
    assert problems(entries[:4], entries) == ["entry 5: missing: the log ends with entry 4, its head is entry 6"]
    assert problems(entries, entries[:4]) == ["entry 6: added: the log goes on to entry 6, its head is entry 4"]
    for change in ({"actor": "you"}, {"mac": "0" * 64}, {"mac": "é"}, {"previous": "1" * 64}, {"at": b"bytes"}):
        changed = [*entries[:2], replace(entries[2], **change), *entries[3:]]
        assert problems(changed, entries) == ["entry 3: changed or forged: its content does not fit its mac"]
    swapped = [*entries[:2], entries[3], entries[2], *entries[4:]]
    assert "entry 3: out of order: it comes after entry 4" in problems(swapped, entries)


def test_an_entry_signed_anew_by_who_has_the_key_breaks_the_link() -> None:
    entries = simple(4)
    again = seal(KEY, 2, "2025-03-01T12:00:00Z", "enrol", "me", "c", "another", {}, entries[0].mac)
    assert problems([entries[0], again, *entries[2:]], entries) == [
        "entry 3: does not follow entry 2: one of the two was replaced"
    ]
    last = seal(KEY, 4, "2025-03-01T12:00:00Z", "enrol", "me", "c", "another", {}, entries[2].mac)
    assert problems([*entries[:3], last], entries) == ["entry 4: the head of the log names another last entry"]


@pytest.mark.parametrize("details", [{"a": float("nan")}, {"a": object()}, None, [1], "text"])
def test_details_that_are_no_json_any_more_are_found(details: Any) -> None:
    entries = simple(3)
    assert len(problems([entries[0], replace(entries[1], details=details), entries[2]], entries)) == 1


def test_a_rollback_of_the_whole_database_is_found_by_an_anchor_only() -> None:
    entries = simple(6)
    kept, old = anchor(*head(entries)), entries[:4]
    assert kept == f"6:{entries[-1].mac}"
    assert problems(old, old) == []
    assert problems(old, old, anchors=[kept]) == [
        "entry 6: missing: an anchor recorded it, the log ends with entry 4: it was rolled back"
    ]
    grown = old + log([(e.kind, e.subject, e.details) for e in old] + [("search", None, {})] * 4)[4:]
    assert problems(grown, grown) == []
    assert problems(grown, grown, anchors=[kept]) == [
        "entry 6: not the entry that the anchor recorded: the log was rewritten"
    ]
    anchors = [anchor(*head(entries[:count])) for count in range(7)]
    assert problems(entries, entries, anchors=[*anchors, f" {kept}\n"]) == []
    assert len(problems(entries, entries, anchors=[kept, f"6:{'0' * 64}"])) == 1


@pytest.mark.parametrize("text", ["", "6", "6:", "x:" + "0" * 64, "-1:" + "0" * 64, "9" * 5000 + ":" + "0" * 64])
def test_an_anchor_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ProtectionError, match="no anchor"):
        verify(KEY, [], 0, GENESIS, anchors=[text])


def test_a_head_moved_back_with_the_end_cut_off_is_found_by_its_seal() -> None:
    entries = simple(6)
    assert problems(entries, entries, head_fits=True) == []
    assert problems(entries[:4], entries[:4], head_fits=False) == [
        "entry 4: the head of the log was changed: it does not fit its seal"
    ]
    row = dict(zip(("audit_seq", "audit_mac"), head(entries), strict=True), sealed_tally=b"1", audit_seal="")
    made = seal_head(KEY, row)
    assert made == seal_head(KEY, {**row, "audit_seal": made}) != entries[-1].mac
    others = [seal_head(bytes(32), row), *(seal_head(KEY, {**row, name: b"2"}) for name in row if name != "audit_seal")]
    assert made not in others


def test_an_empty_log_is_whole_unless_its_head_says_otherwise() -> None:
    assert verify(KEY, [], 0, GENESIS) == []
    assert verify(KEY, [], 0, "1" * 64) and verify(KEY, [], 1, GENESIS) and verify(KEY, simple(1), 0, GENESIS)


def test_findings_are_told_one_by_one_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "MOST_FINDINGS", 3)
    entries = simple(10)
    found = problems([replace(entry, actor="you") for entry in entries], entries)
    assert len(found) == 4 and found[-1] == "entry 10: and 7 more findings"


def test_details_are_kept_as_they_come_back_from_json() -> None:
    details: dict[Any, Any] = {"box": (1, 2), 10: 1e22, 2: -0.0, 1: 1.0}
    entry = seal(KEY, 1, "t", "enrol", "me", None, None, details, GENESIS)
    assert entry.details == {"box": [1, 2], "10": 1e22, "2": -0.0, "1": 1.0}
    assert verify(KEY, [replace(entry, details=json.loads(json.dumps(entry.details)))], 1, entry.mac) == []
    assert verify(KEY, [replace(entry, details={**entry.details, "1": 1})], 1, entry.mac)
    with pytest.raises(ValueError):
        seal(KEY, 1, "t", "enrol", "me", None, None, {"a": float("inf")}, GENESIS)
    with pytest.raises(ProtectionError, match="32 bytes"):
        seal(b"", 1, "t", "enrol", "me", None, None, {}, GENESIS)
