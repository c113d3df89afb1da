"""`vultus gallery` as a user meets it: answers, --json, exit codes, mistakes in one line. No model is loaded."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import vultus.gallery as gallery_room
from vultus.cli.app import app
from vultus.errors import VultusError
from vultus.gallery import Gallery
from vultus.gallery.custody import ConsentGiven
from vultus.gallery.settings import Settings
from vultus.zoo import Contract, model_file
from vultus.zoo.locate import find_file


class Rows:
    """A recogniser for embeddings that are given; it is never asked for faces."""

    name = "rows"
    contract = Contract("rows", 32, (127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
    calibration = None


def rows(count: int, seed: int) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(count, 32)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("VULTUS_ACTOR", "tester")
    monkeypatch.delenv("VULTUS_GALLERY_KEY", raising=False)
    monkeypatch.setenv("VULTUS_GALLERY", str(tmp_path / "people.db"))
    monkeypatch.chdir(tmp_path)
    with Gallery.open("people.db", model=Rows(), settings={"purpose": "door"}) as gallery:  # pyright: ignore
        given = ConsentGiven("GDPR art. 9(2)(a)")
        for number, name in enumerate(("alice", "bob", "carol")):
            gallery.enroll_embeddings(
                name, rows(2, number), Rows.contract.id, name=name.title(), metadata={"room": number}, consent=given
            )
    return tmp_path / "people.db"


def run(*words: str, code: int = 0):
    result = CliRunner().invoke(app, ["gallery", *words])
    if isinstance(result.exception, Exception) and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def answer(*words: str, code: int = 0):
    """What --json says, with nothing else on stdout."""
    return json.loads(run(*words, "--json", code=code).stdout)


def test_the_list_is_filtered_limited_and_goes_on(place):
    assert [one["external_id"] for one in answer("list")] == ["alice", "bob", "carol"]
    assert [one["external_id"] for one in answer("list", "--where", "room=1")] == ["bob"]
    assert answer("list", "--where", 'room="1"') == []
    text = run("list", "--limit", "2").stdout
    assert "Bob" in text and "carol" not in text and "--after 'bob'" in text
    assert [one["external_id"] for one in answer("list", "--after", "bob")] == ["carol"]


def test_a_person_is_shown_and_loses_a_template(place):
    shown = answer("show", "alice")
    assert shown["name"] == "Alice" and len(shown["consents"]) == 1 and "id" not in shown
    first, second = (one["id"] for one in shown["templates"])
    text = run("show", "alice").stdout
    assert "Alice" in text and "2 templates" in text and "GDPR" in text
    assert answer("remove-template", "alice", str(first))["templates"] == 1
    assert [one["id"] for one in answer("show", "alice")["templates"]] == [second]
    with pytest.raises(VultusError, match="no template"):
        run("remove-template", "alice", str(first))


def test_erasing_gives_a_receipt_that_is_verified_without_the_gallery(place):
    key = answer("info")["public_key"]
    run("erase", "bob", "--receipts", "receipts.jsonl", "--reason", "asked")
    assert [one["external_id"] for one in answer("list")] == ["alice", "carol"]
    assert "genuine" in run("receipt", "verify", "receipts.jsonl", "--public-key", key).stdout
    receipt = Path("receipts.jsonl").read_text()
    Path("forged.jsonl").write_text(receipt.replace('"templates":2', '"templates":1'))
    assert not answer("receipt", "verify", "forged.jsonl", code=1)[0]["genuine"]
    Path("other.txt").write_text("x")
    with pytest.raises(VultusError, match="no erasure receipt"):
        run("receipt", "verify", "other.txt")


def test_nobody_is_erased_where_one_is_unknown_or_the_receipts_cannot_be_written(place):
    with pytest.raises(VultusError, match="carol"):
        run("erase", "alice", "carl")
    with pytest.raises(VultusError, match="receipts"):
        run("erase", "alice", "--receipts", "nowhere/receipts.jsonl")
    assert len(answer("list")) == 3


def test_consent_is_added_withdrawn_and_swept(place):
    Path("text.txt").write_text("I agree")
    run("settings", "require_consent=true")
    added = answer(
        "consent", "add", "bob", "--basis", "GDPR art. 9(2)(a)", "--text", "text.txt", "--expires", "2999-01-01"
    )
    assert added["purpose"] == "door" and len(added["text_digest"]) == 64
    assert len(answer("consent", "list", "bob")) == 2
    assert answer("consent", "withdraw", "bob")["status"] == "suspended"
    assert [one["external_id"] for one in answer("sweep")["due"]] == ["bob"]
    assert len(answer("list")) == 3, "a sweep only lists unless it is told to erase"
    assert len(answer("sweep", "--erase")["erased"]) == 1
    assert len(answer("list")) == 2 and answer("sweep")["due"] == []


def test_withdrawing_where_no_consent_is_required_says_that_they_are_still_searched(place):
    told = run("consent", "withdraw", "bob")
    assert "does not require consent: bob is still searched" in told.stderr and told.stderr.count("\n") == 1
    assert "still" not in run("consent", "withdraw", "alice", "--json").stdout
    run("settings", "require_consent=true")
    assert run("consent", "withdraw", "carol").stderr == ""


def test_retention_is_set_and_unset(place):
    assert answer("retain", "bob", "--until", "2999-01-01")["retain_until"].startswith("2999-01-01")
    assert answer("retain", "bob", "--default")["retain_until"] is None
    for words in ((), ("--until", "2999-01-01", "--default"), ("--until", "soon")):
        with pytest.raises(VultusError):
            run("retain", "bob", *words)


def test_settings_are_shown_changed_and_checked(place):
    assert answer("settings")["purpose"] == "door"
    assert answer("settings", "retention_days=30", "fusion=2")["retention_days"] == 30
    assert answer("settings", "retention_days=null")["retention_days"] is None
    for word, told in (("retention=3", "retention_days"), ("fusion=0", "fusion"), ("fusion", "NAME=VALUE")):
        with pytest.raises(VultusError, match=told):
            run("settings", word)
    assert answer("settings")["fusion"] == 2
    assert "require_consent" in run("settings").stdout


def test_the_log_is_listed_verified_and_a_change_is_found(place):
    assert [one["kind"] for one in answer("audit", "--kind", "enrolled")] == ["enrolled"] * 3
    assert {one["subject"] for one in answer("audit", "--person", "alice")} != {None}
    assert "enrolled by tester about" in run("audit").stdout
    anchor = answer("audit", "--anchor-out")["anchor"]
    assert answer("audit", "--verify", "--anchor", anchor)["whole"]
    with sqlite3.connect(place) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("UPDATE audit SET actor = 'nobody' WHERE seq = 3")
    connection.close()
    assert answer("audit", "--verify", code=1)["findings"][0]["seq"] == 3
    assert "tampered" in run("audit", "--verify", code=1).stdout
    with pytest.raises(VultusError, match="--verify"):
        run("audit", "--anchor", anchor)


def test_the_newest_entries_of_the_log_are_listed_or_all_from_the_start(place):
    every = [one["seq"] for one in answer("audit", "--after", "0", "--limit", "1000")]
    assert every == list(range(1, len(every) + 1)) and len(every) > 5
    assert [one["seq"] for one in answer("audit", "--limit", "2")] == every[-2:]
    assert [one["seq"] for one in answer("audit", "--limit", "2", "--after", "1")] == [2, 3]
    assert [one["seq"] for one in answer("audit", "--kind", "enrolled", "--limit", "1")] == every[-1:]


def test_no_output_takes_the_place_of_an_input(place, tmp_path):
    """Under another name of the same file, too; nothing is changed."""
    picture, listed = tmp_path / "a.jpg", tmp_path / "people.csv"
    Image.new("RGB", (64, 64)).save(picture)
    listed.write_text("person,image\nzoe,a.jpg\n")
    os.link(picture, tmp_path / "b.jpg")
    os.symlink(place, tmp_path / "link.db")
    model = shutil.copy(find_file(model_file("sface", "recognizer"), None), tmp_path / "m.onnx")
    os.chmod(model, 0o600)
    before = {path: path.read_bytes() for path in (picture, listed, place, model)}
    commands = [
        ["gallery", "identify", "a.jpg", "--draw", "b.jpg"],
        ["gallery", "identify", "a.jpg", "--draw", "./a.jpg"],
        ["gallery", "import", "people.csv", "--report", "people.csv"],
        ["gallery", "backup", "link.db", "--overwrite"],
        ["gallery", "erase", "alice", "--receipts", "link.db"],
        ["export", "m.onnx", "--out", "./m.onnx"],
        ["evaluate", "m.onnx", "nowhere", "--calibration", "m.onnx"],
    ]
    for words in commands:
        result = CliRunner().invoke(app, words)
        assert isinstance(result.exception, VultusError) and result.exception.code == "output_is_input", words
    assert {path: path.read_bytes() for path in before} == before


def test_each_setting_says_what_it_means(place):
    text = run("settings").stdout
    for name, meaning in Settings.explained().items():
        assert len(meaning) > 20 and f"{name}=" in text and " ".join(meaning.split()[:6]) in text


def test_a_gallery_where_nobody_was_ever_erased_is_restored(place):
    run("backup", "people.vbk")
    place.unlink()
    assert answer("restore", "people.vbk")["persons"] == 3


def test_a_backup_is_restored_without_who_was_erased_since(place):
    assert answer("backup", "copy.vbk")["persons"] == 3
    with pytest.raises(VultusError, match=r"already.*--overwrite"):
        run("backup", "copy.vbk")
    run("erase", "alice")
    with pytest.raises(VultusError, match="already"):
        run("restore", "copy.vbk")
    done = answer("restore", "copy.vbk", "--gallery", "new.db", "--ledger", "people.db")
    assert (done["persons"], done["replayed"]) == (2, 1)
    assert [one["external_id"] for one in answer("list", "--gallery", "new.db")] == ["bob", "carol"]
    again = run("restore", "copy.vbk", "--gallery", "third.db", "--no-replay").stderr
    assert "consents withdrawn and templates removed since the backup" in again and again.count("\n") == 1


def test_keys_and_rotation_are_renewed(place):
    before = answer("info")["key_id"]
    done = answer("rotate-key")
    assert done["old_id"] == before and answer("info")["key_id"] == done["new_id"] != before
    assert answer("renew")["templates"] == 6
    assert Path(answer("snapshot")["path"]).exists()
    assert len(answer("list")) == 3


def test_what_is_held_of_a_person_is_exported(place):
    run("export", "alice", "--out", "alice.zip")
    assert Path("alice.zip").stat().st_mode & 0o777 == 0o600
    with pytest.raises(VultusError, match="already"):
        run("export", "alice", "--out", "alice.zip")


def test_info_and_collections(place):
    info = answer("info")
    assert info["collection"]["persons"] == 3 and info["collection"]["settings"]["purpose"] == "door"
    assert info["followers"] == [] and "public key" in run("info").stdout
    assert [(one["name"], one["templates"]) for one in answer("collections")] == [("default", 6)]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show", "alcie"), "alice"),
        (("list", "--collection", "other"), "default"),
        (("list", "--gallery", "none.db"), "none.db"),
        (("list", "--gallery", "mysql://host/x"), "mysql"),
        (("list", "--key", "secret"), "--key"),
        (("list", "--key", "file:none.key"), "none.key"),
        (("list", "--where", "room"), "KEY=VALUE"),
        (("list", "--where", "room=1", "--where", "room=2"), "twice"),
        (("enroll", "x", "x.png", "--consent-purpose", "door"), "--consent-basis"),
        (("enroll", "x", "x.png", "--consent-basis", "b", "--consent-text", "none.txt"), "none.txt"),
        (("identify", "a.png", "b.png", "--draw", "out.png"), "one photograph"),
        (("restore", "people.db", "--gallery", "new.db"), "people.db"),
        (("follow", "nonsense"), "nonsense"),
        (("audit", "--verify", "--anchor-out"), "one of"),
        (("audit", "--kind", "erase"), "erased"),
        (("identify", "a.png", "--draw", "out.xyz"), ".png"),
        (("reembed", "sface", "--compatible", "x.json", "--leave-behind"), "--compatible"),
        (("audit", "--verify", "--anchor", "x"), "anchor"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_thing(place, words, told):
    with pytest.raises(VultusError) as caught:
        run(*words)
    assert told in str(caught.value) and "\n" not in str(caught.value)
    assert not Path("new.db").exists() and not Path("none.db").exists()


def test_every_kind_of_entry_can_be_listed():
    from vultus.cli.gallery.log import KINDS

    source = "".join(path.read_text() for path in Path(gallery_room.__file__).parent.rglob("*.py"))
    assert set(re.findall(r'\.audit\(\s*"(\w+)"', source)) == set(KINDS)


def test_paths_cannot_steer_the_terminal():
    from vultus.cli.gallery.command import shown

    assert shown("a\x1b[2Jb\nc") == "a\\x1b[2Jb\\nc" and shown("Zoë 张") == "Zoë 张"


def test_real_photographs(shared, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("VULTUS_GALLERY", str(tmp_path / "people.db"))
    monkeypatch.setenv("VULTUS_MODELS", str(shared / "weights"))
    monkeypatch.delenv("VULTUS_GALLERY_KEY", raising=False)
    faces = shared / "faces"
    for name in ("al_pacino", "abdullah_gul"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.jpg").write_bytes((faces / name / "001.jpg").read_bytes())
    run("create", "--model", "sface", "--set", "purpose=door")
    with pytest.raises(VultusError, match="exists already"):
        run("create", "--model", "sface")
    assert answer("import", str(tmp_path / "photos"))["enrolled"] == 2
    (tmp_path / "photos" / "new").mkdir()
    assert answer("import", str(tmp_path / "photos"), "--new-only")["left_out"] == 2
    enrolled = answer("enroll", "al_pacino", str(faces / "al_pacino" / "002.jpg"), "--meta", "city=Rome")
    assert enrolled["templates"] == 1
    probe, stranger = str(faces / "al_pacino" / "003.jpg"), str(faces / "adam_freier" / "001.jpg")
    found = answer("identify", probe, stranger)
    decisions = [photo["faces"][0]["decision"] for photo in found["photographs"]]
    assert [one["kind"] for one in decisions] == ["match", "unknown"] and decisions[0]["person"] == "al_pacino"
    assert "al_pacino" in run("identify", probe, "--draw", str(tmp_path / "out.png")).stdout
    assert (tmp_path / "out.png").stat().st_mode & 0o777 == 0o600
    position = str(enrolled["position"])
    assert answer("identify", probe, "--at-least", position)["photographs"][0]["faces"]
    assert "nobody enrolled meets --where" in run("identify", probe, "--where", "city=Oslo").stdout
    assert (
        answer("identify", probe, "--where", "city=Oslo")["photographs"][0]["faces"][0]["decision"]["kind"] == "unknown"
    )
    assert (
        answer("verify", "al_pacino", probe)["match"] and not answer("verify", "al_pacino", stranger, code=1)["match"]
    )
    ranked = answer("investigate", probe, "--reason", "case 1", "-k", "2")["faces"][0]
    assert ranked["decision"] is None and ranked["candidates"][0]["person"] == "al_pacino"
    assert answer("audit", "--kind", "investigated")[0]["details"]["reason"] == "case 1"
