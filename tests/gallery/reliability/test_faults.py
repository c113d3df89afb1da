"""Disks that are full, databases that are locked, files that are damaged or gone, clocks that jump back."""

from __future__ import annotations

import base64
import contextlib
import os
import sqlite3
import subprocess
import tempfile
import warnings
from pathlib import Path

import pytest

from vultus.errors import VultusError
from vultus.gallery import Gallery
from vultus.gallery.store import clock, sqlite

from .conftest import ENROL, enrolment, fill, goes_on, refused
from .observing import check_index, nursery_in, observed, rows_in
from .writer import do, nothing, opened


@contextlib.contextmanager
def small_disk(folder: Path, size: str):
    """A file system of its own; skips where none may be mounted."""
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_full_disk(tmp_path):
    with small_disk(tmp_path / "disk", "4m") as disk, opened(str(disk / "people.db")) as gallery:
        fill(gallery)
        gallery.custody.snapshot()
        (disk / "hog").write_bytes(bytes(1 << 20))
        with contextlib.suppress(OSError), open(disk / "hog", "ab", buffering=0) as hog:
            while hog.write(bytes(4096)):
                pass
        big = [enrolment(gallery, number, rows=900) for number in range(50, 53)]
        refused(gallery, r"disk is full; nothing was changed|disk error", *big)
        refused(gallery, r"(disk is full|disk error|No space left)", gallery.custody.snapshot)
        with opened(gallery._binding.place.address) as reader:
            assert len(reader.persons()) == 3, "who only reads does not mind"
            assert len(rows_in(reader._binding.existing())) == 9
        (disk / "hog").unlink()
        goes_on(gallery)


def test_an_erasure_on_a_full_disk_holds_once_it_is_acknowledged(tmp_path):
    with small_disk(tmp_path / "disk", "4m") as disk, opened(str(disk / "people.db")) as gallery:
        fill(gallery)
        with contextlib.suppress(OSError), open(disk / "hog", "ab", buffering=0) as hog:
            while hog.write(bytes(4096)):
                pass
        try:
            with warnings.catch_warnings(record=True) as warned:
                gallery.erase("alice")
            left = {"bob", "carol"}
            assert all("erased, but" in str(one.message) for one in warned)
        except VultusError as error:
            assert "full" in str(error) or "disk error" in str(error)
            left = {"alice", "bob", "carol"}
        assert set(observed(gallery._binding.store)["people"]) == left
        (disk / "hog").unlink()
        with opened(gallery._binding.place.address) as again:
            assert set(observed(again._binding.store)["people"]) == left
        goes_on(gallery)


def test_a_full_disk_of_the_server(postgresql):
    with small_disk(postgresql.root / "small", "16m") as disk:
        os.chmod(disk, 0o777)
        subprocess.run(["chown", "postgres", str(disk)], check=False)
        postgresql.execute("postgres", f"CREATE TABLESPACE small LOCATION '{disk}'")
        address = postgresql.fresh()
        name = address.rpartition("/")[2]
        try:
            postgresql.execute("postgres", f"ALTER DATABASE {name} SET TABLESPACE small")
            with opened(address) as gallery:
                fill(gallery)
                with contextlib.suppress(OSError), open(disk / "hog", "ab", buffering=0) as hog:
                    while hog.write(bytes(4096)):
                        pass
                big = [enrolment(gallery, number, rows=990) for number in range(50, 53)]
                refused(gallery, "disk is full; nothing was changed", *big)
                (disk / "hog").unlink()
                goes_on(gallery)
        finally:
            postgresql.execute("postgres", f"DROP DATABASE {name} WITH (FORCE)")
            postgresql.execute("postgres", "DROP TABLESPACE small")


def test_a_database_that_another_process_has_locked(place, monkeypatch, request):
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.2)
    monkeypatch.setattr("vultus.gallery.store.postgresql.LOCK_TIMEOUT", 1)
    with opened(str(place)) as gallery:
        fill(gallery)
        with locked(place, request):
            refused(
                gallery,
                "is locked by another process; try again",
                enrolment(gallery, 50),
                lambda: gallery.erase("alice"),
                lambda: gallery.configure(max_templates=5),
                lambda: gallery.custody.record_consent("alice", basis="b"),
                gallery.custody.snapshot,
            )
            assert len(gallery.persons()) == 3, "readers do not wait"
            assert len(rows_in(gallery._binding.existing())) == 9
        goes_on(gallery)


@contextlib.contextmanager
def locked(place: str | Path, request: pytest.FixtureRequest):
    """As a writer that does not end."""
    if isinstance(place, Path):
        connection = sqlite3.connect(place, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.close()
        return
    import psycopg

    with psycopg.connect(place) as other:
        other.execute("SELECT id FROM gallery WHERE id = 1 FOR UPDATE")
        yield
        other.rollback()


DAMAGES = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "a bit": lambda content: content[:-40] + bytes([content[-40] ^ 1]) + content[-39:],
    "its head": lambda content: b"x" + content[1:],
    "longer": lambda content: content + b"x",
    "something else": lambda content: b"PK\x03\x04" + os.urandom(2000),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_snapshot_is_built_anew(in_file, caplog, damage):
    path = in_file.custody.snapshot()
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with opened(in_file._binding.place.address) as fresh:
        check_index(in_file, fresh, observed(fresh._binding.store))
        assert "because of its snapshot" in caplog.text
        fresh.custody.snapshot()
    caplog.clear()
    with opened(in_file._binding.place.address) as fresh:
        check_index(in_file, fresh, observed(fresh._binding.store))
        assert fresh._binding.live._saved is not None and caplog.text == "", "the next one is good again"
    goes_on(in_file)


def test_a_snapshot_of_another_gallery_or_an_older_one(in_file, tmp_path, caplog):
    path = in_file.custody.snapshot()
    older = path.read_bytes()
    do(in_file, {"number": 10, "person": "dave", **ENROL})
    in_file.custody.snapshot()
    path.write_bytes(older)
    with opened(in_file._binding.place.address) as fresh:
        check_index(in_file, fresh, observed(fresh._binding.store))
        assert "because of its snapshot" in caplog.text, "each file has a key of its own"
    path.unlink()
    path.mkdir()
    with opened(in_file._binding.place.address) as fresh:
        check_index(in_file, fresh, observed(fresh._binding.store))
    goes_on(in_file)


def test_a_clock_that_jumps_back(gallery, monkeypatch):
    from datetime import UTC, datetime, timedelta

    days = iter([0, -400, 3, -1, -9000, 5])

    with monkeypatch.context() as patched:
        patched.setattr(clock, "now", lambda: clock.as_text(datetime.now(UTC) + timedelta(days=next(days, 0))))
        jumping(gallery)
    gallery.custody.record_consent("bob", basis="b")
    assert gallery.custody.verify_log() == []
    goes_on(gallery)


def jumping(gallery: Gallery) -> None:
    for number in range(6):
        do(gallery, {"number": 50 + number, "person": f"p{number}", **ENROL})
    entries = gallery.custody.log()
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    assert gallery.custody.verify_log() == []
    assert len(gallery.erase("p5", "alice")) == 2  # who is named is erased, whatever the clock says
    assert gallery.custody.repair_times(dry_run=False).done
    assert gallery.custody.due() == []


def test_a_database_that_may_only_be_read(tmp_path, monkeypatch):
    if os.geteuid() != 0:
        pytest.skip("needs another user to be without rights")
    monkeypatch.setenv("VULTUS_GALLERY_KEY", base64.b64encode(os.urandom(32)).decode())
    with tempfile.TemporaryDirectory() as name, opened(f"{name}/people.db") as gallery:  # pytest's folders are closed
        fill(gallery)
        os.chmod(name, 0o755)
        for path in Path(name).glob("people.db*"):
            os.chmod(path, 0o644)
        before = observed(gallery._binding.store), gallery.custody.anchor()
        with nursery_in(tmp_path) as nursery:
            tmp_path.chmod(0o777)
            for kind in ({"number": 50, "person": "dave", **ENROL}, {"number": 51, "kind": "erase", "person": "bob"}):
                process = nursery.start(f"{name}/people.db", nothing(), 0, operations=[kind], user=65534)
                process.gone()
                failed = process.told().failed
                assert failed is not None and len(failed.splitlines()) == 1
                assert any(f"cannot be {what}" in failed for what in ("written", "opened", "read")), failed
        assert (observed(gallery._binding.store), gallery.custody.anchor()) == before
        goes_on(gallery)


def test_a_write_ahead_log_that_was_deleted_is_noticed_by_the_anchor(tmp_path):
    """A power cut cannot do that; whoever copies only the .db file of a killed process can."""
    place = tmp_path / "people.db"
    with nursery_in(tmp_path) as nursery:
        process = nursery.start(place, nothing(), first=1)
        process.after(6)
        process.kill()
        with opened(str(place)) as gallery:
            anchor, head = gallery.custody.anchor(), gallery._binding.store.head()
            # By another process: whoever closes the file here takes SQLite's locks away from this process.
            subprocess.run(["cp", str(place), str(tmp_path / "kept")], check=True)
            again = nursery.start(place, observed(gallery._binding.store), first=1000)
            again.after(4)
            told = again.kill()
            assert len(told.done) >= 4, told.failed
            later = gallery.custody.anchor()
            assert int(later.split(":")[0]) > int(anchor.split(":")[0])
    for path in tmp_path.glob("people.db-*"):
        path.unlink()
    (tmp_path / "kept").replace(place)
    with contextlib.suppress(VultusError), opened(str(place)) as old:
        assert old._binding.store.head() <= head
        assert [one.code for one in old.custody.verify_log()] == ["rolled_back"], "an earlier whole state"
        assert observed(old._binding.store)
        assert old.custody.verify_log([later]) != []


def test_keys_that_are_missing_open_to_others_or_of_another_gallery(gallery, monkeypatch, new_place):
    address, uuid = gallery._binding.place.address, gallery._binding.store.info.uuid
    folder = Path(os.environ["XDG_CONFIG_HOME"]) / "vultus" / "keys"
    path = folder / f"{uuid}.key"
    kept = path.read_bytes()

    def mend() -> None:
        path.unlink(missing_ok=True)
        path.write_bytes(kept)
        path.chmod(0o600)

    with opened(str(new_place())) as other:
        other.create()
        foreign = (folder / f"{other._binding.store.info.uuid}.key").read_bytes()
    path.chmod(0o644)
    refused(gallery, "chmod 600", lambda: opened(address))
    path.chmod(0o600)
    for content in (foreign, b"", b"no key", kept[:-5], b"\xff" * 5000):
        path.write_bytes(content)
        refused(gallery, "key", lambda: opened(address))
    path.unlink()
    refused(gallery, "no key for gallery", lambda: opened(address))
    path.mkdir()
    refused(gallery, "key file", lambda: opened(address))
    path.rmdir()
    mend()
    for value in ("nonsense", "env:", "file:/nonexistent", "command:false", "env:NOT_SET"):
        monkeypatch.setenv("VULTUS_GALLERY_KEY", value)
        refused(gallery, "key|KEY", lambda: opened(address))
    monkeypatch.delenv("VULTUS_GALLERY_KEY")
    goes_on(gallery)
