"""What people are owed: consent, retain, sweep, export, erase, receipt."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vultus.cli.gallery.command import At, command, count, scrubbing
from vultus.cli.gallery.people import Person, read, tell_consents
from vultus.terminal import shown, table, warn

if TYPE_CHECKING:
    from vultus.gallery.protection import Receipt

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; a script is never asked.")]
Receipts = Annotated[Path | None, typer.Option("--receipts", help="File to write the signed receipts to, one a line.")]

consents = typer.Typer(help="What people agreed to: add, withdraw, list.", no_args_is_help=True, rich_markup_mode=None)
receipts = typer.Typer(help="Signed statements of erasures: verify.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    app.add_typer(consents, name="consent")
    command(consents, "add")(add)
    command(consents, "withdraw")(withdraw)
    command(consents, "list")(list_)
    command(app)(retain)
    command(app)(sweep)
    command(app)(export)
    command(app)(erase)
    app.add_typer(receipts, name="receipt")
    receipts.command("verify")(verify_receipts)


def add(
    at: At,
    person: Person,
    basis: Annotated[str, typer.Option(help='The legal ground, for example "GDPR art. 9(2)(a)".')],
    purpose: Annotated[str | None, typer.Option(help="What for; the collection's purpose else.")] = None,
    text: Annotated[Path | None, typer.Option(help="File with the words agreed to; its SHA-256 is kept.")] = None,
    given: Annotated[str | None, typer.Option(help="When, as 2030-12-31; now else.")] = None,
    expires: Annotated[str | None, typer.Option(help="When it ends by itself.")] = None,
) -> None:
    """Record that a person agreed. Who was suspended for want of consent is searched again."""
    words = None if text is None else read(text)
    with at.open() as people:
        made = people.custody.record_consent(
            person, basis=basis, purpose=purpose, text=words, given_at=given, expires_at=expires
        )
    ends = f", until {made.expires_at[:10]}" if made.expires_at else ""
    at.answer(asdict(made), f"{person}: consent to {made.purpose!r} recorded, given {made.given_at[:10]}{ends}")


def withdraw(
    at: At,
    person: Person,
    purpose: Annotated[str | None, typer.Option(help="Only this purpose; all else.")] = None,
) -> None:
    """Record that a person withdrew their consent. Where it is required, they are no longer searched from now on."""
    with at.open() as people:
        gone = people.custody.withdraw_consent(person, purpose)
        status = people.custody.person(person).person.status
        required = people.info.settings.require_consent
    told = "; suspended: no search finds them, `erase` or `sweep` deletes them" if status == "suspended" else ""
    if not required:
        warn(
            [
                f"this collection does not require consent: {person} is still searched and named; `erase` deletes "
                "them, `settings require_consent=true` leaves out whoever has not consented"
            ]
        )
    document = {"person": person, "withdrawn": [asdict(one) for one in gone], "status": status}
    at.answer(document, f"{person}: {count(len(gone), 'consent')} withdrawn{told}")


def list_(at: At, person: Person) -> None:
    """Every consent of a person, withdrawn and ended ones too."""
    with at.open() as people:
        found = people.custody.person(person).consents
    at.answer([asdict(one) for one in found], lambda: tell_consents(found))


def retain(
    at: At,
    person: Person,
    until: Annotated[str | None, typer.Option(help="Keep them until then, as 2030-12-31.")] = None,
    default: Annotated[bool, typer.Option("--default", help="Keep them as the collection's settings say.")] = False,
) -> None:
    """How long one person is kept. It goes before the collection's retention_days."""
    from vultus.errors import VultusError

    if (until is None) is not default:
        raise VultusError("say how long: give either --until DATE or --default")
    with at.open() as people:
        kept = people.custody.retain(person, until)
    told = f"until {kept}" if kept else "as long as the collection's retention_days says"
    at.answer({"person": person, "retain_until": kept}, f"{person}: kept {told}")


def sweep(
    at: At,
    erase: Annotated[bool, typer.Option("--erase", help="Erase them; without it they are only listed.")] = False,
    yes: Yes = False,
    receipts: Receipts = None,
) -> None:
    """Who is due to be erased: consent withdrawn or ended, or kept long enough. With --erase they are erased.

    Exit code 1 where somebody could not be erased, or the deleted bytes are not yet out of the database's files.
    """
    with at.open() as people:
        if erase and not yes:
            _ask(lambda: f"Erase {count(len(people.custody.due()), 'person', 'people')} for good?")
        write = _receipt_file(receipts if erase else None)
        done = people.custody.sweep(dry_run=not erase)
        write(done.receipts)
    warn([*(f"{name} is not erased: {why}" for name, why in done.failed), *done.warnings])

    def lines() -> None:
        rows = [
            (one.external_id, "" if one.name == one.external_id else one.name, one.reason, one.since[:10])
            for one in done.due
        ]
        note = (
            f"{count(len(done.receipts), 'person', 'people')} erased"
            if erase and rows
            else "nobody was erased; --erase does it"
            if rows
            else "nobody is due"
        )
        if rows:
            table(f"{count(len(rows), 'person', 'people')} due", ("person", "name", "why", "since"), rows, [note])
        else:
            typer.echo(note)

    document = {
        "due": [asdict(one) for one in done.due],
        "erased": [asdict(one) for one in done.receipts],
        "failed": [{"person": name, "reason": why} for name, why in done.failed],
        **scrubbing(done.unscrubbed),
    }
    at.answer(document, lines)
    raise typer.Exit(0 if done.scrubbed and not done.failed else 1)


def export(
    at: At,
    person: Person,
    out: Annotated[Path, typer.Option(help="A .zip file or a folder that does not exist yet.")],
) -> None:
    """Write all that is held about a person. For them: details, consents, log entries, embeddings, kept crops."""
    with at.open() as people:
        place = people.custody.export(person, out)
    at.answer({"person": person, "out": str(place)}, f"{person}: {place}; it is personal data, delete it when done")


def erase(
    at: At,
    people: Annotated[list[str], typer.Argument(metavar="PERSON...", help="Ids: all of them are erased, or none.")],
    reason: Annotated[str, typer.Option(help="For the receipt, which is kept for ever: no names.")] = "",
    yes: Yes = False,
    receipts: Receipts = None,
) -> None:
    """Erase people for good. Gone are key, templates, crops, details, index entries, and their bytes in the files.

    Prints a signed receipt each. Exit code 1 where the bytes are not yet out of the database's files.
    """
    with at.open() as gallery:
        named = [gallery.custody.person(person) for person in people]
        found = list({one.person.uuid: one for one in named}.values())  # an id may be spelt in two ways
        if not yes:
            templates = sum(len(one.templates) for one in found)
            _ask(
                lambda: f"Erase {', '.join(one.person.external_id for one in found)} ({count(templates, 'template')})?"
            )
        write = _receipt_file(receipts)
        done = gallery.custody.erase(*people, reason=reason)
        write(done.receipts)
    warn(done.warnings)

    def lines() -> None:
        for who, receipt in zip(found, done.receipts, strict=True):
            counts = f"{count(receipt.templates, 'template')}, {count(receipt.crops, 'crop')}"
            typer.echo(f"{who.person.external_id}: erased at {receipt.erased_at}, {counts}")
        if receipts is None:
            for receipt in done.receipts:
                typer.echo(f"receipt: {receipt.to_json()}")
        else:
            typer.echo(f"receipts: {receipts}")

    at.answer({"erased": [asdict(one) for one in done.receipts], **scrubbing(done.unscrubbed)}, lines)
    raise typer.Exit(0 if done.scrubbed else 1)


def verify_receipts(
    file: Annotated[Path, typer.Argument(help="A receipt, or several, one a line.")],
    public_key: Annotated[
        str | None, typer.Option("--public-key", help="The gallery's, as `vultus gallery info` tells it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON document on stdout.")] = False,
) -> None:
    """Whether receipts are genuine; needs no gallery. Without --public-key only that nobody changed them.

    Exit code 0 if all are, 1 otherwise.
    """
    import json

    from vultus.errors import VultusError
    from vultus.gallery.custody import verify_receipt
    from vultus.gallery.protection import ProtectionError, Receipt

    found = []
    for number, line in enumerate(read(file).splitlines(), 1):
        if not line.strip():
            continue
        try:
            Receipt.from_json(line)
        except ProtectionError as error:
            raise VultusError(f"{file}, line {number}: {error}") from None
        try:
            receipt = verify_receipt(line, public_key)
            found.append({"line": number, "genuine": True, "receipt": asdict(receipt), "problem": None})
        except ProtectionError as error:
            found.append({"line": number, "genuine": False, "receipt": None, "problem": str(error)})
    if not found:
        raise VultusError(f"{file} holds no receipt; give the file as it was issued")
    if as_json:
        typer.echo(json.dumps(found))
    else:
        for one in found:
            what = one["problem"] or "genuine, of person {person_uuid}, erased at {erased_at}".format(**one["receipt"])
            typer.echo(f"{shown(file)}, line {one['line']}: {what}")
        if public_key is None:
            typer.echo("signed with the key that each names itself; --public-key says whether it is the gallery's")
    raise typer.Exit(0 if all(one["genuine"] for one in found) else 1)


def _ask(question: Callable[[], str]) -> None:
    """On a terminal, whether it is meant; what is said there is done for good."""
    if sys.stdin.isatty() and not typer.confirm(question(), err=True):
        typer.echo("nothing was erased", err=True)
        raise typer.Exit(1)


def _receipt_file(path: Path | None) -> Callable[[Sequence[Receipt]], None]:
    """Where receipts go; opened before anybody is erased, so that a bad path is told in time."""
    if path is None:
        return lambda _: None
    from vultus.errors import VultusError

    try:
        path.open("a").close()
    except OSError as error:
        raise VultusError(f"cannot write the receipts to {path}: {error.strerror}; choose another path") from None

    def write(made: Sequence[Receipt]) -> None:
        with path.open("a") as file:
            file.writelines(f"{receipt.to_json()}\n" for receipt in made)

    return write
