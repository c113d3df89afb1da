"""One place writes to the terminal, and nothing from outside steers it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import vultus
from vultus import terminal

SOURCE = Path(vultus.__file__).parent
STEERING = "a\x1b[2J\r\nb\u202e\u009b31m\udcff"


def test_no_other_file_prints() -> None:
    printing = re.compile(
        r"(?<![\w.\"'])print\(|typer\.echo|typer\.secho|click\.echo|Console\(|sys\.std(out|err)\.write"
    )
    found = {
        f"{path.relative_to(SOURCE)}:{number}"
        for path in SOURCE.rglob("*.py")
        if path.name != "terminal.py" and path != SOURCE / "__init__.py"  # whose docstring shows a program
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if printing.search(line)
    }
    assert not found


def test_lines_tables_and_json_steer_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say(STEERING)
    terminal.fail(STEERING)
    terminal.warn([STEERING])
    terminal.table(STEERING, [STEERING], [[STEERING]], [STEERING])
    terminal.say_json({"name": STEERING})
    written = "".join(capsys.readouterr())
    assert not [c for c in written if not c.isprintable() and c != "\n"]
    assert json.loads(written[written.index("{") : written.index("}") + 1]) == {"name": STEERING}


def test_in_a_pipe_progress_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(terminal.track(range(3), "align faces")) == [0, 1, 2]
    assert capsys.readouterr().err == ""  # less than ten seconds
    monkeypatch.setattr(terminal, "EVERY", 0)
    assert list(terminal.track(range(2), "align faces")) == [0, 1]
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("align faces: 1 of 2 (50%)") and last.startswith("align faces: 2 of 2 (100%)")
