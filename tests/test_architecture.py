"""The order of the rooms, and what may be loaded when."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "vultus"
ROOMS = [
    "zoo",
    "faces",
    "losses",
    "evaluation",
    "data",
    "models",
    "recognizer",
    "training",
    "gallery",
    "workflows",
    "service",
    "cli",
]  # a room imports only rooms to its left
ANYWHERE = {"errors", "files", "formats", "terminal"}


def imported_rooms(file: Path) -> set[str]:
    """Rooms (or top-level modules) of vultus that a file imports, at any depth of its code."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names = [node.module or ""]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("vultus.")}
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_above_it(room: str) -> None:
    allowed = set(ROOMS[: ROOMS.index(room) + 1]) | ANYWHERE
    for file in sorted((SOURCE / room).rglob("*.py")):
        wrong = imported_rooms(file) - allowed
        assert not wrong, f"{file.relative_to(SOURCE)} imports {sorted(wrong)}, which lie below {room}"


def test_every_folder_is_a_known_room() -> None:
    folders = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= set(ROOMS)


def loaded_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in done.stdout.split()}


HEAVY = {"torch", "fastapi", "datasets", "matplotlib", "timm", "onnxruntime", "cv2", "sqlalchemy"}


def test_importing_vultus_loads_nothing_heavy() -> None:
    assert not loaded_after("import vultus") & (HEAVY | {"numpy"})


def test_help_loads_nothing_heavy() -> None:
    code = """
import sys
from typer.testing import CliRunner
from vultus.cli.app import app
result = CliRunner().invoke(app, ["--help"])
assert result.exit_code == 0 and "evaluate" in result.output
"""
    assert not loaded_after(code) & HEAVY


def test_embedding_and_galleries_need_no_torch() -> None:
    code = "import vultus\nvultus.load_recognizer, vultus.Gallery, vultus.read_image, vultus.evaluate"
    assert "torch" not in loaded_after(code)


def test_files_stay_short() -> None:
    long = {
        str(path.relative_to(SOURCE)): count
        for path in SOURCE.rglob("*.py")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 600
    }
    assert not long
