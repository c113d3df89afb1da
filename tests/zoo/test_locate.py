"""Model files: looked up, downloaded from a local server, never trusted without their digest."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from vultus.errors import VultusError
from vultus.zoo import ModelFile, find_file, model_file

CONTENT = b"weights" * 100_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "net.onnx").write_bytes(CONTENT)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VULTUS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VULTUS_MODELS", raising=False)
    return tmp_path / "home"


def entry(url: str, content: bytes = CONTENT) -> ModelFile:
    return ModelFile("net", "recognizer", "net.onnx", hashlib.sha256(content).hexdigest(), url, "MIT", "test")


def test_a_missing_file_is_downloaded_once(server: str, home: Path) -> None:
    path = find_file(entry(f"{server}/net.onnx"))
    assert path.read_bytes() == CONTENT and path.parent == home / "models"
    assert find_file(entry("http://127.0.0.1:1/gone")) == path  # the cache answers


def test_wrong_bytes_are_refused_and_not_kept(server: str, home: Path) -> None:
    with pytest.raises(VultusError, match="not the published"):
        find_file(entry(f"{server}/net.onnx", b"other"))
    assert not list((home / "models").iterdir())


def test_no_server_names_the_ways_out(home: Path) -> None:
    with pytest.raises(VultusError, match="--models") as caught:
        find_file(entry("http://127.0.0.1:1/net.onnx"))
    assert "\n" not in str(caught.value)
    assert not list((home / "models").iterdir())


def test_a_folder_of_the_users_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine" / "deep"
    folder.mkdir(parents=True)
    (folder / "net.onnx").write_bytes(CONTENT)
    assert find_file(entry("http://127.0.0.1:1/x"), tmp_path / "mine") == folder / "net.onnx"
    monkeypatch.setenv("VULTUS_MODELS", str(tmp_path / "mine"))
    assert find_file(entry("http://127.0.0.1:1/x")) == folder / "net.onnx"


def test_a_tampered_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"tampered")
    with pytest.raises(VultusError, match=r"net\.onnx is not the published"):
        find_file(entry("http://127.0.0.1:1/x"), tmp_path)


def test_a_typo_in_a_name_gets_the_nearest() -> None:
    with pytest.raises(VultusError, match="did you mean 'sface'"):
        model_file("sfcae", "recognizer")
    with pytest.raises(VultusError, match="no recognizer is called 'yunet'"):
        model_file("yunet", "recognizer")
