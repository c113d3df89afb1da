"""The audit log: who did what, and whether anybody changed it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vultus.cli.gallery.command import At, command, count
from vultus.errors import VultusError
from vultus.terminal import say, shown

if TYPE_CHECKING:
    from vultus.gallery import Gallery

MOST = 50
"""Entries listed unless --limit says more."""
KINDS = (
    *(
        "backup_made",
        "calibration_bound",
        "calibration_changed",
        "clock_doubted",
        "collection_created",
        "collection_renewed",
        "consent_recorded",
        "consent_withdrawn",
    ),
    *("cut_over", "described", "enrolled", "erased", "erasure_replayed", "exported", "gallery_created", "identified"),
    *("investigated", "key_rotated", "listed", "log_mended", "model_adopted", "reembedded", "reembedding_abandoned"),
    *("reembedding_begun", "restored", "retention_changed", "rollback_accepted", "settings_changed", "suspended"),
    *("template_removed", "time_confirmed", "upgraded", "verified"),
)
"""Kinds of entries that there can be."""
LONGEST = 160
"""Characters of an entry's details that are listed."""


def register(app: typer.Typer) -> None:
    command(app)(audit)


def audit(
    at: At,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Check log and rows, open each template; exit code 1 if anything is wrong."),
    ] = False,
    anchors: Annotated[
        list[str] | None,
        typer.Option("--anchor", help="With --verify: an anchor that was kept elsewhere, or file:PATH of many."),
    ] = None,
    anchor_out: Annotated[
        bool, typer.Option("--anchor-out", help="Print the anchor of the log's end, to keep.")
    ] = False,
    anchor_to: Annotated[
        list[str] | None,
        typer.Option("--anchor-to", help="Send the anchor to file:PATH, syslog or https://…, as a daily job does."),
    ] = None,
    accept: Annotated[
        str | None,
        typer.Option("--accept-rollback", help="REASON: go on with a database that was put back to an earlier state."),
    ] = None,
    mend: Annotated[
        str | None, typer.Option("--mend", help="REASON: take log and rows as they are, forged ones too.")
    ] = None,
    person: Annotated[str | None, typer.Option(help="Only entries about this person.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only entries of this kind, as erased.")] = None,
    after: Annotated[
        int | None, typer.Option(help="Go on after this number, 0 from the start; without it the newest.", min=0)
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = MOST,
) -> None:
    """List or verify the audit log. Its anchor, kept elsewhere, proves later that nothing was taken off its end.

    The log is of the whole database. People are pseudonyms in it, which nobody can trace once they are erased.
    """
    if sum((verify, anchor_out, bool(anchor_to), mend is not None, accept is not None)) > 1:
        raise VultusError("give one of --verify, --anchor-out, --anchor-to, --mend and --accept-rollback")
    if anchors and not verify:
        raise VultusError("--anchor belongs to --verify; --anchor-out prints one")
    if kind is not None and kind not in KINDS:
        raise VultusError(f"there are no entries of kind {kind!r}; choose of {', '.join(KINDS)}")
    with at.open() as people:
        if verify:
            _verify(at, people, anchors or [])
        elif anchor_out:
            anchor = people.custody.anchor()
            at.answer({"anchor": anchor}, anchor)
        elif anchor_to:
            anchor = people.custody.send_anchor(anchor_to)
            at.answer({"anchor": anchor, "sent_to": anchor_to}, f"sent {anchor} to {', '.join(anchor_to)}")
        elif accept is not None:
            people.custody.accept_rollback(accept)
            at.answer({"accepted": True}, "the gallery goes on from this earlier state; an entry of the log says so")
        elif mend is not None:
            found = people.custody.mend_log(mend)
            at.answer(
                {"findings": [asdict(one) for one in found]},
                f"{count(len(found), 'finding')} noted in the log; rows are sealed as they are now, forged ones "
                "too, and --verify finds again what is wrong with entries of the log",
            )
        else:
            _list(at, people, after, person, kind, limit)


def _verify(at: At, people: Gallery, anchors: list[str]) -> None:
    from vultus.gallery.store.anchors import read_anchors

    found = people.custody.verify_log([one for given in anchors for one in read_anchors(given)])
    damaged = people.custody.damaged()
    end = people.custody.anchor()
    entries = int(end.partition(":")[0])

    def lines() -> None:
        for one in damaged[:MOST]:
            say(f"template {one.template} of {one.person} {one.reason}; it is not searched")
        for one in found[:MOST]:
            say(one)
        if len(found) > MOST:
            say(f"and {len(found) - MOST:,} more")
        if found:
            say(f"the gallery was tampered with: {count(len(found), 'finding')}, {entries:,} entries in its log")
        else:
            say(f"the audit log and the rows are whole: {count(entries, 'entry', 'entries')}")
            say(f"anchor to keep elsewhere: {end}")

    document = {
        "whole": not found,
        "entries": entries,
        "anchor": end,
        "findings": [asdict(one) for one in found],
        "damaged": [asdict(one) for one in damaged],
    }
    at.answer(document, lines)
    if found or damaged:
        raise typer.Exit(1)


def _list(at: At, people: Gallery, after: int | None, person: str | None, kind: str | None, limit: int) -> None:
    found = people.custody.log(after=after, person=person, kind=kind, limit=limit)

    def lines() -> None:
        for one in found:
            when, about = one.at[:19].replace("T", " "), f" about {one.subject[:12]}" if one.subject else ""
            say(f"{one.seq:>6}  {when}  {one.kind} by {one.actor}{about}: {_details(one.details)}")
        if len(found) == limit:
            say("from the start with --after 0" if after is None else f"go on with --after {found[-1].seq}")

    at.answer([asdict(one) for one in found], lines)


def _details(details: Any) -> str:
    """What an entry says, on the rest of a line."""
    if isinstance(details, dict):
        details = ", ".join(f"{key} {json.dumps(value, ensure_ascii=False)}" for key, value in details.items())
    text = shown(details)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… (--json tells all)"
