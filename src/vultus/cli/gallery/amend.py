"""Changing what is stored of one person: update, remove-template."""

from __future__ import annotations

from typing import Annotated

import typer

from vultus.cli.gallery.command import At, command, count, pairs
from vultus.cli.gallery.people import Person


def register(app: typer.Typer) -> None:
    command(app)(update)
    command(app)(remove_template)


def update(
    at: At,
    person: Person,
    name: Annotated[str | None, typer.Option(help="What people call them from now on.")] = None,
    meta: Annotated[
        list[str] | None, typer.Option("--meta", help="KEY=VALUE; what is given replaces all that was there.")
    ] = None,
) -> None:
    """Change a person's name or metadata."""
    from vultus.errors import VultusError

    metadata = pairs(meta, "--meta")
    if name is None and metadata is None:
        raise VultusError("nothing to change; give --name or --meta")
    with at.open() as people:
        now = people.custody.update(person, name=name, metadata=metadata)
    told = ", ".join(f"{key}={value}" for key, value in now.metadata.items()) or "no metadata"
    at.answer(
        {"person": now.external_id, "name": now.name, "metadata": dict(now.metadata)},
        f"{now.external_id}: {now.name}, {told}",
    )


def remove_template(
    at: At,
    person: Person,
    template: Annotated[int, typer.Argument(help="The template's number, as `show` tells it.")],
) -> None:
    """Delete one template of a person, for good."""
    with at.open() as people:
        people.custody.remove_template(person, template)
        left = len(people.custody.person(person).templates)
    at.answer(
        {"person": person, "removed": template, "templates": left},
        f"{person}: template {template} removed, {count(left, 'template')} left",
    )
