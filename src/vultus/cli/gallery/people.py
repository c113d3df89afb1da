"""Who is enrolled: create, enroll, import, list, show."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vultus.cli.gallery.command import At, command, count, facts, pairs
from vultus.terminal import say, shown, table, warn

if TYPE_CHECKING:
    from vultus.gallery import Enrolled
    from vultus.gallery.custody import Consent, ConsentGiven
    from vultus.workflows.bulk_enrol import Summary

Model = Annotated[str | None, typer.Option("--model", help="Recogniser of a new gallery: a name or an .onnx file.")]
Select = Annotated[str | None, typer.Option(help="If a photograph shows several: largest or center.")]
Basis = Annotated[
    str | None, typer.Option("--consent-basis", help='Record a consent: its ground, "GDPR art. 9(2)(a)".')
]
Text = Annotated[Path | None, typer.Option("--consent-text", help="File with the words that were agreed to.")]
Purpose = Annotated[str | None, typer.Option("--consent-purpose", help="What for; the collection's purpose else.")]
Expires = Annotated[str | None, typer.Option("--consent-expires", help="Date at which the consent ends.")]
MOST_WORDS = 64 * 2**20
"""Bytes of a consent's words or of receipts."""
Person = Annotated[str, typer.Argument(help="The person's id.")]


def register(app: typer.Typer) -> None:
    command(app)(create)
    command(app)(enroll)
    command(app, "import")(import_)
    command(app, "list")(list_)
    command(app)(show)


def create(
    at: At,
    model: Annotated[str, typer.Option("--model", help="The recogniser: a name or an .onnx file.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE, a setting; see `vultus gallery settings`.")
    ] = None,
) -> None:
    """Make a gallery, or a collection in one. `--set` gives it settings of its own."""
    from vultus.cli.gallery.about import setting_values
    from vultus.errors import VultusError

    with at.open(model, create=True, settings=setting_values(set_)) as people:
        if not people.create():
            raise VultusError(
                f"the collection {at.collection!r} exists already; change it with `vultus gallery settings`"
            )
        info = people.info
        where = people.describe()
    document = {"gallery": people.label, **info_dict(info)}
    at.answer(document, f"made {where}")


def enroll(
    at: At,
    person: Annotated[str, typer.Argument(help="The person's id: yours, unique in the collection.")],
    images: Annotated[list[Path], typer.Argument(help="Photographs that show this person alone.")],
    model: Model = None,
    name: Annotated[str | None, typer.Option(help="What people call them; the id else.")] = None,
    meta: Annotated[
        list[str] | None, typer.Option("--meta", help="KEY=VALUE, which searches can be limited by.")
    ] = None,
    basis: Basis = None,
    text: Text = None,
    purpose: Purpose = None,
    expires: Expires = None,
    select: Select = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Enrol the good ones if some are unfit.")] = False,
    client_key: Annotated[
        str | None, typer.Option("--client-key", help="Repeated under the same key, it is done once.")
    ] = None,
) -> None:
    """Enrol photographs of one person. All of them or, where one is unfit, none."""
    given = consent(basis, text, purpose, expires)
    metadata = pairs(meta, "--meta")
    with at.open(model, create=True) as people:
        done = people.enroll(
            person,
            *images,
            name=name,
            metadata=metadata,
            consent=given,
            select=select,
            skip_bad=skip_bad,
            client_key=client_key,
        )
        where = people.describe()
    warn(_alarms(done))
    at.answer(done.to_dict(), lambda: _tell_enrolled(done, where))


def import_(
    at: At,
    source: Annotated[Path, typer.Argument(help="A folder with one folder a person, or a CSV file: person,image,…")],
    model: Model = None,
    basis: Basis = None,
    text: Text = None,
    purpose: Purpose = None,
    expires: Expires = None,
    select: Select = None,
    new_only: Annotated[
        bool, typer.Option("--new-only", help="Leave out who is enrolled already, without reading their photographs.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="CSV file to write: what was skipped and why, and who looks like whom.")
    ] = None,
) -> None:
    """Enrol everyone of a folder or a CSV file. Unfit photographs are skipped and told.

    A CSV file has the columns person and image (a path from the file's folder), and may have name and select (largest
    or center); any other column is metadata; the rows of one person are below each other. It may be
    interrupted and run again: nothing is enrolled twice.

    Exit code 0 if anybody is enrolled by the end, 1 if nobody could be.
    """
    from vultus.errors import CalibrationError
    from vultus.gallery.rates import relaxed
    from vultus.workflows.bulk_enrol import bulk_enrol

    given = consent(basis, text, purpose, expires)
    with at.open(model, create=True) as people:
        done = bulk_enrol(people, source, select=select, consent=given, new_only=new_only, report=report)
        where = people.describe()
        with suppress(CalibrationError):  # without a calibration nothing can be searched, which `describe` says
            warn(filter(None, [relaxed(people.threshold())]))
    at.answer({**done.to_dict(), "report": None if report is None else str(report)}, lambda: _tell(done, where, report))
    if done.interrupted:
        say("interrupted; the same command goes on, quickest with --new-only", err=True)
        raise typer.Exit(done.interrupted)
    raise typer.Exit(0 if done.enrolled or done.left_out else 1)


def list_(
    at: At,
    where: Annotated[list[str] | None, typer.Option(help="KEY=VALUE: only people whose metadata has it.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many.", min=1)] = None,
    after: Annotated[str, typer.Option(help="Only ids behind this one, to go on with a long list.")] = "",
) -> None:
    """The enrolled people, by id."""
    wanted = pairs(where, "--where")
    with at.open() as people:
        found = people.persons(wanted, after=after, limit=limit)
        note = people.describe()

    def lines() -> None:
        rows = [
            (
                p.external_id,
                "" if p.name == p.external_id else p.name,
                p.templates,
                p.status,
                _day(p.created),
                _day(p.last_seen),
            )
            for p in found
        ]
        more = [f"go on with --after {found[-1].external_id!r}"] if limit is not None and len(found) == limit else []
        columns = ("person", "name", "templates", "status", "enrolled", "last seen")
        table(f"{count(len(rows), 'person', 'people')}", columns, rows, [note, *more])

    at.answer([{**asdict(one), "metadata": dict(one.metadata)} for one in found], lines)


def show(at: At, person: Person) -> None:
    """What is stored about one person. Details, consents, templates."""
    with at.open() as people:
        found = people.custody.person(person)
    who = found.person
    document = {
        **{key: value for key, value in asdict(who).items() if key != "id"},
        "consents": [asdict(one) for one in found.consents],
        "templates": [asdict(one) for one in found.templates],
    }

    def lines() -> None:
        known = [
            ("name", who.name),
            ("status", who.status),
            ("enrolled", _moment(who.created)),
            ("last enrolled or matched", _moment(who.last_seen)),
            ("kept until", _moment(who.retain_until) if who.retain_until else "as the collection's settings say"),
            *((f"metadata {key}", value) for key, value in sorted(who.metadata.items())),
        ]
        facts(who.external_id, known)
        say("")
        rows = [(one.id, _day(one.created), _origin(one.provenance), *_quality(one.quality)) for one in found.templates]
        columns = ("template", "enrolled", "from", "sharpness", "yaw", "between the eyes")
        table(count(len(rows), "template"), columns, rows)
        tell_consents(found.consents)

    at.answer(document, lines)


def consent(basis: str | None, text: Path | None, purpose: str | None, expires: str | None) -> ConsentGiven | None:
    """The consent that the options tell; VultusError where one of them lacks its basis."""
    from vultus.errors import VultusError
    from vultus.gallery.custody import ConsentGiven

    if basis is None:
        if (text, purpose, expires) != (None, None, None):
            raise VultusError("a consent needs its ground; give --consent-basis as well")
        return None
    return ConsentGiven(basis, None if text is None else read(text), purpose, None, expires)


def read(path: Path) -> bytes:
    from vultus.files import read_file

    return read_file(path, MOST_WORDS)


def tell_consents(consents: tuple[Consent, ...] | list[Consent]) -> None:
    if not consents:
        say("no consents")
        return
    rows = [
        (
            one.purpose,
            one.basis,
            _day(one.given_at),
            _day(one.expires_at),
            _day(one.withdrawn_at),
            (one.text_digest or "")[:12],
        )
        for one in consents
    ]
    columns = ("purpose", "basis", "given", "ends", "withdrawn", "text (SHA-256)")
    table(count(len(rows), "consent"), columns, rows)


def _alarms(done: Enrolled) -> list[str]:
    alike = [
        f"{done.person} looks like {other.person} (score {other.score:.3f}); is one person enrolled twice?"
        for other in done.duplicates
    ]
    alike += [
        f"the id {done.person!r} looks like that of {other!r}; is it a second spelling?" for other in done.namesakes
    ]
    odd = [f"{one.image} {one.reason}" for one in done.doubtful]
    return [*(f"skipped {one.image}: {one.reason}" for one in done.skipped), *odd, *alike, *done.warnings]


def _tell_enrolled(done: Enrolled, where: str) -> None:
    again = f", {done.repeated} known already" if done.repeated else ""
    say(f"{done.person}: {count(done.templates, 'new template')}{again}")
    say(where)


def _tell(done: Summary, where: str, report: Path | None) -> None:
    rows: list[tuple[str, Any]] = [
        ("people", f"{done.people:,}"),
        ("  with templates", f"{done.enrolled:,}"),
        ("  without", f"{done.people - done.enrolled:,}"),
        ("left out, enrolled before", f"{done.left_out:,}"),
        ("new templates", f"{done.templates:,}"),
        ("photographs enrolled before", f"{done.repeated:,}"),
        ("photographs skipped", f"{done.skipped:,}"),
        *((f"  {shown(code)}", f"{number:,}") for code, number in done.reasons.most_common(12)),
        ("people who look like others", f"{done.lookalikes:,}"),
    ]
    facts("import", rows)
    if done.reasons["several_faces"]:
        say("--select center or largest takes one of several faces")
    say(where)
    for line in done.listed[:10]:
        say(f"{line['what']} {line['image'] or line['person']}: {line['reason']}", err=True)
    told = done.skipped + done.lookalikes
    if told > 10:
        rest = f"and {told - 10:,} more" + ("" if report else "; --report FILE.csv tells all")
        say(rest, err=True)
    if report is not None:
        say(f"report: {report}")


def info_dict(info: Any) -> dict[str, Any]:
    """A collection's `Info` as plain JSON values."""
    return {
        **{key: value for key, value in vars(info).items() if key != "settings"},
        "settings": info.settings.model_dump(),
    }


def _day(time: str | None) -> str:
    return (time or "")[:10]


def _moment(time: str) -> str:
    return f"{time[:10]} {time[11:16]} UTC"


def _origin(provenance: Any) -> str:
    return str(provenance.get("from", ""))


def _quality(quality: Any) -> tuple[str, str, str]:
    if not quality:
        return "", "", ""
    return f"{quality['sharpness']:.2f}", f"{quality['pose_yaw']:.0f}°", f"{quality['inter_eye_distance']:.0f} pixels"
