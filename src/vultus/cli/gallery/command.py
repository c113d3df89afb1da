"""What every command of `vultus gallery` has in common: where the gallery is, who acts, and how the answer is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vultus.terminal import say, say_json, shown

if TYPE_CHECKING:
    from vultus.errors import VultusError
    from vultus.gallery import Gallery
    from vultus.gallery.store import Store

COLLECTION = "default"


@dataclass(frozen=True)
class At:
    """The options that every command takes; each field is one, see `command`."""

    gallery: Annotated[
        str, typer.Option("--gallery", help="A SQLite file, or postgresql://USER@HOST/NAME.", envvar="VULTUS_GALLERY")
    ]
    collection: Annotated[str, typer.Option("--collection", help="People that are searched together.")] = COLLECTION
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            help="Where the key is: env:NAME, file:PATH or command:WORDS; without it $VULTUS_GALLERY_KEY, or the file "
            "that was made with the gallery.",
        ),
    ] = None
    actor: Annotated[
        str | None, typer.Option("--actor", help="Who acts, for the audit log; else $VULTUS_ACTOR or the user.")
    ] = None
    models_dir: Annotated[str | None, typer.Option("--models", help="Folder with model files.")] = None
    as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON document on stdout.")] = False

    def open(
        self,
        model: str | None = None,
        *,
        create: bool = False,
        settings: Mapping[str, Any] | None = None,
        engine: str | None = None,
    ) -> Gallery:
        """The collection; unless `create`, VultusError where it is not there."""
        from vultus.gallery import Gallery

        return Gallery.open(
            self.gallery,
            model,
            collection=self.collection,
            key=self.key,
            actor=self.actor,
            engine=engine,
            models_dir=self.models_dir,
            create=create,
            settings=settings,
        )

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The whole database, for what concerns every collection or needs no model."""
        from vultus.gallery.store import Store

        with closing(Store.open(self.gallery, self.key, self.actor)) as store:
            yield store

    def answer(self, document: Any, lines: Callable[[], object] | Iterable[str] | str) -> None:
        """With --json the document, and nothing else, on stdout; else what a person reads."""
        if self.as_json:
            say_json(document)
        elif callable(lines):
            lines()
        else:
            say(*([lines] if isinstance(lines, str) else lines))


def scrubbing(unscrubbed: VultusError | None) -> dict[str, Any]:
    """For --json: whether the bytes of what was deleted are out of the database's files, and else what keeps them."""
    return {"scrubbed": unscrubbed is None, "unscrubbed": unscrubbed.to_dict() if unscrubbed is not None else None}


def command(group: typer.Typer, name: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function whose first parameter is `At`; the command takes its other parameters, then those of `At`."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        _, *own = inspect.signature(function, eval_str=True).parameters.values()
        hints = inspect.get_annotations(At, eval_str=True)
        shared = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=hints[field.name],
                default=inspect.Parameter.empty if field.name == "gallery" else field.default,
            )
            for field in fields(At)
        ]

        def run(**given: Any) -> Any:
            at = At(**{field.name: given.pop(field.name) for field in fields(At)})
            return function(at, **given)

        parameters = [*(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own), *shared]
        run.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        run.__name__, run.__doc__ = function.__name__, function.__doc__
        group.command(name)(run)
        return function

    return register


def pairs(given: Sequence[str] | None, option: str) -> dict[str, Any] | None:
    """["room=12", "staff=true"] as {"room": 12, "staff": True}; None for nothing given. See `value_of`."""
    from vultus.errors import VultusError
    from vultus.workflows.bulk_sources import value_of

    if not given:
        return None
    found: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not (equals and key.strip()):
            raise VultusError(f"{option} {text!r}: write KEY=VALUE, for example {option} room=12")
        if key.strip() in found:
            raise VultusError(f"{option} gives {key.strip()!r} twice; give it once")
        found[key.strip()] = value_of(value.strip())
    return found


def facts(title: str, rows: Iterable[tuple[str, object]]) -> None:
    """Print what is known of one thing, a line each."""
    lines = [(shown(name), shown(value)) for name, value in rows]
    width = max(len(name) for name, _ in lines)
    say(title, *(f"  {name:<{width}}  {value}".rstrip() for name, value in lines))


def count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
