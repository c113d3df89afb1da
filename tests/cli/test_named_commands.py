"""Every command and option that a message or a document names exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from vultus.cli.app import app

ROOT = Path(__file__).parents[2]
SPAN = re.compile(r"`([^`]+)`")
OPTION = re.compile(r"--[a-z][a-z-]*")


def texts_of(source: Path) -> Iterator[tuple[int, str]]:
    """The strings of a Python file, with X for what is filled in."""
    tree = ast.parse(source.read_text())
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(str(one.value) if isinstance(one, ast.Constant) else "X" for one in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.lineno, node.value


def spans_in_code() -> Iterator[tuple[str, str]]:
    for source in sorted((ROOT / "src" / "vultus").rglob("*.py")):
        for line, text in texts_of(source):
            for span in SPAN.findall(text):
                yield f"{source.relative_to(ROOT)}:{line}", span


def spans_in_documents() -> Iterator[tuple[str, str]]:
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for number, part in enumerate(re.split(r"^```.*$", path.read_text(), flags=re.M)):
            if number % 2 == 0:
                yield from ((path.name, span) for span in SPAN.findall(part))
                continue
            for line in part.replace("\\\n", " ").splitlines():
                said = re.sub(r"\s#.*", "", line).strip()
                yield path.name, re.sub(r"^(uv run|uvx) ", "", said)


def named(spans: Iterator[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """(where, words after vultus) of those that are commands."""
    found = [(where, span.split()) for where, span in spans]
    return [(where, words[1:]) for where, words in found if words[:1] == ["vultus"]]


def below_of(at: Any) -> dict[str, Any]:
    """The commands of a group; none of a command."""
    return getattr(at, "commands", {})


def missing(words: list[str]) -> str | None:
    """What of a command line there is not."""
    at, rest = typer.main.get_command(app), list(words)
    while below_of(at) and rest and not rest[0].startswith(("-", "[")) and rest[0] != "...":
        if rest[0] not in below_of(at):
            return rest[0]
        at = below_of(at)[rest.pop(0)]
    there = {name for one in at.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}
    return next((option for option in OPTION.findall(" ".join(rest)) if option not in there), None)


def every_option(at: Any) -> set[str]:
    mine = {name for one in at.params for name in (*one.opts, *one.secondary_opts)}
    return mine.union(*(every_option(one) for one in below_of(at).values()))


@pytest.mark.parametrize("spans", [spans_in_code, spans_in_documents])
def test_every_command_that_is_named_exists(spans):
    found = named(spans())
    assert len(found) > 20
    assert [(where, " ".join(words), gone) for where, words in found if (gone := missing(words))] == []


def test_every_option_that_is_named_alone_is_one_of_a_command():
    there = every_option(typer.main.get_command(app)) | {"--help"}
    alone = [(where, span) for spans in (spans_in_code, spans_in_documents) for where, span in spans()]
    alone = [(where, span) for where, span in alone if OPTION.match(span)]
    assert len(alone) > 20
    assert [(where, span) for where, span in alone if OPTION.findall(span)[0] not in there] == []


def test_a_command_or_option_that_there_is_not_is_seen():
    assert missing(["gallery", "upgarde"]) == "upgarde" and missing(["gallery", "audit", "--mned"]) == "--mned"
    assert missing(["gallery", "audit", "--mend"]) is None and missing(["gallery"]) is None
