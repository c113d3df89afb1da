"""Paths that no file can have, given to every command: one line and exit code 2, never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from vultus.cli.app import app, main

IMPOSSIBLE = {"nul": "a\0b", "overlong": "x" * 5000}
FILLED = {"shares": ["train=0.5"], "seeds": ["1"], "template": ["1"], "minutes": ["1"]}
"""What stands for a required argument that is no path; any other is "x"."""
PATHS = {"model", "models_dir", "source", "against", "profile"}
"""Parameters of text that can be a path."""


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if hasattr(group, "commands"):
        for name, command in group.commands.items():
            yield from commands(command, (*words, name))
    else:
        yield words, group


def cases() -> Iterator[tuple[str, list[str], str]]:
    """(what, command line with PATH where the path goes)."""
    for words, command in commands(typer.main.get_command(app)):
        for chosen in command.params:
            if "Path" not in str(chosen.type_descriptor.annotation) and chosen.name not in PATHS:
                continue
            line = list(words)
            for param in command.params:
                if param is not chosen and not param.required:
                    continue
                value = ["PATH"] if param is chosen else FILLED.get(param.name or "", ["x"])
                if param.name == "gallery":
                    value = ["people.db"]
                if param.opts[0].startswith("-"):
                    line += [word for one in value for word in (max(param.opts, key=len), one)]
                else:
                    line += value
            yield f"{' '.join(words)} {chosen.name}", line, words[0]


CASES = list(cases())


def run(line: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["vultus", *line])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2, told
    assert told[-1].lower().startswith("error: ") and "Traceback" not in " ".join(told)  # a usage line may stand before


@pytest.mark.parametrize("kind", IMPOSSIBLE)
@pytest.mark.parametrize(("what", "line", "group"), CASES, ids=[what for what, *_ in CASES])
def test_an_impossible_path_is_one_line(
    what: str, line: list[str], group: str, kind: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    if group == "gallery" and "PATH" in line and line[1] not in ("receipt", "restore"):
        pytest.skip("needs a gallery; the readers and writers behind it are those of the others")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VULTUS_GALLERY", "people.db")
    run([IMPOSSIBLE[kind] if word == "PATH" else word for word in line], monkeypatch, capsys)
