"""What people are owed: consent, retain, sweep, export, erase, receipt."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from vultus.cli.gallery.command import At, command, count, scrubbing
from vultus.cli.gallery.people import Person, read, tell_consents
from vultus.terminal import say, say_json, table, warn

if TYPE_CHECKING:
    from vultus.gallery.custody import Erased
    from vultus.gallery.protection import Receipt

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask; a script is never asked.")]
ConfirmTime = Annotated[
    bool, typer.Option("--confirm-time", help="The clock is right now: mend what it stamped before.")
]
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
    command(app, "repair-times")(repair_times)
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
    confirm_time: ConfirmTime = False,
) -> None:
    """Who is due to be erased: consent withdrawn or ended, or kept long enough. With --erase they are erased.

    Exit code 1 where somebody could not be erased, the deleted bytes are not yet out of the database's files, or the
    receipts could not be written to their file; they are printed then, and are in the ledger.
    """
    if confirm_time and not erase:
        from vultus.errors import VultusError

        raise VultusError("--confirm-time belongs to --erase; to see what it would change, use `repair-times`")
    with at.open() as people:
        if erase and not yes:
            _ask(lambda: f"Erase {count(len(people.custody.due()), 'person', 'people')} for good?")
        with _receipt_file(at, receipts if erase else None) as write:
            done = people.custody.sweep(dry_run=not erase, confirm_time=confirm_time)
            kept = write(done.receipts)
    doubted = [] if done.doubt is None else [f"{done.doubt}: --erase asks for --confirm-time"]
    warn([*doubted, *(f"{name} is not erased: {why}" for name, why in done.failed), *done.warnings])

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
            say(note)
        if not kept:
            _print(done.receipts)

    document = {
        "due": [asdict(one) for one in done.due],
        "erased": [asdict(one) for one in done.receipts],
        "failed": [{"person": name, "reason": why} for name, why in done.failed],
        **scrubbing(done.unscrubbed),
        "doubt": None if done.doubt is None else asdict(done.doubt),
    }
    at.answer(document, lines)
    raise typer.Exit(0 if done.scrubbed and not done.failed and kept else 1)


def repair_times(at: At, confirm_time: ConfirmTime = False) -> None:
    """Mend what a wrong clock stamped, in the whole database. Without --confirm-time it is only counted.

    With it, times of people and consents that cannot be become now, and what depends on time works again.
    """
    with at.open() as people:
        found = people.custody.repair_times(dry_run=not confirm_time)

    def lines() -> None:
        for name, number in found.times.items():
            say(f"{name}: {count(number, 'time')} {'set to now' if found.done else 'would be set to now'}")
        say("the time is confirmed" if found.done else str(found.doubt or "times are trusted"))

    at.answer(asdict(found), lines)


def export(
    at: At,
    person: Person,
    out: Annotated[Path, typer.Option(help="A .zip file that does not exist yet.")],
) -> None:
    """Write all that is held about a person. For them: details, consents, log entries, embeddings, kept crops."""
    with at.open() as people:
        place = people.custody.export(person, out)
    at.answer({"person": person, "out": str(place)}, f"{person}: {place}; it is personal data, delete it when done")


def erase(
    at: At,
    people: Annotated[
        list[str] | None, typer.Argument(metavar="PERSON...", help="Ids: all of them are erased, or none.")
    ] = None,
    returned: Annotated[
        bool,
        typer.Option("--returned", help="Everybody, in every collection, who had been erased and is there again."),
    ] = False,
    reason: Annotated[str, typer.Option(help="For the receipt, which is kept for ever: no names.")] = "",
    yes: Yes = False,
    receipts: Receipts = None,
) -> None:
    """Erase people for good. Gone are key, templates, crops, details, index entries, and their bytes in the files.

    Prints a signed receipt each. Exit code 1 where the bytes are not yet out of the database's files, or the receipts
    could not be written to their file; they are printed then, and are in the ledger.
    """
    from vultus.errors import VultusError

    if bool(people) is returned:
        raise VultusError("name people to erase, or give --returned")
    if returned:
        _erase_returned(at, yes, receipts)
    with at.open() as gallery:
        named = [gallery.custody.person(person) for person in people or ()]
        found = list({one.person.uuid: one for one in named}.values())  # an id may be spelt in two ways
        if not yes:
            templates = sum(len(one.templates) for one in found)
            _ask(
                lambda: f"Erase {', '.join(one.person.external_id for one in found)} ({count(templates, 'template')})?"
            )
        with _receipt_file(at, receipts) as write:
            done = gallery.custody.erase(*(people or ()), reason=reason)
            kept = write(done.receipts)

    def lines() -> None:
        for who, receipt in zip(found, done.receipts, strict=True):
            counts = f"{count(receipt.templates, 'template')}, {count(receipt.crops, 'crop')}"
            say(f"{who.person.external_id}: erased at {receipt.erased_at}, {counts}")

    _tell_erased(at, done, receipts, kept, lines)


def _erase_returned(at: At, yes: bool, receipts: Path | None) -> NoReturn:
    from vultus.gallery.custody import erase_returned

    with at.store() as store:
        if not yes:
            _ask(lambda: "Erase everybody whom the ledger says was erased?")
        with _receipt_file(at, receipts) as write:
            done = erase_returned(store)
            kept = write(done.receipts)
    _tell_erased(at, done, receipts, kept, lambda: say(f"{count(len(done.receipts), 'erasure')} made good"))


def _tell_erased(at: At, done: Erased, receipts: Path | None, kept: bool, lines: Callable[[], None]) -> NoReturn:
    warn(done.warnings)

    def everything() -> None:
        lines()
        if receipts is None or not kept:
            _print(done.receipts)
        else:
            say(f"receipts: {receipts}")

    at.answer({"erased": [asdict(one) for one in done.receipts], **scrubbing(done.unscrubbed)}, everything)
    raise typer.Exit(0 if done.scrubbed and kept else 1)


def _print(receipts: Sequence[Receipt]) -> None:
    for receipt in receipts:
        say(f"receipt: {receipt.to_json()}")


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
        say_json(found)
    else:
        for one in found:
            what = one["problem"] or "genuine, of person {person_uuid}, erased at {erased_at}".format(**one["receipt"])
            say(f"{file}, line {one['line']}: {what}")
        if public_key is None:
            say("signed with the key that each names itself; --public-key says whether it is the gallery's")
    raise typer.Exit(0 if all(one["genuine"] for one in found) else 1)


def _ask(question: Callable[[], str]) -> None:
    """On a terminal, whether it is meant; what is said there is done for good."""
    if sys.stdin.isatty() and not typer.confirm(question(), err=True):
        say("nothing was erased", err=True)
        raise typer.Exit(1)


@contextmanager
def _receipt_file(at: At, path: Path | None) -> Iterator[Callable[[Sequence[Receipt]], bool]]:
    """What writes receipts to the end of a file that is opened before anybody is erased; whether it could."""
    if path is None:
        yield lambda _: True
        return
    from vultus.errors import FileError
    from vultus.files import refuse_same

    refuse_same(path, at.gallery)
    try:
        file = path.open("ab", buffering=0)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no file can have this name"
        raise FileError(
            f"cannot write the receipts to {path}: {why}; choose another path", code="unwritable", path=path
        ) from None

    def write(made: Sequence[Receipt]) -> bool:
        rest = memoryview("".join(f"{receipt.to_json()}\n" for receipt in made).encode())
        try:
            while rest:
                rest = rest[file.write(rest) :]
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                os.fsync(file.fileno())
            return True
        except OSError as error:
            warn([f"the receipts cannot be written to {path} ({error.strerror}); the answer and the ledger hold them"])
            return False

    with file:
        yield write
