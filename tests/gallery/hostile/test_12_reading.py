"""Nothing is read without end: devices, FIFOs, folders, sparse files and endless lines, for every kind of file."""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vultus.data.build import read_listing
from vultus.errors import ImageError, VultusError
from vultus.evaluation import parse_pairs
from vultus.evaluation.profiles import load_profile
from vultus.evaluation.protocols.verification_sets import read_verification_set
from vultus.faces.image import KEPT_PIXELS, MAX_PIXELS, MEMORY, read_image, read_reduced
from vultus.formats import MOST_COLUMNS, MOST_LINE, read_table
from vultus.models.checkpoint import read_checkpoint
from vultus.training.recipe import load_recipe
from vultus.workflows.bulk_sources import open_source
from vultus.zoo import read_network

AT_ONCE = 60
"""Seconds that a command may take; most of it is the start of Python."""


def endless(folder: Path, suffix: str) -> dict[str, Path]:
    """Files that would never end, or would fill the memory, by the code that refuses them."""
    fifo, sparse = folder / f"fifo{suffix}", folder / f"sparse{suffix}"
    os.mkfifo(fifo)
    sparse.touch()
    os.truncate(sparse, 20 * 2**30)
    return {"/dev/zero": Path("/dev/zero"), "fifo": fifo, "folder": folder, "sparse": sparse}


def code_of(read, path: Path) -> str:
    with pytest.raises(VultusError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize(
    ("suffix", "read"),
    [
        (".jpg", read_image),
        (".csv", lambda path: open_source(path).check()),
        (".csv", read_listing),
        (".csv", parse_pairs),
        (".txt", parse_pairs),
        (".bin", read_verification_set),
        (".toml", lambda path: load_profile(path) if path.suffix else load_profile("none")),
        (".yaml", load_recipe),
        (".onnx", read_network),
        (".pt", read_checkpoint),
    ],
)
def test_every_reader_refuses_at_once_what_is_no_file_of_a_bounded_size(tmp_path, suffix, read):
    found = {name: code_of(read, path) for name, path in endless(tmp_path, suffix).items()}
    assert found["sparse"] == "too_large"
    assert set(found.values()) <= {"not_a_file", "too_large", "refused", "no_file"}


@pytest.mark.parametrize("name", ["/dev/zero", "fifo"])
def test_a_command_ends_at_once_with_one_line_and_exit_code_2(tmp_path, name):
    """In a process of its own with a bound on its memory."""
    done = subprocess.run(
        [sys.executable, "-m", "vultus", "gallery", "receipt", "verify", str(endless(tmp_path, ".txt")[name])],
        stderr=subprocess.PIPE,
        timeout=AT_ONCE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30)),
    )
    told = done.stderr.decode().splitlines()
    assert done.returncode == 2 and len(told) == 1 and told[0].startswith("error: ")


def test_a_table_that_names_devices_is_worked_through(tmp_path, recognizer, picture, monkeypatch):
    from vultus.gallery import Gallery
    from vultus.workflows.bulk_enrol import bulk_enrol

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    os.mkfifo(tmp_path / "fifo.jpg")
    Image.fromarray(picture(1)).save(tmp_path / "a.png")
    lines = ["person,image", "alice,a.png", "bob,/dev/zero", "carol,fifo.jpg", f"dora,{'x' * 5000}", "emil,none.jpg"]
    (tmp_path / "people.csv").write_text("\n".join(lines))
    with Gallery.open(tmp_path / "people.db", model=recognizer) as people:
        done = bulk_enrol(people, tmp_path / "people.csv")
    assert done.enrolled == 1
    assert dict(done.reasons) == {"not_a_file": 2, "unreadable": 1, "no_file": 1}


def of_csv(tmp_path: Path, content: bytes) -> tuple[str, int]:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(VultusError) as caught:
        list(read_table(path, ("a",)))
    return caught.value.code, caught.value.fields.get("line", 0)


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b",".join(b"%d" % n for n in range(1_000_000)), "too_large", 1),
        (b"a" * (2 * MOST_LINE), "too_large", 1),
        (b"a,b\n1,2\n" + b'"x\n",' * MOST_LINE, "too_large", 3),
        (b"a\n" + b"1," * MOST_COLUMNS + b"1\n", "too_large", 2),
        (b"a,b\n1,2\n1,\x002\n", "malformed", 3),
        ("a,b\n1,2\n".encode("utf-16"), "malformed", 1),
        ("a,b\n1,2\n".encode("utf-16-le"), "malformed", 1),
        (b'a,b\n"1,2\n', "malformed", 2),
        (b"a,b\n1\n", "columns", 2),
        (b"a,a\n1,2\n", "columns", 1),
        (b"", "columns", 1),
    ],
)
def test_a_csv_file_is_read_within_bounds(tmp_path, content, code, line):
    assert of_csv(tmp_path, content) == (code, line)


def test_a_csv_file_is_read_with_its_lines(tmp_path):
    (tmp_path / "t.csv").write_bytes(b'\xef\xbb\xbfa; b\r\n 1 ;"x\ny"\r\n\r\n3;4')
    rows = list(read_table(tmp_path / "t.csv", ("a", "b"), delimiters=",;"))
    assert rows == [(3, {"a": "1", "b": "x\ny"}), (5, {"a": "3", "b": "4"})]


def large(kind: str, **options: object) -> bytes:
    """A picture of 30 megapixels; a grey gradient, so that it is quickly made."""
    row = np.linspace(0, 255, 6_000).astype(np.uint8)
    content = io.BytesIO()
    mode = str(options.pop("mode", "RGB"))
    Image.fromarray(np.broadcast_to(row[:, None], (6_000, 5_000))).convert(mode).save(content, kind, **options)
    return content.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "JPEG", "mode": "CMYK", "progressive": True, "subsampling": 0, "quality": 30},
        {"kind": "PNG", "mode": "RGBA", "compress_level": 1},
    ],
)
def test_a_photograph_takes_no_more_memory_than_is_stated(tmp_path, options):
    path = tmp_path / "large"
    path.write_bytes(large(**options))
    code = (
        "import resource, sys\nfrom vultus.faces.image import read_reduced\n"
        "def peak():\n"  # of this program alone: getrusage tells the parent's as well
        "    return next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmHWM')) * 1024\n"
        "before = peak()\npixels, smaller = read_reduced(sys.argv[1])\n"
        "print(peak() - before, smaller, *pixels.shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True, timeout=AT_ONCE)
    took, smaller, height, width, _ = map(int, done.stdout.split())
    assert took < MEMORY * 30_000_000 / MAX_PIXELS
    assert (smaller, height, width) == (2, 3_000, 2_500) and height * width <= KEPT_PIXELS


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_reduced_photograph_shows_the_same(monkeypatch, kind, orientation):
    monkeypatch.setattr("vultus.faces.image.BAND", 1000)
    picture = np.kron(np.arange(48, dtype=np.uint8).reshape(6, 8) * 5, np.ones((16, 16), np.uint8))
    exif, content = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(picture).convert("RGB").save(content, kind, exif=exif, quality=95)
    whole, once = read_reduced(content.getvalue())
    monkeypatch.setattr("vultus.faces.image.KEPT_PIXELS", picture.size // 4)
    half, twice = read_reduced(content.getvalue())
    assert (once, twice) == (1, 2)
    wanted = whole.reshape(half.shape[0], 2, half.shape[1], 2, 3).mean((1, 3))
    assert np.abs(wanted - half).max() < 12


def test_a_face_lies_where_it_is_in_the_photograph(monkeypatch, tmp_path):
    from vultus.recognizer.runtime import Recognizer

    class Found:
        def detect_batch(self, images):
            from vultus.faces import LANDMARKS, Face

            return [[Face(np.array([0, 0, w, h], np.float32), LANDMARKS, 0.9)] for h, w, _ in (i.shape for i in images)]

    Image.fromarray(np.zeros((64, 96, 3), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.setattr("vultus.faces.image.KEPT_PIXELS", 64 * 96 // 4)
    monkeypatch.setattr(Recognizer, "detector", Found())
    (face,) = Recognizer.faces(object.__new__(Recognizer), tmp_path / "a.png")
    assert face.box.tolist() == [0, 0, 96, 64] and face.crop is not None and face.crop.shape == (112, 112, 3)


def test_photographs_are_not_read_all_at_once(monkeypatch):
    from vultus.recognizer import runtime

    monkeypatch.setattr(runtime, "PIXELS", 250)
    pictures = [np.zeros((10, 10, 3), np.uint8) for _ in range(7)]
    assert [len(batch) for batch in runtime._batches(pictures)] == [3, 3, 1]


def test_a_jpeg_of_thousands_of_scans_is_refused():
    content = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(content, "JPEG", progressive=True)
    scans = content.getvalue()[:-2] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" * 501 + b"\xff\xd9"
    with pytest.raises(ImageError) as caught:
        read_image(scans)
    assert caught.value.code == "malformed"
