"""Keeping a gallery: backup, restore, reembed, renew, rotate-key, snapshot, follow."""

from __future__ import annotations

import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vultus.cli.gallery.command import At, command, count, scrubbing
from vultus.terminal import bar, say, warn

if TYPE_CHECKING:
    from vultus.errors import VultusError


def register(app: typer.Typer) -> None:
    command(app)(backup)
    command(app)(restore)
    command(app)(reembed)
    command(app)(renew)
    command(app, "rotate-key")(rotate_key)
    command(app)(snapshot)
    command(app)(follow)
    command(app)(upgrade)


def backup(
    at: At,
    out: Annotated[Path, typer.Argument(help="File to write, sealed with the gallery's key.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
) -> None:
    """Copy the whole database to a sealed file. All collections, while others go on working. The key is not in it."""
    from vultus.errors import VultusError
    from vultus.gallery.custody.backup import backup as back_up

    if out.exists() and not overwrite:
        raise VultusError(f"{out} is there already; choose another name, or give --overwrite", code="exists", path=out)
    with at.store() as store, bar("copying rows") as progress:
        made = back_up(store, out, overwrite=overwrite, progress=progress)
    told = f"{count(made.persons, 'person', 'people')}, {count(made.templates, 'template')}, {made.size / 1e6:,.1f} MB"
    lines = (f"{out}: {told}", f"opened only by the key {made.key_id}: keep that, elsewhere")
    at.answer({**asdict(made), "path": str(made.path)}, (*lines, f"anchor of the log: {made.anchor}"))


def restore(
    at: At,
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="The file that `backup` wrote.")],
    ledgers: Annotated[
        list[str] | None,
        typer.Option("--ledger", help="An erasures.jsonl, or a gallery that still exists: who was erased since."),
    ] = None,
    no_replay: Annotated[
        bool, typer.Option("--no-replay", help="Bring people back who were erased since, or who nobody knows of.")
    ] = False,
) -> None:
    """Make a gallery anew from a backup. It goes to --gallery, where none may be. Who was erased since stays erased."""
    from vultus.gallery.custody.restore import restore as put_back

    with bar("copying rows") as progress:
        done = put_back(
            source, at.gallery, at.key, ledgers=ledgers or (), replay=not no_replay, actor=at.actor, progress=progress
        )
    told = f"{count(done.persons, 'person', 'people')}, {count(done.templates, 'template')}"
    again = f"left out, because erased since the backup: {count(done.replayed, 'person', 'people')}"
    warn(["consents withdrawn and templates removed since the backup are as they were then: withdraw and remove again"])
    document = {**asdict(done), "backup": {**asdict(done.backup), "path": str(done.backup.path)}}
    at.answer(document, (f"restored {told}, as of {done.backup.made}", again))


def upgrade(at: At) -> None:
    """Bring a gallery of an older vultus to this version's tables. Copy its database first, and close it elsewhere."""
    from vultus.gallery.store import Store

    before, after = Store.upgrade(at.gallery, at.key, at.actor)
    told = (
        f"has tables {after} already, this version's"
        if before == after
        else f"was brought from tables {before} to {after}; its rows are sealed"
    )
    at.answer({"from": before, "to": after}, f"the gallery {told}")


def reembed(
    at: At,
    model: Annotated[str, typer.Argument(help="The model to move to: a name or an .onnx file.")],
    photos: Annotated[
        Path | None, typer.Option(help="New photographs: a folder or CSV file, as for `import`; else the kept crops.")
    ] = None,
    leave_behind: Annotated[
        bool, typer.Option("--leave-behind", help="Move though some templates have no successor; they are lost.")
    ] = False,
    compatible: Annotated[
        Path | None,
        typer.Option(
            "--compatible",
            metavar="EVIDENCE",
            help="Keep the templates, as this figures.json of `evaluate MODEL DATA --against OLD --out` allows.",
        ),
    ] = None,
    abandon: Annotated[bool, typer.Option("--abandon", help="Give a move that was begun up.")] = False,
) -> None:
    """Move a collection to another model. New templates are made beside the old ones, and then all change at once.

    Interrupted, it goes on where it was. Exit code 1 while somebody would lose a template: the old model stays in use
    until each has its successor, made from its kept crop or from a photograph given of that person.
    """
    from vultus.errors import VultusError
    from vultus.gallery import reembed as moving
    from vultus.workflows.bulk_sources import open_source

    if compatible is not None and (photos is not None or leave_behind or abandon):
        raise VultusError("--compatible keeps every template; give no --photos, --leave-behind or --abandon with it")
    if abandon:
        with at.store() as store:
            moving.abandon(store, at.collection)
        _warn_of_bytes("new templates", store.unscrubbed)
        at.answer({"abandoned": True, **scrubbing(store.unscrubbed)}, "given up; the collection keeps its model")
        return
    pictures: dict[str, list[Path]] = {}
    if photos is not None:
        source = open_source(photos)
        source.check()
        for entry in source:
            pictures.setdefault(entry.person, []).extend(photo.path for photo in entry.photos)
    with at.open() as people, bar("embedding people") as progress:
        done = people.reembed(model, pictures, leave_behind=leave_behind, progress=progress, compatible=compatible)
    warn(f"skipped {one.image}: {one.reason}" for one in done.skipped[:20])
    state = done.state

    def lines() -> None:
        if compatible is not None:
            say(f"{count(state.templates, 'template')} kept; searched with {state.model} from now on")
            return
        if done.done:
            say(f"moved to {state.model}: {count(state.templates, 'template')} of {state.ready:,} people")
            return
        say(
            f"not moved yet: {len(state.missing):,} of {count(state.persons, 'person', 'people')} would lose templates "
            f"to {state.model}; give photographs of them with --photos, or --leave-behind"
        )
        for one in state.missing[:20]:
            lost = [f"template {number}" for number in one.templates]
            say(f"  {one.person}: {', '.join(lost) or count(len(one.crops), 'unread crop')}")
        if len(state.missing) > 20:
            say(f"  and {len(state.missing) - 20:,} more; --json tells all")

    _warn_of_bytes("old templates", done.unscrubbed)
    skipped = [asdict(one) for one in done.skipped]
    document = {**asdict(state), "moved": done.done, "skipped": skipped, **scrubbing(done.unscrubbed)}
    at.answer(document, lines)
    raise typer.Exit(0 if done.done else 1)


def renew(at: At) -> None:
    """Draw a new secret rotation. Rows that leaked before cannot be compared with those of now, row by row."""
    from vultus.gallery.custody.renew import renew as turn

    with at.store() as store, bar("turning templates") as progress:
        done = turn(store, at.collection, progress=progress)
    _warn_of_bytes("old rows", done.unscrubbed)
    document = {"templates": done.templates, "position": done.position, **scrubbing(done.unscrubbed)}
    at.answer(document, f"{at.collection}: {count(done.templates, 'template')} turned; every index is rebuilt")


def rotate_key(
    at: At,
    new_key: Annotated[
        str | None,
        typer.Option("--new-key", help="Where the new key is, as for --key; else one is made beside the old one."),
    ] = None,
    remove_old: Annotated[
        bool, typer.Option("--remove-old", help="Delete the old key's file: backups made before cannot be opened.")
    ] = False,
) -> None:
    """Lock the whole database with another key. Backups made before still need the old one."""
    from vultus.gallery.custody.rekey import rotate_key as lock

    with at.store() as store, bar("wrapping keys") as progress:
        done = lock(store, new_key, remove_old=remove_old, progress=progress)
    lines = [f"locked with the key {done.new_id}, before with {done.old_id}; {count(done.keys, 'key')} wrapped anew"]
    if done.path is not None:
        lines.append(f"the new key is in {done.path}; keep a copy elsewhere")
    if done.removed is not None:
        lines.append(f"the old key's file {done.removed} is deleted")
    _warn_of_bytes("old wrappings", done.unscrubbed)
    at.answer({**plain(done), **scrubbing(done.unscrubbed)}, lines)


def snapshot(at: At) -> None:
    """Write the index's snapshot, encrypted. It makes a start quick; large galleries do so when they are closed."""
    with at.open() as people:
        path = people.custody.snapshot()
    size = path.stat().st_size
    at.answer({"path": str(path), "bytes": size}, f"{path}: {size / 1e6:,.1f} MB")


def follow(
    at: At,
    engine: Annotated[str, typer.Argument(help="A vector engine, as milvus:http://host:19530.")],
    once: Annotated[bool, typer.Option("--once", help="Catch up and end.")] = False,
    compact: Annotated[
        bool, typer.Option("--compact", help="Then make it write its files without erased rows.")
    ] = False,
) -> None:
    """Keep a vector engine in step, until Ctrl-C. It is told the collection's rotated rows, and no names."""
    from vultus.gallery.custody import catch_up, refusals
    from vultus.gallery.engines import EngineFollower
    from vultus.gallery.store import collections

    with at.store() as store:
        catch_up(store)
        for error in refusals(store):  # the engine must not be told of who was erased
            raise error
        with store.reading() as connection:
            found = collections.get(store, connection, at.collection)
        with EngineFollower(store, found, engine) as follower:
            position = follower.catch_up()
            if compact:
                follower.compact()
            if not once:
                say(f"{engine} is at {position:,}; keeping it in step until Ctrl-C", err=True)
                try:
                    follower.keep_up(threading.Event())
                except KeyboardInterrupt:
                    position = follower.position
    at.answer({"engine": engine, "position": position}, f"{engine} is at {position:,} of the change sequence")


def _warn_of_bytes(which: str, unscrubbed: VultusError | None) -> None:
    if unscrubbed is not None:
        warn([f"the {which} are still in the database's files ({unscrubbed}); the next opening tries again"])


def plain(made: Any) -> dict[str, Any]:
    """A result as JSON values."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(made).items()}
