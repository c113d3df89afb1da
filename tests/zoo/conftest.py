"""A file server on this machine that knows ranges, and can be told to misbehave."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from vultus.zoo import ModelFile


@dataclass
class Files:
    """What is served, how, and what was asked."""

    content: dict[str, bytes] = field(default_factory=dict)
    etag: str | None = '"v1"'
    ranges: bool = True
    content_type: str = "application/octet-stream"
    drops: list[int] = field(default_factory=list)
    """For each coming request, the number of bytes after which its connection breaks."""
    answers: list[int] = field(default_factory=list)
    """For each coming request, an error status in place of the file."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """path, range, if_range and sent (bytes of body) of each request."""
    slow: threading.Event | None = None
    url: str = ""

    def reply(self, handler: BaseHTTPRequestHandler) -> None:
        header = handler.headers.get
        asked = {"path": handler.path, "range": header("Range"), "if_range": header("If-Range"), "sent": 0}
        self.asked.append(asked)
        if self.slow is not None:
            self.slow.wait(10)
        if self.answers:
            return handler.send_error(self.answers.pop(0))
        body = self.content.get(handler.path.lstrip("/"))
        if body is None:
            return handler.send_error(404)
        start, status = 0, 200
        if self.ranges and asked["range"] and asked["if_range"] in (None, self.etag):
            start, status = int(asked["range"].removeprefix("bytes=").rstrip("-")), 206
            if start >= len(body):
                return handler.send_error(416)
        handler.send_response(status)
        handler.send_header("Content-Type", self.content_type)
        handler.send_header("Content-Length", str(len(body) - start))
        if status == 206:
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if self.etag:
            handler.send_header("ETag", self.etag)
        handler.end_headers()
        rest = body[start:]
        if self.drops:
            rest = rest[: self.drops.pop(0)]
        handler.wfile.write(rest)
        handler.wfile.flush()
        asked["sent"] = len(rest)


@pytest.fixture
def files() -> Iterator[Files]:
    served = Files()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.reply(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
    served.url = f"http://127.0.0.1:{httpd.server_port}"
    yield served
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no proxy, no pauses between attempts."""
    monkeypatch.setenv("VULTUS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VULTUS_MODELS", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("vultus.zoo.download.PAUSES", (0.0, 0.0))
    return tmp_path / "home" / "models"


def entry(url: str, content: bytes | None = None, **fields: Any) -> ModelFile:
    """A recogniser's entry whose published digest is that of `content`; without, none was published."""
    digest = None if content is None else hashlib.sha256(content).hexdigest()
    return ModelFile("net", "recognizer", "net.onnx", digest, url, "MIT", "test", commercial=True, **fields)


@pytest.fixture
def make_entry():  # the tests' folders are no packages: a fixture is how they share a function
    return entry
