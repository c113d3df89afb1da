"""Downloads against a server on this machine: resumed, checked, in place whole or not at all, clear when they fail."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.zoo import download as downloads
from vultus.zoo import find_file
from vultus.zoo.download import download

CONTENT = np.random.default_rng(0).bytes(5_000_000)
HALF = 2_345_678


@pytest.fixture
def net(files, home: Path, make_entry):
    files.content["net.onnx"] = CONTENT
    return make_entry(f"{files.url}/net.onnx", CONTENT)


def left(home: Path) -> list[str]:
    return sorted(path.name for path in home.iterdir())


def test_a_dropped_connection_is_taken_up_where_it_broke(net, files, home: Path) -> None:
    files.drops = [HALF]
    assert find_file(net).read_bytes() == CONTENT
    first, second = files.asked
    assert first["range"] is None and second["range"] == f"bytes={HALF}-" and second["if_range"] == '"v1"'
    assert second["sent"] == len(CONTENT) - HALF
    assert left(home) == ["net.onnx"]


def test_a_later_call_finishes_what_an_interrupted_one_left(net, files, home: Path) -> None:
    files.drops = [HALF, 10, 0]
    with pytest.raises(VultusError, match=f"interrupted .* after {HALF + 10:,} bytes") as caught:
        find_file(net)
    assert "\n" not in str(caught.value)
    assert (home / "net.onnx.part").stat().st_size == HALF + 10
    assert not (home / "net.onnx").exists()
    files.asked.clear()
    assert find_file(net).read_bytes() == CONTENT
    assert [asked["sent"] for asked in files.asked] == [len(CONTENT) - HALF - 10]
    assert left(home) == ["net.onnx"]


def test_a_newer_file_on_the_server_is_not_mixed_with_the_old(net, files, home: Path, make_entry) -> None:
    files.drops = [HALF, 0, 0]
    with pytest.raises(VultusError):
        find_file(net)
    newer = CONTENT[::-1]
    files.content["net.onnx"], files.etag = newer, '"v2"'
    assert find_file(make_entry(net.url, newer)).read_bytes() == newer


def test_a_server_without_ranges_starts_again(net, files) -> None:
    files.ranges, files.drops = False, [HALF]
    assert find_file(net).read_bytes() == CONTENT
    assert files.asked[1]["sent"] == len(CONTENT)


def test_halves_without_a_version_are_joined_only_where_a_digest_tells(files, home: Path, make_entry) -> None:
    files.content["net.onnx"], files.etag = CONTENT, None
    for digest_of, second in ((CONTENT, f"bytes={HALF}-"), (None, None)):
        files.asked.clear()
        files.drops = [HALF]
        found = find_file(make_entry(f"{files.url}/net.onnx", digest_of))
        assert found.read_bytes() == CONTENT and files.asked[1]["range"] == second
        found.unlink()


def test_a_part_that_is_already_too_long_is_fetched_again(net, files, home: Path) -> None:
    files.drops = [HALF, 0, 0]
    with pytest.raises(VultusError):
        find_file(net)
    with (home / "net.onnx.part").open("ab") as part:
        part.write(CONTENT)
    assert find_file(net).read_bytes() == CONTENT


def test_wrong_bytes_are_deleted_and_both_digests_said(files, home: Path, make_entry) -> None:
    files.content["net.onnx"] = CONTENT
    wrong = make_entry(f"{files.url}/net.onnx", b"other")
    with pytest.raises(VultusError, match="not the published file") as caught:
        find_file(wrong)
    assert str(wrong.sha256) in str(caught.value) and downloads.hashlib.sha256(CONTENT).hexdigest() in str(caught.value)
    assert "\n" not in str(caught.value) and left(home) == []


@pytest.mark.parametrize("status", [404, 403])
def test_no_such_address_is_named_with_the_mend(net, files, home: Path, status: int) -> None:
    files.answers = [status]
    with pytest.raises(VultusError, match=f"net.onnx answers {status} .* --models") as caught:
        find_file(net)
    assert net.url in str(caught.value) and "\n" not in str(caught.value)
    assert len(files.asked) == 1 and left(home) == []


def test_a_busy_server_is_asked_again(net, files) -> None:
    files.answers = [503, 429]
    assert find_file(net).read_bytes() == CONTENT and len(files.asked) == 3


def test_a_refused_connection_says_how_to_go_on_offline(home: Path, make_entry) -> None:
    with pytest.raises(VultusError, match=r"could not reach http://127.0.0.1:1/.*--models or VULTUS_MODELS") as caught:
        find_file(make_entry("http://127.0.0.1:1/net.onnx", CONTENT, package=("absent_package", "x")))
    assert "vultus[bundled]" in str(caught.value) and "\n" not in str(caught.value)
    assert left(home) == []


def test_a_web_page_is_no_model(files, home: Path, make_entry) -> None:
    """Google Drive answers with a page about its quota; without a published digest it would be kept."""
    files.content["net.onnx"], files.content_type = b"<html>quota</html>", "text/html"
    with pytest.raises(VultusError, match="a web page"):
        find_file(make_entry(f"{files.url}/net.onnx"))
    assert left(home) == []


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("path", ["net.onnx", "pack/net.onnx", "../../../net.onnx", "/etc/net.onnx"])
def test_one_member_of_an_archive_is_kept_and_its_path_ignored(files, home: Path, make_entry, path: str) -> None:
    files.content["pack.zip"] = zipped(**{"other.onnx": b"x" * 1000, path: CONTENT})
    files.drops = [HALF]
    found = find_file(make_entry(f"{files.url}/pack.zip", CONTENT, archive_member="net.onnx", size=len(CONTENT)))
    assert found == home / "net.onnx" and found.read_bytes() == CONTENT
    assert files.asked[1]["range"] == f"bytes={HALF}-"
    assert [p for p in home.parent.parent.rglob("*") if p.is_file()] == [found]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (zipped(**{"other.onnx": b"x"}), "holds 0 files called net.onnx"),
        (zipped(**{"a/net.onnx": b"x", "b/net.onnx": b"y"}), "holds 2 files called net.onnx"),
        (zipped(**{"net.onnx": b"x" * 7}), "has 7 bytes, expected 5,000,000"),
        (b"PK no archive", "no zip archive"),
    ],
)
def test_an_archive_with_something_else_is_refused(files, home: Path, make_entry, body: bytes, words: str) -> None:
    files.content["pack.zip"] = body
    with pytest.raises(VultusError, match=words):
        find_file(make_entry(f"{files.url}/pack.zip", CONTENT, archive_member="net.onnx", size=len(CONTENT)))
    assert left(home) == []


def test_two_at_once_download_once(net, files, home: Path) -> None:
    files.slow = threading.Event()
    code = (
        "import sys; from pathlib import Path; from vultus.zoo.download import download; "
        "from vultus.zoo import ModelFile; "
        f"net = ModelFile('net', 'recognizer', 'net.onnx', {net.sha256!r}, {net.url!r}, 'MIT', 't', commercial=True); "
        "download(net, Path(sys.argv[1]))"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, str(home / "net.onnx")]) for _ in range(2)]
    deadline = time.monotonic() + 20
    while not files.asked and time.monotonic() < deadline:
        time.sleep(0.05)
    files.slow.set()
    assert [other.wait(30) for other in others] == [0, 0]
    assert (home / "net.onnx").read_bytes() == CONTENT and len(files.asked) == 1
    assert left(home) == ["net.onnx"]


def test_a_full_disk_keeps_what_came_and_says_so(net, files, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(response, file, name) -> None:
        file.write(response.read(HALF))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(downloads, "_receive", full)
        with pytest.raises(VultusError, match=r"no room left .* VULTUS_HOME"):
            find_file(net)
    files.asked.clear()
    assert find_file(net).read_bytes() == CONTENT and files.asked[0]["range"] == f"bytes={HALF}-"


def test_a_folder_that_cannot_be_written_is_named(net, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(VultusError, match=r"cannot write .*file.* VULTUS_HOME"):
        download(net, tmp_path / "file" / "net.onnx")
