"""All commands of `vultus gallery`, in the order in which the help lists them."""

from __future__ import annotations

import typer

from vultus.cli.gallery import about, amend, custody, log, people, search, upkeep

app = typer.Typer(
    help="Enrolled people and decisions by error rates.\n\nEvery command needs --gallery PLACE, or $VULTUS_GALLERY. "
    "With --json it answers with one JSON document on stdout. Exit codes: 0 done, 1 the answer is no, 2 a mistake, "
    "told in one line on stderr, with --json too; 130 stopped by Ctrl-C, 143 by SIGTERM.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
for group in (people, amend, search, about, custody, log, upkeep):
    group.register(app)
