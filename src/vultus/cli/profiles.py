"""`vultus profiles`: what applications ask of a recogniser."""

from __future__ import annotations

import textwrap
from typing import Annotated

import typer


def profiles(
    name: Annotated[str | None, typer.Argument(help="Only this one; a name or the path of a .toml file.")] = None,
) -> None:
    """Applications and the accuracy they ask for, with where each number comes from."""
    from vultus.evaluation.profiles import list_profiles, load_profile
    from vultus.evaluation.report.profile import goal_text

    for profile in [load_profile(name)] if name else list_profiles():
        typer.echo(f"{profile.name}: {profile.title}")
        typer.echo(textwrap.fill(profile.words, 100, initial_indent="  ", subsequent_indent="  "))
        for requirement in profile.requirements:
            typer.echo(f"  asks for   {requirement.title} of at least {goal_text(requirement)}")
            typer.echo(
                textwrap.fill(f"  because    {requirement.source}", 100, subsequent_indent=" " * 13).rstrip() + "\n"
            )
    if not name:
        typer.echo("`vultus evaluate ... --profile NAME` answers PASS, FAIL or NOT ENOUGH EVIDENCE; a .toml file of")
        typer.echo("your own, written like these, works wherever a name does.")
