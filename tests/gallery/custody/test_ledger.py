"""The ledger of erasures: one receipt a line, whatever happens to the process."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import replace
from multiprocessing.pool import ThreadPool

import pytest

from vultus.errors import VultusError
from vultus.gallery.custody import erase, ledger
from vultus.gallery.protection import ProtectionError, Receipt, SigningKey

KEY = SigningKey.new()


def receipt(number: int, gallery: str = "g", key: SigningKey = KEY) -> Receipt:
    return Receipt.sign(
        key,
        gallery_id=gallery,
        collection_id="c",
        person_uuid=f"p{number}",
        erased_at="2030-01-01T00:00:00+00:00",
        templates=1,
        crops=0,
        reason="",
        audit_seq=number,
    )


def test_the_file_is_for_its_owner_alone(people):
    ledger.append(people.store, [receipt(1)])
    ledger.append(people.store, [receipt(2), receipt(3)])
    path = ledger.ledger_path(people.store)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert ledger.read(path, KEY.public) == [receipt(1), receipt(2), receipt(3)]
    assert ledger.read(path.parent / "none") == []


def test_a_torn_line_costs_no_other(people):
    path = ledger.ledger_path(people.store)
    for cut in (1, 40, len(receipt(2).to_json())):
        path.unlink(missing_ok=True)
        ledger.append(people.store, [receipt(1), receipt(2)])
        os.truncate(path, path.stat().st_size - 1 - len(receipt(2).to_json()) + cut)
        assert receipt(1) in ledger.read(path)
        ledger.append(people.store, [receipt(2), receipt(3)])
        assert ledger.read(path) == [receipt(1), receipt(2), receipt(3)]


def test_a_forged_line_is_found(people):
    ledger.append(people.store, [receipt(1), receipt(2, key=SigningKey.new())])
    with pytest.raises(ProtectionError, match=r"line 2 of the ledger .* signed with another key"):
        ledger.read(ledger.ledger_path(people.store), KEY.public)


def test_what_the_file_lost_comes_back_from_the_database(people):
    for name in ("anna", "bert", "cleo"):
        people.add(name)
    receipts = erase(people.store, "staff", ["anna", "bert", "cleo"]).receipts
    path = ledger.ledger_path(people.store)
    path.write_text(f"{receipts[1].to_json()}\n{receipts[0].to_json()[:50]}")
    assert ledger.catch_up(people.store) == 2
    assert sorted(ledger.read(path), key=str) == sorted(receipts, key=str)
    path.unlink()
    assert ledger.catch_up(people.store) == 3


def test_who_is_present_in_spite_of_a_receipt_is_told(people):
    people.add("anna")
    people.add("bert")
    anna = people.find("anna")
    [gone] = erase(people.store, "staff", "bert").receipts
    back = replace(gone, person_uuid=anna.uuid)  # as if a backup from before had been restored
    assert ledger.missing_from(people.store, [gone, back]) == [anna.uuid]
    assert ledger.missing_from(people.store, [receipt(1)]) == []


def test_threads_and_processes_write_whole_lines(people):
    path = ledger.ledger_path(people.store)
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
    others = "\n".join(receipt(n).to_json() for n in range(100, 120))
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True)
    with ThreadPool(4) as pool:
        waiting = pool.map_async(lambda n: ledger.append(people.store, [receipt(n)]), range(40))
        process.communicate(others)
        waiting.get()
    assert process.returncode == 0
    assert {one.person_uuid for one in ledger.read(path)} == {f"p{n}" for n in [*range(40), *range(100, 120)]}
    assert len(path.read_bytes().splitlines()) == 60


def test_a_full_disk_leaves_no_half_line(people):
    ledger.append(people.store, [receipt(1)])
    path = ledger.ledger_path(people.store)
    code = f"""
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from vultus.errors import VultusError
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
    done = subprocess.run([sys.executable, "-c", code], input=receipt(2).to_json(), text=True, check=False)
    assert done.returncode == 0
    assert ledger.read(path) == [receipt(1)] and path.read_bytes().endswith(b"}\n")


def test_a_folder_that_cannot_be_written_is_named(people, tmp_path):
    people.store.state.parent.mkdir(parents=True, exist_ok=True)
    people.store.state.write_text("in the way")
    with pytest.raises(VultusError, match="cannot write the ledger"):
        ledger.append(people.store, [receipt(1)])
