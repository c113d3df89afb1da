"""A ledger is whole, but for a line that a crash tore, or it is refused by the number of the line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from vultus.cli.app import app
from vultus.errors import VultusError
from vultus.gallery.custody import backup, catch_up, erase, ledger, refusals
from vultus.gallery.custody.ledger import LedgerDamaged, ledger_path
from vultus.gallery.store import Store

from ..custody.conftest import People


@pytest.fixture
def people(tmp_path: Path):
    """Four people in a backup, three of them erased after it."""
    made = People(tmp_path / "people.db")
    for name in ("anna", "bert", "cleo", "dora"):
        made.add(name)
    backup(made.store, tmp_path / "b.vultus")
    erase(made.store, "staff", ["anna", "bert"])
    erase(made.store, "staff", "cleo")
    yield made
    made.store.close()


def check(store: Store, content: bytes) -> int:
    """The line that is named when a ledger with this content is read."""
    path = store.state.parent / "given.jsonl"
    path.write_bytes(content)
    with pytest.raises(LedgerDamaged) as refused:
        ledger.read(path, store.info.uuid, store.info.public_key)
    assert refused.value.code == "ledger_damaged"
    return refused.value.fields["line"]


def test_every_flipped_bit_is_found(people):
    content = ledger_path(people.store).read_bytes()
    rng = np.random.default_rng(0)
    ends = [at for at, byte in enumerate(content) if byte == 10]
    for at in [*ends, *rng.integers(0, len(content), 300)]:
        changed = bytearray(content)
        changed[at] ^= 1 << int(rng.integers(8))
        line = content[:at].count(b"\n") + 1
        assert check(people.store, bytes(changed)) in (line, line + 1)


def test_what_was_cut_reordered_or_put_in_is_named(people):
    content = ledger_path(people.store).read_bytes()
    first, one, two, three = content.splitlines(keepends=True)
    assert check(people.store, b"") == 1
    assert check(people.store, first[:100]) == 1
    assert check(people.store, one + two + three) == 1
    assert check(people.store, first + two + three) == 2
    assert check(people.store, first + one + three) == 3
    assert check(people.store, first + one + three + two) == 3
    assert check(people.store, first + one + one + two + three) == 3
    assert check(people.store, first + one + b"none\n" + two + three) == 3
    assert check(people.store, first + one + b"\n" + two + three) == 3
    assert check(people.store, content + b"none") == 5


def restored(folder: Path, given: Path | None, code: int, *words: str) -> dict:
    words = ("--ledger", str(given), *words) if given else words
    place = folder / "new" / "back.db"
    place.parent.mkdir(exist_ok=True)
    result = CliRunner().invoke(
        app, ["gallery", "restore", str(folder / "b.vultus"), "--gallery", str(place), "--json", *words]
    )
    if isinstance(result.exception, VultusError):  # `main` prints it
        assert code == 2
        return {"error": result.exception.to_dict()}
    assert result.exit_code == code, (result.output, result.exception)
    assert place.exists() is (code == 0)
    return json.loads(result.stdout)


def test_a_restore_names_the_line(people, tmp_path):
    content = ledger_path(people.store).read_bytes()
    given = tmp_path / "given.jsonl"
    for damaged, line in ((b"", 1), (content.replace(b"erased_at", b"erased_aT", 1), 2), (content[:50], 1)):
        given.write_bytes(damaged)
        error = restored(tmp_path, given, 2)["error"]
        assert (error["code"], error["line"]) == ("ledger_damaged", line)
    given.write_bytes(content + content.splitlines()[-1][:30])
    assert restored(tmp_path, given, 2)["error"]["code"] == "ledger_damaged", "that is not what follows"
    given.write_bytes(content[:-200])  # torn
    assert restored(tmp_path, given, 0)["replayed"] == 2


def test_a_ledger_older_than_the_backup_is_refused(people, tmp_path):
    shutil.copy(ledger_path(people.store), tmp_path / "old.jsonl")
    erase(people.store, "staff", "dora")
    (tmp_path / "b.vultus").unlink()
    backup(people.store, tmp_path / "b.vultus")
    error = restored(tmp_path, tmp_path / "old.jsonl", 2)["error"]
    assert (error["code"], error["count"]) == ("ledger_incomplete", 1)
    assert restored(tmp_path, ledger_path(people.store), 0)["replayed"] == 0


def test_a_gallery_without_erasures_has_a_ledger_that_says_so(tmp_path):
    people = People(tmp_path / "people.db")
    people.add("anna")
    assert not refusals(people.store)
    catch_up(people.store)
    backup(people.store, tmp_path / "b.vultus")
    assert restored(tmp_path, ledger_path(people.store), 0)["persons"] == 1
    people.store.close()


def test_a_damaged_ledger_is_made_anew_where_the_database_is_whole(people):
    path = ledger_path(people.store)
    content = path.read_bytes()
    damaged = content.replace(b"erased_at", b"erased_aT", 1)
    path.write_bytes(damaged)
    catch_up(people.store)
    info = people.store.info
    assert len(ledger.read(path, info.uuid, info.public_key).receipts) == 3
    [aside] = path.parent.glob("erasures.damaged-*.jsonl")
    assert aside.read_bytes() == damaged and refusals(people.store) == []


def test_a_damaged_ledger_that_tells_more_than_the_database_stops_the_gallery(people, tmp_path):
    """The database forgot an erasure, and the line that tells of it was changed."""
    path = ledger_path(people.store)
    people.store.close()
    shutil.copy(tmp_path / "people.db", tmp_path / "before.db")
    people.store = Store.open(people.place)
    erase(people.store, "staff", "dora")
    people.store.close()
    shutil.copy(tmp_path / "before.db", tmp_path / "people.db")
    *lines, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines) + last.replace(b"erased_at", b"erased_aT", 1))
    people.store = Store.open(people.place)
    catch_up(people.store)
    assert [error.code for error in refusals(people.store)] == ["ledger_damaged", "rolled_back"]
    assert list(path.parent.glob("erasures.damaged-*.jsonl")) == []


def test_a_new_gallery_where_another_was_begins_its_own(people, tmp_path):
    people.store.close()
    (tmp_path / "people.db").unlink()
    people.store = Store.create(tmp_path / "people.db")
    catch_up(people.store)
    assert refusals(people.store) == []
    [aside] = people.store.state.glob("erasures.other-gallery-*.jsonl")
    assert len(aside.read_bytes().splitlines()) == 4
