"""InsightFace's .bin files, and pickles that are not what they claim to be."""

from __future__ import annotations

import builtins
import os
import pickle
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vultus.errors import VultusError
from vultus.evaluation.protocols.restricted_pickle import load_plain
from vultus.evaluation.protocols.verification_sets import read_verification_set


def jpeg(grey: int, size: tuple[int, int] = (112, 112)) -> np.ndarray:
    picture = np.full((*size, 3), (0, 0, grey), np.uint8)  # BGR: red
    return cv2.imencode(".jpg", picture)[1]


IMAGES = [jpeg(g) for g in (10, 20, 10, 200, 60, 70)]  # images 0 and 2 are the same file
SAME = [True, False, True]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", [np.asarray, bytes, lambda image: image.reshape(-1, 1)])
def test_every_protocol_and_every_way_to_hold_bytes(tmp_path, protocol, kind):
    path = tmp_path / "set.bin"
    path.write_bytes(pickle.dumps(([kind(image) for image in IMAGES], SAME), protocol))
    found = read_verification_set(path)
    assert found.encoded == tuple(image.tobytes() for image in IMAGES)
    assert found.same.tolist() == SAME and len(found) == 3
    crops = found.crops([3, 0])
    assert crops.shape == (2, 112, 112, 3) and crops.dtype == np.uint8
    assert abs(int(crops[0, 50, 50, 0]) - 200) < 3 and crops[0, 50, 50, 2] < 3  # red comes first


def test_python_2_wrote_text_where_bytes_are(tmp_path):
    """(['...jpeg...' , '...'], [True]) as Python 2's cPickle wrote it, protocol 0 and 2."""
    first, second = bytes(IMAGES[0]), bytes(IMAGES[1])
    old = b"((lp1\nS" + _python2_repr(first) + b"\naS" + _python2_repr(second) + b"\na(lp2\nI01\natp3\n."
    new = b"\x80\x02]q\x01(T" + _counted(first) + b"T" + _counted(second) + b"e]q\x02I01\na\x86q\x03."
    for content in (old, new):
        (tmp_path / "old.bin").write_bytes(content)
        found = read_verification_set(tmp_path / "old.bin")
        assert found.encoded == (first, second) and found.same.tolist() == [True]


def _python2_repr(content: bytes) -> bytes:
    return b"'" + b"".join(b"\\x%02x" % byte for byte in content) + b"'"


def _counted(content: bytes) -> bytes:
    return struct.pack("<i", len(content)) + content


@pytest.mark.parametrize("same", [np.array(SAME), [np.bool_(s) for s in SAME], [1, 0, 1], tuple(SAME)])
def test_every_way_to_say_same(tmp_path, same):
    (tmp_path / "set.bin").write_bytes(pickle.dumps((IMAGES, same)))
    assert read_verification_set(tmp_path / "set.bin").same.tolist() == SAME


def test_the_published_example(shared: Path):
    found = read_verification_set(shared / "images" / "containers" / "small_lfw.bin")
    assert len(found) == 10 and found.same.all()
    assert found.crops(range(20)).mean() > 50
    assert found.folds().tolist() == list(range(10))


def test_people_are_joined_by_pairs_and_by_equal_files(tmp_path):
    # Pairs (0 1 same) (2 3 different) (4 5 same); files 0 and 2 are equal: images 0, 1, 2 are one person.
    (tmp_path / "set.bin").write_bytes(pickle.dumps((IMAGES, SAME)))
    people = read_verification_set(tmp_path / "set.bin").identities()
    assert people is not None
    assert people[0, 0] == people[0, 1] == people[1, 0] and people[2, 0] == people[2, 1]
    assert len(np.unique(people)) == 3
    contradiction = ([IMAGES[0], IMAGES[1], IMAGES[1], IMAGES[0]], [True, False])
    (tmp_path / "set.bin").write_bytes(pickle.dumps(contradiction))
    assert read_verification_set(tmp_path / "set.bin").identities() is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((IMAGES[:5], SAME), "5 images for 3 pairs"),
        (([*IMAGES, *IMAGES], SAME), "12 images for 3 pairs"),
        (([jpeg(1, (112, 96)), jpeg(2)], [True]), "image 0 has 96x112 pixels, not 112x112"),
        (([b"no image", jpeg(2)], [True]), "image 0 is no JPEG or PNG"),
        (([jpeg(2), jpeg(2)[:200]], [True]), "damaged|no JPEG"),
        (([np.zeros((112, 112, 3), np.uint8)] * 2, [True]), r"image 0 .* array of the shape \(112, 112, 3\)"),
        (([jpeg(1), 7], [True]), "image 1 is no encoded JPEG or PNG, but int"),
        ((IMAGES, [True, False, 2]), "pair 2 is neither"),
        ((IMAGES, None), "does not say"),
        (([], []), "no pairs"),
        (IMAGES, "expected a pair"),
    ],
)
def test_a_set_that_does_not_fit_is_named(tmp_path, value, message):
    (tmp_path / "set.bin").write_bytes(pickle.dumps(value))
    with pytest.raises(VultusError, match=message):
        found = read_verification_set(tmp_path / "set.bin")
        found.crops(range(2))
    with pytest.raises(VultusError, match="does not exist"):
        read_verification_set(tmp_path / "none.bin")


class Runs:
    """Pickled as a call of `function(*arguments)`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def hostile(mark: Path) -> dict[str, bytes]:
    """Pickles that do something when `pickle.load` reads them."""
    touch = f"touch {mark}"
    return {
        "os.system": pickle.dumps(Runs(os.system, touch)),
        "eval": pickle.dumps(([Runs(builtins.eval, f"open({str(mark)!r}, 'w')")], [])),
        "getattr chain": pickle.dumps(Runs(getattr, Runs(__import__, "os"), "system")),
        "protocol 0": f"cposix\nsystem\n(S'{touch}'\ntR.".encode(),
        "instance": f"(S'{touch}'\niposix\nsystem\n.".encode(),
        "attribute of numpy": pickle.dumps(Runs(np.load, str(mark))),
        "ndarray made directly": b"cnumpy\nndarray\n(I1000000000000\ntR.",
        "object array": pickle.dumps((np.array([Runs(os.system, touch)], dtype=object), [])),
        "structured array": pickle.dumps(np.zeros(3, [("a", "u1")])),
        "float array": pickle.dumps(np.zeros(3)),
        "array larger than its bytes": pickle.dumps(np.zeros(3, np.uint8), 2).replace(b"K\x03\x85", b"K\x09\x85"),
        "dictionary": pickle.dumps({"a": 1}),
        "float": pickle.dumps([1.5]),
        "changes a name": b"\x80\x04cnumpy\ndtype\n}b.",
        "changes a name's slots": b"\x80\x02c_codecs\nencode\nN(X\x01\x00\x00\x00aK\x01t\x86b.",
        "bytes that never come": b"\x80\x04B\xff\xff\xff\x7fabc.",
        "memo of 2^32": b"\x80\x04Nr\xff\xff\xff\xff.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent": b"Pnumber\n.",
        "deep": b"]" * 10_000 + b"a" * 9_999 + b".",
        "itself": b"]q\x00h\x00a.",
        "many of many": _many_of_many(),
        "empty": b"",
        "text": b"lfw.bin\n",
    }


def _many_of_many() -> bytes:
    """A list of 10,000 times the same list of 10,000: 10^8 values in 40 kB."""
    inner = b"]q\x00(" + b"N" * 10_000 + b"e"
    return b"\x80\x02](" + inner + b"h\x00" * 10_000 + b"e."


@pytest.mark.parametrize("name", sorted(hostile(Path("x"))))
def test_a_hostile_pickle_is_refused_and_nothing_of_it_runs(tmp_path, name):
    mark = tmp_path / "ran"
    content = hostile(mark)[name]
    with pytest.raises(VultusError, match=r"set\.bin (is refused|is no pickle)"):
        load_plain(content, "set.bin")
    assert not mark.exists()


def test_the_hostile_ones_would_run_without_protection(tmp_path):
    """The test above has teeth: plain `pickle` does what these files say."""
    pickle.loads(hostile(tmp_path / "ran")["os.system"])
    assert (tmp_path / "ran").exists()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_file_is_an_error_or_still_plain(data):
    content = bytearray(pickle.dumps(([np.arange(9, dtype=np.uint8), b"abc"], [True]), data.draw(st.integers(0, 5))))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    try:
        load_plain(bytes(content), "set.bin")
    except VultusError as error:
        assert str(error).startswith("set.bin") and "\n" not in str(error)
