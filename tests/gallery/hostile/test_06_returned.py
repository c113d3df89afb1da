"""Who was erased and is in the database again is not searched, and is erased again by one command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import insert, select
from typer.testing import CliRunner

from vultus.cli.app import app
from vultus.errors import VultusError
from vultus.gallery import Gallery
from vultus.gallery.store import schema
from vultus.zoo import Contract


class Rows:
    """A recogniser for embeddings that are given; it is never asked for faces."""

    name = "rows"
    contract = Contract("rows", 32, (127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
    calibration = None


def rows(seed: int) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(1, 32)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def opened(place: str | Path) -> Gallery:
    return Gallery.open(place, model=Rows())  # pyright: ignore[reportArgumentType]


def enroll(gallery: Gallery, *names: str) -> None:
    for number, name in enumerate(names):
        gallery.enroll_embeddings(name, rows(number), Rows.contract.id)


def codes(gallery: Gallery) -> list[str]:
    """How enrolling and searching are refused; empty where they are not."""
    found = []
    for act in (lambda: enroll(gallery, "eve"), gallery.custody.snapshot):
        try:
            act()
        except VultusError as error:
            assert "anna" not in str(error.to_dict()) and error.fields.get("count", 1) == 1
            found.append(error.code)
    return found


def run(place: str | Path, *words: str, code: int | None = 0):
    result = CliRunner().invoke(app, ["gallery", *words, "--gallery", str(place), "--json"])
    if isinstance(result.exception, VultusError):  # `main` prints it
        assert code == 2
        return {"error": result.exception.to_dict()}
    assert code in (result.exit_code, None), (result.output, result.exception)
    return json.loads(result.stdout)


def mended(place: str | Path, expected: int = 1) -> None:
    assert len(run(place, "erase", "--returned")["erased"]) == expected
    if run(place, "audit", "--verify", code=None)["findings"]:  # that the copy was older is for somebody to accept
        run(place, "audit", "--accept-rollback", "a copy was put back")
    with opened(place) as gallery:
        assert codes(gallery) == [] and gallery.custody.verify_log() == []
        assert [one.external_id for one in gallery.persons()] == ["bert", "eve"]
        assert gallery.custody.log(kind="erasure_replayed")


def put_back(place: Path) -> None:
    with opened(place) as gallery:
        enroll(gallery, "anna", "bert")
    shutil.copy(place, place.with_suffix(".copy"))
    with opened(place) as gallery:
        gallery.erase("anna")
    shutil.copy(place.with_suffix(".copy"), place)


def test_a_file_that_is_put_back(tmp_path):
    place = tmp_path / "people.db"
    put_back(place)
    with opened(place) as gallery:
        assert codes(gallery) == ["erased_returned"] * 2
        assert gallery.custody.erase_returned().receipts
        assert codes(gallery) == ["rolled_back"] * 2, "asked again after it was made good"
        gallery.custody.accept_rollback("a copy was put back")
        assert codes(gallery) == []
    with opened(place) as gallery:
        assert codes(gallery) == []


def test_what_does_not_search_still_works(tmp_path):
    place = tmp_path / "people.db"
    put_back(place)
    run(place, "info")
    assert [one["code"] for one in run(place, "audit", "--verify", code=1)["findings"]] == ["rolled_back"]
    run(place, "list")
    run(place, "backup", str(tmp_path / "b.vultus"))
    assert run(place, "erase", "--returned", "anna", code=2)["error"]
    mended(place)


def test_a_forgotten_erasure(tmp_path):
    """The copy is from before the person came: they are not there, but neither is their erasure."""
    place = tmp_path / "people.db"
    with opened(place) as gallery:
        enroll(gallery, "bert")
    shutil.copy(place, place.with_suffix(".copy"))
    with opened(place) as gallery:
        enroll(gallery, "anna")
        gallery.erase("anna")
    shutil.copy(place.with_suffix(".copy"), place)
    with opened(place) as gallery:
        assert codes(gallery) == ["erasures_lost"] * 2
    mended(place)


def test_rows_that_are_put_in_again(place):
    tables = (schema.persons, schema.person_keys, schema.templates)
    with opened(place) as gallery:
        enroll(gallery, "anna", "bert")
        store = gallery.custody._binding.store
        anna = gallery.custody.person("anna").person.id
        with store.reading() as connection:
            kept = {
                table: connection.execute(
                    select(table).where((table.c.id if table is schema.persons else table.c.person_id) == anna)
                ).mappings().all()
                for table in tables
            }  # fmt: skip
        gallery.erase("anna")
        with store.database.writing() as connection, connection.begin():
            for table in tables:
                connection.execute(insert(table), [dict(row) for row in kept[table]])
    with opened(place) as gallery:
        assert codes(gallery) == ["erased_returned"] * 2
    mended(place)


def test_a_restore_without_replay_is_meant(tmp_path):
    place = tmp_path / "people.db"
    with opened(place) as gallery:
        enroll(gallery, "anna", "bert")
        gallery.custody.backup(tmp_path / "b.vultus")
        gallery.erase("anna")
    place.unlink()
    run(place, "restore", str(tmp_path / "b.vultus"), "--no-replay")
    with opened(place) as gallery:
        assert codes(gallery) == []
    assert len(list((tmp_path / "people.db.state").glob("erasures.not-replayed-*.jsonl"))) == 1


@pytest.mark.parametrize("words", [("erase",), ("erase", "anna", "--returned")])
def test_one_or_the_other(tmp_path, words):
    assert run(tmp_path / "none.db", *words, code=2)["error"]
