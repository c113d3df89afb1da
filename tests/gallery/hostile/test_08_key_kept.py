"""A key that a gallery may be sealed with is never deleted."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vultus.errors import VultusError
from vultus.gallery.custody.rekey import rotate_key
from vultus.gallery.store import Store

INTERRUPTED = """
import os, signal, sys
from vultus.gallery.store import Store
link = os.link
def linked(made, path, **options):
    link(made, path, **options)
    if str(path) == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C, right after the gallery has its name
os.link = linked
Store.create(sys.argv[1])
"""


class CutAtCommit:
    """A line to a PostgreSQL server; once `armed`, it is cut when the server has answered a COMMIT: nobody hears it."""

    def __init__(self, port: int) -> None:
        self._server, self._to = socket.create_server(("127.0.0.1", 0)), port
        self.port: int = self._server.getsockname()[1]
        self.armed, self._asked, self.cut = threading.Event(), threading.Event(), threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._forward, args=self._server.accept()[:1], daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._to)) as server, contextlib.suppress(OSError):
            threading.Thread(target=self._answers, args=(server, client), daemon=True).start()
            while said := client.recv(1 << 16):
                if b"COMMIT\0" in said and self.armed.is_set():
                    self._asked.set()
                server.sendall(said)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while said := server.recv(1 << 16):
                if self._asked.is_set() and not self.cut.is_set():  # the answer to it: it is done, and lost
                    self.cut.set()
                    client.shutdown(socket.SHUT_RDWR)
                    server.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(said)

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def keys(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("VULTUS_GALLERY_KEY", raising=False)
    return tmp_path / "config"


def test_an_interrupt_right_after_the_gallery_has_its_name_keeps_the_key(tmp_path, keys):
    place = tmp_path / "people.db"
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, place], capture_output=True, timeout=60)
    assert done.returncode in (-signal.SIGINT, 128 + signal.SIGINT) and place.exists(), done.stderr
    assert len(list(keys.rglob("*.key"))) == 1
    Store.open(place).close()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_line_that_is_cut_at_the_commit_keeps_the_key(postgresql, keys):
    address = postgresql.fresh()
    line = CutAtCommit(postgresql.port)
    line.armed.set()
    with pytest.raises(VultusError):
        Store.create(address.replace(f":{postgresql.port}/", f":{line.port}/"))
    assert line.cut.is_set() and len(list(keys.rglob("*.key"))) == 1
    line.close()
    Store.open(address).close()
    postgresql.give_back(address)


def test_a_rotation_whose_commit_is_not_heard_of_keeps_the_new_key(postgresql, keys):
    address = postgresql.fresh()
    Store.create(address).close()
    line = CutAtCommit(postgresql.port)
    store = Store.open(address.replace(f":{postgresql.port}/", f":{line.port}/"))
    line.armed.set()
    with pytest.raises(VultusError):
        rotate_key(store)
    assert line.cut.is_set() and len(list(keys.rglob("*.key"))) == 2
    line.close()
    store.close()
    opened = Store.open(address)
    assert opened.info.key_id != store.info.key_id
    opened.close()
    postgresql.give_back(address)


def test_a_failure_before_anything_is_made_leaves_no_key(place, keys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("vultus.gallery.store.migrate.migrate", lambda connection: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Store.create(place)
    assert not list(keys.rglob("*.key"))


def test_a_name_is_never_taken_from_another_where_there_are_no_hard_links(tmp_path, keys, monkeypatch):
    """Another process makes a file of the name at the last moment."""
    place = tmp_path / "people.db"

    link = os.link

    def no_links(made, path, **options):
        if Path(path) == place:
            place.write_bytes(b"somebody else's")
            raise PermissionError(1, "Operation not permitted")
        link(made, path, **options)

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(VultusError):
        Store.create(place)
    assert place.read_bytes() == b"somebody else's" and not list(keys.rglob("*.key"))
