"""Where a known file is looked for, and that nothing is trusted without its digest."""

from __future__ import annotations

from pathlib import Path

import pytest

from vultus.errors import VultusError
from vultus.zoo import find_file, model_file

CONTENT = b"weights" * 100_000
NOWHERE = "http://127.0.0.1:1/net.onnx"

pytestmark = pytest.mark.usefixtures("home")


def test_a_missing_file_is_downloaded_once(files, home: Path, make_entry) -> None:
    files.content["net.onnx"] = CONTENT
    path = find_file(make_entry(f"{files.url}/net.onnx", CONTENT))
    assert path.read_bytes() == CONTENT and path.parent == home
    assert find_file(make_entry(NOWHERE, CONTENT)) == path  # the cache answers


def test_a_folder_of_the_users_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_entry) -> None:
    folder = tmp_path / "mine" / "deep"
    folder.mkdir(parents=True)
    (folder / "net.onnx").write_bytes(CONTENT)
    assert find_file(make_entry(NOWHERE, CONTENT), tmp_path / "mine") == folder / "net.onnx"
    monkeypatch.setenv("VULTUS_MODELS", str(tmp_path / "mine"))
    assert find_file(make_entry(NOWHERE, CONTENT)) == folder / "net.onnx"


def test_a_tampered_file_is_named(tmp_path: Path, make_entry) -> None:
    (tmp_path / "net.onnx").write_bytes(b"tampered")
    with pytest.raises(VultusError, match=r"net\.onnx is not the published"):
        find_file(make_entry(NOWHERE, CONTENT), tmp_path)


def test_without_a_published_digest_the_first_download_holds(files, make_entry) -> None:
    files.content["net.onnx"] = CONTENT
    unknown = make_entry(f"{files.url}/net.onnx")
    path = find_file(unknown)
    assert find_file(unknown) == path and len(files.asked) == 1
    path.write_bytes(CONTENT + b"!")
    with pytest.raises(VultusError, match="is not the net file first downloaded"):
        find_file(unknown)


def test_a_typo_in_a_name_gets_the_nearest() -> None:
    with pytest.raises(VultusError, match="did you mean 'sface'"):
        model_file("sfcae", "recognizer")
    with pytest.raises(VultusError, match="no recognizer is called 'yunet'"):
        model_file("yunet", "recognizer")
