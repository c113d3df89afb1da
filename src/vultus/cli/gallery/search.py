"""Who is this: identify, verify, investigate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vultus.cli.gallery.command import At, command, count, pairs
from vultus.terminal import say, shown, table, warn

if TYPE_CHECKING:
    from vultus.faces import Face
    from vultus.gallery import Decision, Identified, Investigated

Where = Annotated[list[str] | None, typer.Option(help="KEY=VALUE: search only people whose metadata has it.")]

Engine = Annotated[
    str | None,
    typer.Option(help="milvus:http://HOST:PORT, searched instead of an index in this process; see `follow`."),
]


def register(app: typer.Typer) -> None:
    command(app)(identify)
    command(app)(verify)
    command(app)(investigate)


def identify(
    at: At,
    images: Annotated[list[Path], typer.Argument(help="Photographs with any number of faces.")],
    fpir: Annotated[
        float | None,
        typer.Option(
            help="Share of strangers' searches that may name somebody; 0.001, or the lowest that the calibration "
            "supports at this size.",
            show_default=False,
        ),
    ] = None,
    where: Where = None,
    candidates: Annotated[int, typer.Option("-k", "--candidates", help="How many to list a face.", min=1)] = 5,
    at_least: Annotated[
        int | None,
        typer.Option("--at-least", help="Search only once this number of the change sequence was seen.", min=0),
    ] = None,
    engine: Engine = None,
    draw: Annotated[Path | None, typer.Option(help="Write the annotated photograph here (one image only).")] = None,
) -> None:
    """Say of every face who it is. Or that nobody enrolled is like it, at the error rate you choose."""
    from vultus.errors import VultusError
    from vultus.gallery import explain
    from vultus.gallery.rates import relaxed
    from vultus.workflows.identify import identify_photographs

    if draw is not None and len(images) != 1:
        raise VultusError(f"--draw takes one photograph, not {len(images)}")
    wanted = pairs(where, "--where")
    with at.open(engine=engine) as people:
        results, skipped = identify_photographs(
            people, images, fpir=fpir, draw=draw, where=wanted, k=candidates, at_least=at_least
        )
        threshold = people.threshold(fpir) if wanted is None else None
    decisions = [item.decision for _, found in results for item in found]
    for path, reason in skipped:
        say(f"skipped {path}: {reason}", err=True)
    used = decisions[0].threshold if decisions else threshold
    if fpir is None and used is not None and (told := relaxed(used)):
        warn([told])
    warn(dict.fromkeys(d.warning for d in decisions if d.warning))

    def lines() -> None:
        for path, found in results:
            rows = [_row(number, item) for number, item in enumerate(found, 1)]
            columns = ("face", "decision", "who", "score", "FMR at it", "LLR", "nearest other")
            notes = [
                f"face {n}: {'; '.join(item.decision.reasons)}"
                for n, item in enumerate(found, 1)
                if item.decision.reasons
            ]
            table(shown(path), columns, rows, notes if rows else ["no face found"])
        looked = [d for d in decisions if d.kind.value != "low_quality"]
        if looked and not any(d.searched for d in looked):
            say("nobody was searched" + ("" if wanted is None else ": nobody enrolled meets --where"))
        elif used is not None:
            say(f"threshold: {explain(used)}")
        if draw is not None:
            say(f"drawn: {draw}")

    document = {
        "photographs": [{"image": str(path), "faces": [_face(item) for item in found]} for path, found in results],
        "skipped": [{"image": str(path), "reason": reason} for path, reason in skipped],
        "drawn": None if draw is None else str(draw),
    }
    at.answer(document, lines)


def verify(
    at: At,
    person: Annotated[str, typer.Argument(help="The id of the person that the photograph is claimed to show.")],
    image: Annotated[Path, typer.Argument(help="A photograph.")],
    fmr: Annotated[float, typer.Option(help="Share of other people that may pass as this one.")] = 0.0001,
    select: Annotated[str | None, typer.Option(help="If the photograph shows several: largest or center.")] = None,
    engine: Engine = None,
) -> None:
    """Say whether a photograph is of a person. Exit code 0 for a match, 1 for none."""
    with at.open(engine=engine) as people:
        result = people.verify(person, image, fmr=fmr, select=select)
    at.answer(result.to_dict(), (str(result), f"threshold: {result.threshold}"))
    raise typer.Exit(0 if result.match else 1)


def investigate(
    at: At,
    image: Annotated[Path, typer.Argument(help="A photograph with any number of faces.")],
    reason: Annotated[str, typer.Option(help="Why, for the audit log: a case number, no names.")],
    candidates: Annotated[int, typer.Option("-k", "--candidates", help="How many to list a face.", min=1)] = 20,
    where: Where = None,
    engine: Engine = None,
) -> None:
    """A ranked list for a trained examiner. Whom each face looks most like, without a threshold and a decision."""
    with at.open(engine=engine) as people:
        found = people.investigate(image, candidates, where=pairs(where, "--where"), reason=reason)

    def lines() -> None:
        say(f"{image}: {count(len(found), 'face')}; ranked lists, no decision")
        for number, item in enumerate(found, 1):
            ranked = zip(item.investigation.candidates, item.investigation.weights, strict=True)
            rows = [
                (rank, one.label, "" if one.label == one.person else one.person, f"{one.score:.3f}", *_weight(weight))
                for rank, (one, weight) in enumerate(ranked, 1)
            ]
            title = f"face {number} at {_place(item.face)}"
            table(title, ("rank", "name", "id", "score", "FMR at it", "LLR"), rows)

    at.answer({"image": str(image), "reason": reason, "faces": [_investigated(item) for item in found]}, lines)


def _row(number: int, item: Identified) -> Sequence[object]:
    decision = item.decision
    score = "" if decision.score is None else f"{decision.score:.3f}"
    return (number, decision.kind.value, _who(decision), score, *_weight(decision.weight), _nearest(decision))


def _who(decision: Decision) -> str:
    return decision.label if decision.kind.value in ("match", "ambiguous") else ""


def _nearest(decision: Decision) -> str:
    others = decision.candidates[len(decision.matches) :][:1]  # best first, so the matches come before all others
    return ", ".join(f"{one.label} {one.score:.3f}" for one in others)


def _weight(weight: Any) -> tuple[str, str]:
    if weight is None:
        return "", ""
    rate = f"> {weight.interval[0]:.2g}" if weight.fmr >= 1 else f"≤ {weight.fmr:.2g}"
    return rate, f"{weight.llr:+.1f}"


def _place(face: Face) -> str:
    left, top, right, bottom = (round(float(value)) for value in face.box)
    return f"({left}, {top}) to ({right}, {bottom})"


def _face(item: Identified) -> dict[str, Any]:
    return {
        **_seen(item.face),
        "quality": None if item.quality is None else item.quality.to_dict(),
        "decision": item.decision.to_dict(),
    }


def _investigated(item: Investigated) -> dict[str, Any]:
    return {**_seen(item.face), **item.investigation.to_dict()}


def _seen(face: Face) -> dict[str, Any]:
    return {"box": [round(float(value), 2) for value in face.box], "detection_score": round(float(face.score), 4)}
