"""Every entry of the table says what it must, and its licence is said aloud and carried along."""

from __future__ import annotations

import re

import pytest

from vultus.zoo import ZOO, Contract, ModelFile, announce, licence_link
from vultus.zoo import licence as licences

ENTRIES = list(ZOO.values())
NAMED = {
    *("yunet", "scrfd-500m", "scrfd-2.5g", "scrfd-10g", "sface"),
    *("buffalo_l", "buffalo_s", "buffalo_sc", "antelopev2"),
    *("adaface-ir18", "adaface-ir50", "adaface-ir101"),
    *("edgeface-xxs", "edgeface-xs", "edgeface-s", "facenet-vggface2", "facenet-casia"),
}


def test_the_table_covers_what_people_use() -> None:
    assert set(ZOO) >= NAMED


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_an_entry_is_complete(entry: ModelFile) -> None:
    assert re.fullmatch(r"[a-z0-9_.-]+", entry.name)
    assert entry.url.startswith("https://") and " " not in entry.url
    assert entry.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
    assert "(" in entry.licence, "where the licence is stated"
    assert entry.file == entry.file.split("/")[-1] and entry.about
    assert (entry.archive_member is not None) == entry.url.endswith(".zip")
    assert entry.archive_member in (None, entry.file)
    assert entry.runnable or entry.architecture, "weights need an architecture"
    for figures in (entry.published, entry.measured):
        assert not figures or (figures["by"] and all(0 < v <= 100 for k, v in figures.items() if k != "by"))  # pyright: ignore[reportOperatorIssue]
    if entry.kind == "recognizer":
        contract = Contract(weights="00", **(entry.preprocessing or {}))
        assert contract.dim in (128, 512)
    else:
        assert entry.preprocessing is None


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_what_the_licence_says_and_what_the_entry_says_agree(entry: ModelFile) -> None:
    words = entry.licence.lower()
    if "non-commercial" in words or "-nc-" in words:
        assert entry.commercial is False
    elif words.startswith("unclear"):
        assert entry.commercial is None
    else:
        assert entry.commercial is True and words.split()[0] in ("mit", "apache-2.0")


def test_equal_names_of_files_are_equal_files() -> None:
    """The cache keeps one file a name."""
    for name in {entry.file for entry in ENTRIES}:
        assert len({entry.sha256 for entry in ENTRIES if entry.file == name}) == 1


def test_only_what_comes_in_a_package_was_ever_fetched() -> None:
    assert (
        {entry.name for entry in ENTRIES if entry.fetched}
        == {e.name for e in ENTRIES if e.package}
        == {
            "yunet",
            "sface",
        }
    )


def test_a_forbidden_use_is_announced_once_and_not_on_stdout(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(licences, "_announced", set())
    for name in ("sface", "buffalo_l", "buffalo_l", "adaface-ir50"):
        announce(ZOO[name])
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert said.out == "" and len(lines) == 2
    assert "commercial use of buffalo_l is forbidden" in lines[0] and "InsightFace" in lines[0]
    assert "commercial use of adaface-ir50 may not be allowed" in lines[1]


def test_a_link_of_the_chain_names_source_and_terms() -> None:
    assert licence_link(ZOO["buffalo_l"])["commercial_use"] == "forbidden"
    link = licence_link(ZOO["facenet-casia"], sha256="ab" * 32)
    assert link["commercial_use"] == "unclear" and link["sha256"] == "ab" * 32
    assert link["source"] == ZOO["facenet-casia"].url and link["licence"] == ZOO["facenet-casia"].licence
    assert licence_link(ZOO["sface"], sha256="ab" * 32)["sha256"] == ZOO["sface"].sha256
