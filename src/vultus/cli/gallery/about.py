"""What a gallery is: info, collections, settings."""

from __future__ import annotations

import json
from textwrap import wrap
from typing import Annotated, Any

import typer

from vultus.cli.gallery.command import At, command, count, facts
from vultus.terminal import say, table, warn


def register(app: typer.Typer) -> None:
    command(app)(info)
    command(app)(collections)
    command(app)(settings)


def info(at: At) -> None:
    """What the gallery is and holds. Place, sizes, model, key, public key of receipts, and who follows it."""
    from sqlalchemy import select

    from vultus.gallery.engines import positions
    from vultus.gallery.store import collections as stored
    from vultus.gallery.store.schema import gallery

    with at.store() as store:
        with store.reading() as connection:
            row = connection.execute(select(gallery)).one()
            found = stored.get(store, connection, at.collection)
            people, templates = stored.counts(connection, found)
        followers = positions(store, found)
        snapshot = store.state / f"{found.uuid}.index"
        document: dict[str, Any] = {
            "gallery": store.label,
            "uuid": store.info.uuid,
            "created": store.info.created,
            "key_id": store.info.key_id,
            "public_key": store.info.public_key,
            "state": str(store.state),
            "head": row.head,
            "audit_entries": row.audit_seq,
            "scrub_pending": bool(row.scrub_pending),
            "times_doubted_since": row.doubted_since,
            "collection": {
                "name": found.name,
                "uuid": found.uuid,
                "created": found.created,
                "model": found.model,
                "contract_id": found.contract_id,
                "dim": found.dim,
                "next_model": found.next_model,
                "persons": people,
                "templates": templates,
                "snapshot_bytes": snapshot.stat().st_size if snapshot.exists() else None,
                "settings": found.settings.model_dump(),
            },
            "followers": [
                {"address": name, "position": position, "at": when, "behind": row.head - position}
                for name, (position, when) in sorted(followers.items())
            ],
        }

    def lines() -> None:
        rows = [
            ("made", document["created"]),
            ("uuid", document["uuid"]),
            ("key", document["key_id"]),
            ("public key of receipts", document["public_key"]),
            ("state folder", document["state"]),
            ("change sequence", f"{row.head:,}"),
            ("audit log", count(row.audit_seq, "entry", "entries")),
            ("collection", found.name),
            ("  people", f"{people:,}"),
            ("  templates", f"{templates:,}"),
            ("  model", found.model),
            ("  contract", f"{found.contract_id}, {found.dim} numbers a template"),
        ]
        if found.next_model:
            rows.append(("  being moved to", found.next_model))
        if row.doubted_since is not None:
            rows.append(("times", f"in doubt from entry {row.doubted_since:,} of the log on; see `repair-times`"))
        if row.scrub_pending:
            rows.append(("erased bytes", "still in the files; the next opening tries again"))
        rows += [
            (f"follower {one['address']}", f"at {one['position']:,}, {one['behind']:,} behind, {one['at'][:19]}")
            for one in document["followers"]
        ]
        facts(document["gallery"], rows)

    at.answer(document, lines)


def collections(at: At) -> None:
    """The collections of the database."""
    from vultus.gallery.store import collections as stored

    with at.store() as store, store.reading() as connection:
        found = [(one, *stored.counts(connection, one)) for one in stored.every(store, connection)]
    rows = [(one.name, f"{people:,}", f"{made:,}", one.model, one.created[:10]) for one, people, made in found]
    document = [
        {"name": one.name, "uuid": one.uuid, "model": one.model, "persons": people, "templates": made}
        for one, people, made in found
    ]
    columns = ("collection", "people", "templates", "model", "made")
    at.answer(document, lambda: table(count(len(rows), "collection"), columns, rows))


def settings(
    at: At,
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="Settings to change; none shows them.")
    ] = None,
    accept_calibration: Annotated[
        bool,
        typer.Option("--accept-calibration", help="Let the calibration that the model file holds now decide."),
    ] = False,
) -> None:
    """A collection's settings, shown or changed. Values are JSON (true, 30, null) or text."""
    wanted = setting_values(changes)
    with at.open() as people:
        if accept_calibration:
            warn([f"from now on the calibration {people.accept_calibration()} decides"])
        now = people.configure(**wanted) if wanted else people.info.settings
    if wanted.get("require_consent"):
        warn(
            [f"from now on only people with a valid consent to {now.purpose!r} are found; record it with `consent add`"]
        )
    plain = now.model_dump()

    def lines() -> None:
        defaults = type(now).parse({}).model_dump()
        say(f"settings of {at.collection}")
        for name, meaning in type(now).explained().items():
            usual = "" if plain[name] == defaults[name] else f"  (default {json.dumps(defaults[name])})"
            say(f"  {name}={json.dumps(plain[name])}{usual}")
            say(*wrap(meaning, 100, initial_indent="      ", subsequent_indent="      "))

    at.answer(plain, lines)


def setting_values(given: list[str] | None) -> dict[str, Any]:
    """["retention_days=30"] as {"retention_days": 30}; a value that is no JSON is text."""
    from vultus.errors import VultusError

    found: dict[str, Any] = {}
    for one in given or ():
        name, equals, text = one.partition("=")
        if not equals:
            raise VultusError(f"{one!r}: write NAME=VALUE, for example retention_days=365")
        try:
            found[name.strip()] = json.loads(text)
        except (ValueError, RecursionError):
            found[name.strip()] = text
    return found
