"""The ledger of erasures: one receipt a line, whatever happens to the process."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from multiprocessing.pool import ThreadPool

import pytest

from vultus.errors import FileError, VultusError
from vultus.gallery.custody import erase, ledger
from vultus.gallery.protection import Receipt, SigningKey
from vultus.gallery.store import Store


def receipt(store: Store, number: int, key: SigningKey | None = None) -> Receipt:
    return Receipt.sign(
        key or store.signing_key,
        gallery_id=store.info.uuid,
        collection_id="c",
        person_uuid=f"p{number}",
        erased_at="2030-01-01T00:00:00+00:00",
        templates=1,
        crops=0,
        reason="",
        audit_seq=number,
    )


def written(store: Store) -> ledger.Ledger:
    return ledger.read(ledger.ledger_path(store), store.info.uuid, store.info.public_key)


def test_the_file_is_for_its_owner_alone(people):
    store = people.store
    assert ledger.mend(store) == 0 and written(store).receipts == ()
    one, two, three = (receipt(store, number) for number in (1, 2, 3))
    ledger.append(store, [one])
    ledger.append(store, [two, three])
    path = ledger.ledger_path(store)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert written(store).receipts == (one, two, three)
    with pytest.raises(FileError) as missing:
        ledger.read(path.parent / "none", store.info.uuid, store.info.public_key)
    assert missing.value.code == "no_file"


def test_a_torn_line_costs_no_other(people):
    for name in ("anna", "bert"):
        people.add(name)
    [first] = erase(people.store, "staff", "anna").receipts
    path = ledger.ledger_path(people.store)
    before = path.stat().st_size
    [second] = erase(people.store, "staff", "bert").receipts
    whole = path.read_bytes()
    for cut in (1, 40, 300, len(whole) - before - 2):
        path.write_bytes(whole[: before + cut])
        assert written(people.store).receipts == (first,)
        assert ledger.mend(people.store) == 1 and path.read_bytes() == whole
    path.write_bytes(whole[:-1])  # only the end of the line is missing
    assert written(people.store).receipts == (first, second)
    assert ledger.mend(people.store) == 0 and path.read_bytes() == whole


def test_what_the_file_lost_comes_back_from_the_database(people):
    for name in ("anna", "bert", "cleo"):
        people.add(name)
    receipts = erase(people.store, "staff", ["anna", "bert", "cleo"]).receipts
    path = ledger.ledger_path(people.store)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:50])
    assert ledger.mend(people.store) == 2
    assert sorted(written(people.store).receipts, key=str) == sorted(receipts, key=str)
    path.unlink()
    assert ledger.mend(people.store) == 3


def test_threads_and_processes_write_whole_lines(people):
    store = people.store
    ledger.mend(store)
    code = f"""
import sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from vultus.gallery.custody import ledger
from vultus.gallery.protection import Receipt
from vultus.gallery.store import Store
store = Store.open({str(people.place)!r})
for line in sys.stdin.read().splitlines():
    ledger.append(store, [Receipt.from_json(line)])
"""
    others = "\n".join(receipt(store, n).to_json() for n in range(100, 120))
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True)
    with ThreadPool(4) as pool:
        waiting = pool.map_async(lambda n: ledger.append(store, [receipt(store, n)]), range(40))
        process.communicate(others)
        waiting.get()
    assert process.returncode == 0
    assert written(store).people == {f"p{n}" for n in [*range(40), *range(100, 120)]}
    assert len(written(store).lines) == 61


def test_a_full_disk_leaves_no_half_line(people):
    store = people.store
    ledger.mend(store)
    ledger.append(store, [receipt(store, 1)])
    path = ledger.ledger_path(people.store)
    code = f"""
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from vultus.errors import FileError, VultusError
from vultus.gallery.custody import ledger
from vultus.gallery.protection import Receipt
from vultus.gallery.store import Store
store = Store.open({str(people.place)!r})
receipt = Receipt.from_json(sys.stdin.read())
resource.setrlimit(resource.RLIMIT_FSIZE, ({path.stat().st_size + 100},) * 2)
try:
    ledger.append(store, [receipt])
except VultusError as error:
    sys.exit(0 if "make room" in str(error) else 1)
sys.exit(2)
"""
    done = subprocess.run([sys.executable, "-c", code], input=receipt(store, 2).to_json(), text=True, check=False)
    assert done.returncode == 0
    assert written(store).receipts == (receipt(store, 1),) and path.read_bytes().endswith(b"}\n")


def test_a_folder_that_cannot_be_written_is_named(people, tmp_path):
    shutil.rmtree(people.store.state, ignore_errors=True)
    people.store.state.parent.mkdir(parents=True, exist_ok=True)
    people.store.state.write_text("in the way")
    with pytest.raises(VultusError, match="cannot write the ledger"):
        ledger.append(people.store, [receipt(people.store, 1)])
