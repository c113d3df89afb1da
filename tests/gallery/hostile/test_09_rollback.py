"""The end of the log cannot be cut, nor an older database put back, without this host or an anchor noticing."""

from __future__ import annotations

import hmac
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from sqlalchemy import delete, select, text, update
from typer.testing import CliRunner

from vultus.cli.app import app
from vultus.errors import VultusError
from vultus.gallery import Gallery
from vultus.gallery.custody import restore
from vultus.gallery.protection.canonical import spell
from vultus.gallery.store import Store, anchors, migrate, schema
from vultus.gallery.store.verification import verify_gallery


def cut_back(store: Store, row: dict) -> None:
    """As somebody would who once read the gallery's row, and may write to the database now."""
    with store.database.writing() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL session_replication_role = replica"))  # no triggers
        else:
            for (trigger,) in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
                connection.execute(text(f"DROP TRIGGER {trigger}"))
        connection.execute(delete(schema.audit).where(schema.audit.c.seq > row["audit_seq"]))
        connection.execute(update(schema.gallery).values(row))


@pytest.fixture
def people(place, recognizer, picture) -> Iterator[Gallery]:
    gallery = Gallery.open(place, recognizer)
    gallery.enroll("alice", picture(1))
    yield gallery
    gallery.close()


def test_a_log_that_was_cut_back_whole_is_refused_by_a_host_that_saw_more(place, people, recognizer, picture):
    store = people._binding.store
    with store.reading() as connection:
        row = dict(connection.execute(select(schema.gallery)).one()._mapping)
    people.identify(picture(7), fpir=0.01)  # the entry that is to disappear
    cut_back(store, row)
    with pytest.raises(VultusError) as open_meanwhile:
        people.identify(picture(1), fpir=0.01)
    assert open_meanwhile.value.code == "rolled_back"
    again = Gallery.open(place, recognizer)
    for act in (lambda: again.identify(picture(1), fpir=0.01), lambda: again.enroll("bob", picture(2))):
        with pytest.raises(VultusError) as refused:
            act()
        assert refused.value.code == "rolled_back" and refused.value.fields["seen"] == row["audit_seq"] + 1
    assert [finding.code for finding in again.custody.verify_log()] == ["rolled_back"]
    again.custody.accept_rollback("the disk was lost")
    assert again.identify(picture(1), fpir=0.01)[0].decision.person == "alice"
    assert again.custody.verify_log() == []
    with pytest.raises(VultusError) as nothing:
        again.custody.accept_rollback("again")
    assert nothing.value.code == "not_rolled_back"
    again.close()
    later = Gallery.open(place, recognizer)
    assert later.custody.verify_log() == []
    later.close()


def test_another_host_accepts_what_one_has_accepted_but_no_older_copy(tmp_path, recognizer, picture):
    people = Gallery.open(tmp_path / "a.db", recognizer)
    people.enroll("alice", picture(1))
    people.close()
    for name in ("older.db", "other.db"):
        shutil.copy(tmp_path / "a.db", tmp_path / name)
    people = Gallery.open(tmp_path / "a.db", recognizer)
    people.enroll("bob", picture(2))
    people.close()
    state = tmp_path / "a.db.state"
    shutil.copytree(state, tmp_path / "other.db.state")  # what another host saw of the newer database
    shutil.copy(tmp_path / "older.db", tmp_path / "a.db")
    one = Gallery.open(tmp_path / "a.db", recognizer)
    one.custody.accept_rollback("restored by hand")
    one.close()
    with pytest.raises(VultusError) as refused:
        Gallery.open(tmp_path / "other.db", recognizer).identify(picture(1), fpir=0.01)
    assert refused.value.code == "rolled_back"
    shutil.copy(tmp_path / "a.db", tmp_path / "other.db")
    other = Gallery.open(tmp_path / "other.db", recognizer)
    assert other.identify(picture(1), fpir=0.01)[0].decision.person == "alice"
    other.close()


def test_an_older_head_lies_in_the_chain_and_a_damaged_one_is_no_fault(place, people, recognizer, picture):
    path = people._binding.store.state / anchors.NAME
    before = path.read_bytes()
    people.enroll("bob", picture(2))
    assert path.read_bytes() != before and len(before) == anchors.BYTES
    for content in (before, b"", b"{}", before.replace(b'"seq": ', b'"seq": 9')):
        path.write_bytes(content)
        again = Gallery.open(place, recognizer)
        assert again.identify(picture(1), fpir=0.01)
        assert again.custody.verify_log() == []
        again.close()


def test_a_restore_moves_the_head(place, people, recognizer, picture, tmp_path):
    if "://" in str(place):
        pytest.skip("a PostgreSQL database is restored into an empty one; the SQLite file is replaced here")
    made = people.custody.backup(tmp_path / "people.backup")
    people.enroll("bob", picture(2))
    people.close()
    Path(place).unlink()
    restore(made.path, place)
    again = Gallery.open(place, recognizer)
    assert [one.external_id for one in again.persons()] == ["alice"]
    assert again.identify(picture(1), fpir=0.01)[0].decision.person == "alice"
    assert again.custody.verify_log() == []
    again.close()


class Webhook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))  # pyright: ignore
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_an_anchor_is_sent_to_a_file_and_a_webhook_and_verified_from_the_file(place, people, tmp_path):
    server = HTTPServer(("127.0.0.1", 0), Webhook)
    server.got = []  # pyright: ignore
    threading.Thread(target=server.serve_forever, daemon=True).start()
    at = ["--gallery", str(place), "--json"]
    kept = tmp_path / "anchors.txt"
    targets = [f"file:{kept}", f"http://127.0.0.1:{server.server_port}/anchors"]
    words = ["gallery", "audit", *(word for one in targets for word in ("--anchor-to", one)), *at]
    done = CliRunner().invoke(app, words)
    server.shutdown()
    assert done.exit_code == 0, done.output
    anchor = json.loads(done.stdout)["anchor"]
    assert kept.read_text().split()[0] == anchor == server.got[0]["anchor"]  # pyright: ignore
    done = CliRunner().invoke(app, ["gallery", "audit", "--verify", "--anchor", f"file:{kept}", *at])
    assert done.exit_code == 0 and json.loads(done.stdout)["whole"]
    kept.write_text(f"1:{'0' * 64} 2030-01-01 x\n")
    done = CliRunner().invoke(app, ["gallery", "audit", "--verify", "--anchor", f"file:{kept}", *at])
    assert done.exit_code == 1 and [one["code"] for one in json.loads(done.stdout)["findings"]] == ["anchor"]
    for target in (f"file:{tmp_path / 'none' / 'x'}", "ftp://x", "http://127.0.0.1:1/"):
        with pytest.raises(VultusError) as refused:
            people.custody.send_anchor([target])
        assert refused.value.code == "anchor_not_sent"


def older(place) -> None:
    """Take from a gallery what version 0002 of its tables brought, as an older vultus would have left it."""
    store = Store.open(place)
    with store.database.writing() as connection, connection.begin():
        row = connection.execute(select(schema.gallery)).one()
        head = b"vultus audit head 1\n" + spell([row.audit_seq, row.audit_mac])
        seal = hmac.digest(store.audit_key, head, "sha256").hex()
        connection.execute(update(schema.gallery).values(audit_seal=seal))
        settings = connection.execute(select(schema.collections.c.settings)).scalar_one()
        connection.execute(update(schema.collections).values(settings={**settings, "extrapolate": True}))
        for name in ("doubted_since", "sealed_tally", "restored_seq"):
            connection.execute(text(f"ALTER TABLE gallery DROP COLUMN {name}"))
        connection.execute(text("ALTER TABLE collections DROP COLUMN calibration_digest"))
        for table in schema.SEALED:
            if "mac" in table.columns:
                connection.execute(text(f"ALTER TABLE {table.name} DROP COLUMN mac"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    store.close()


def test_an_older_gallery_is_brought_along_by_upgrade(place, people, recognizer, picture):
    people.custody.update("alice", name="Alice", metadata={"room": 12, "share": 0.1})
    people.close()
    older(place)
    with pytest.raises(VultusError):
        Store.open(place)
    done = CliRunner().invoke(app, ["gallery", "upgrade", "--gallery", str(place), "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout) == {"from": "0001", "to": migrate.HEAD}, done.output
    again = Gallery.open(place, recognizer)
    assert again.identify(picture(1), fpir=0.01)[0].decision.person == "alice"
    assert again.custody.verify_log() == []
    again.close()
    store = Store.open(place)
    assert verify_gallery(store) == []
    store.close()
    done = CliRunner().invoke(app, ["gallery", "upgrade", "--gallery", str(place), "--json"])
    assert json.loads(done.stdout) == {"from": migrate.HEAD, "to": migrate.HEAD}
