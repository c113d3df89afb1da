"""`vultus profiles`: what applications ask of a recogniser."""

from __future__ import annotations

import textwrap
from typing import Annotated

import typer

from vultus.terminal import say


def profiles(
    name: Annotated[str | None, typer.Argument(help="Only this one; a name or the path of a .toml file.")] = None,
) -> None:
    """Applications and the accuracy they ask for, with where each number comes from."""
    from vultus.evaluation.profiles import list_profiles, load_profile
    from vultus.evaluation.report.profile import goal_text

    for profile in [load_profile(name)] if name else list_profiles():
        say(f"{profile.name}: {profile.title}")
        say(*textwrap.wrap(profile.words, 100, initial_indent="  ", subsequent_indent="  "))
        for requirement in profile.requirements:
            say(f"  asks for   {requirement.title} of at least {goal_text(requirement)}")
            say(*textwrap.wrap(f"  because    {requirement.source}", 100, subsequent_indent=" " * 13), "")
    if not name:
        say("`vultus evaluate ... --profile NAME` answers PASS, FAIL or NOT ENOUGH EVIDENCE; a .toml file of")
        say("your own, written like these, works wherever a name does.")
