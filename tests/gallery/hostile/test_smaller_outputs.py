"""What is written after an act is opened before it; a receipt that its file does not take is not lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vultus.cli.app import app
from vultus.errors import VultusError
from vultus.gallery import Gallery

from .test_06_returned import enroll, opened


@pytest.fixture
def place(tmp_path) -> Path:
    with opened(tmp_path / "people.db") as gallery:
        enroll(gallery, "anna", "bert")
    return tmp_path / "people.db"


def run(place: Path, *words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["gallery", *words, "--gallery", str(place)])
    if isinstance(result.exception, VultusError):  # `main` prints it
        assert code == 2
        return json.dumps({"error": result.exception.to_dict()})
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout


def names(place: Path) -> list[str]:
    with Gallery.open(place) as gallery:
        return [one.external_id for one in gallery.persons()]


@pytest.mark.parametrize("bad", ["missing/receipts.jsonl", "."])
def test_nobody_is_erased_where_receipts_cannot_be_written(place, tmp_path, bad):
    error = json.loads(run(place, "erase", "anna", "--receipts", str(tmp_path / bad), "--json", code=2))["error"]
    assert error["code"] == "unwritable" and names(place) == ["anna", "bert"]


def test_a_full_disk_does_not_lose_the_receipt(place):
    text = run(place, "erase", "anna", "--receipts", "/dev/full", code=1)
    [receipt] = [json.loads(line.removeprefix("receipt: ")) for line in text.splitlines() if "receipt: " in line]
    assert receipt["templates"] == 1 and names(place) == ["bert"]
    ledger = (place.parent / "people.db.state" / "erasures.jsonl").read_text()
    assert receipt["signature"] in ledger
    document = json.loads(run(place, "erase", "bert", "--receipts", "/dev/full", "--json", code=1))
    assert len(document["erased"]) == 1 and names(place) == []


def test_backup_and_export_over_a_device(place):
    for words in (("backup", "/dev/full", "--overwrite"), ("export", "anna", "--out", "/dev/full")):
        assert json.loads(run(place, *words, "--json", code=2))["error"]["code"] in ("not_a_file", "no_zip")
    assert Path("/dev/full").is_char_device()
