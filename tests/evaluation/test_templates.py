"""Template protocols: pooling worked out on paper, files in IJB-C's layout, mistakes in them."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.evaluation.protocols.pooling import Pooling, pool_templates, score_templates
from vultus.evaluation.protocols.templates import check_counts, find_protocol, read_protocol

# Template 7: a and b are frames of media 1, c is media 2. Template 9 has one image d.
A, B, C, D = (2.0, 0.0), (0.0, 4.0), (3.0, 0.0), (0.0, 5.0)
FLIPPED = [(0.0, 2.0), (0.0, 0.0), (1.0, 4.0), (1.0, 0.0)]
TEMPLATES, MEDIA, DETECTED = [7, 7, 7, 9], [1, 1, 2, 1], [0.5, 1.0, 1.0, 0.9]
ROOT = 2**-0.5


@pytest.mark.parametrize(
    ("mode", "seven"),
    [
        # The mean of (2, 0) and (0, 4) is (1, 2); with (3, 0): (4, 2).
        ("N1D0F0", (4, 2)),
        # (1, 0), (0, 1): mean (1/2, 1/2); with (1, 0): (3/2, 1/2).
        ("N0D0F0", (3, 1)),
        # (1, 0), (0, 4): mean (1/2, 2); with (3, 0): (7/2, 2).
        ("N1D1F0", (7, 4)),
        # (1/2, 0), (0, 1): mean (1/4, 1/2); with (1, 0): (5/4, 1/2).
        ("N0D1F0", (5, 2)),
        # Sums with the mirror images (2, 2), (0, 4), (4, 4): mean (1, 3); with (4, 4): (5, 7).
        ("N1D0F1", (5, 7)),
        # Of unit length (r, r), (0, 1), (r, r), r = 1 / sqrt 2: (3 r / 2, (3 r + 1) / 2).
        ("N0D0F1", (3 * ROOT, 3 * ROOT + 1)),
        # (2, 2) / 2 and (0, 4): mean (1/2, 5/2); with (4, 4): (9/2, 13/2).
        ("N1D1F1", (9, 13)),
    ],
)
def test_pooling_by_hand(mode, seven):
    norm, detector, flip = Pooling.parse(mode)
    found = pool_templates(
        np.array([A, B, C, D]),
        np.array(TEMPLATES),
        np.array(MEDIA),
        normalise=not norm,
        detector_scores=np.array(DETECTED) if detector else None,
        flipped=np.array(FLIPPED) if flip else None,
    )
    assert found.mode == mode == str(Pooling.parse(mode))
    assert found.ids.tolist() == [7, 9] and found.images.tolist() == [3, 1] and found.media.tolist() == [2, 1]
    assert found.rows[0] == pytest.approx(np.array(seven) / np.linalg.norm(seven), abs=1e-6)
    assert np.linalg.norm(found.rows[1]) == pytest.approx(1) and found.rows.dtype == np.float32


def test_the_order_of_images_does_not_matter():
    rng = np.random.default_rng(0)
    embeddings, templates, media = rng.normal(size=(60, 8)), rng.integers(0, 9, 60), rng.integers(0, 4, 60)
    once = pool_templates(embeddings, templates, media, normalise=True)
    order = rng.permutation(60)
    again = pool_templates(embeddings[order], templates[order], media[order], normalise=True)
    assert np.allclose(once.rows, again.rows, atol=1e-6)
    for place, template in enumerate(once.ids):  # the plainest way
        mine = templates == template
        unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
        total = sum(unit[mine & (media == m)].mean(axis=0) for m in np.unique(media[mine]))
        assert once.rows[place] == pytest.approx(total / np.linalg.norm(total), abs=1e-6)


def test_what_cannot_be_pooled_is_an_error():
    unit, ids = np.eye(2), np.array([3, 3])
    with pytest.raises(VultusError, match=r"N1 weighs images by the length .* all of these have length 1"):
        pool_templates(unit, ids, ids, normalise=False)
    with pytest.raises(VultusError, match="template 3 cancel out"):
        pool_templates(np.array([[1.0, 0], [-1, 0]]), ids, np.arange(2), normalise=True)
    with pytest.raises(VultusError, match="embedding 1 of template 3 is no direction"):
        pool_templates(np.array([[1.0, 0], [np.nan, 0]]), ids, ids, normalise=True)
    with pytest.raises(VultusError, match="'N2D0' is no pooling mode"):
        Pooling.parse("N2D0")


def test_scores_of_pairs_in_blocks_and_without_a_face():
    rows = pool_templates(np.array([A, B, C]), np.array([1, 2, 3]), np.zeros(3), normalise=True)
    for block in (1, 2, 100):
        scores = score_templates(rows, np.array([1, 1, 2, 4]), np.array([2, 3, 9, 1]), block=block)
        assert scores.tolist() == [0, 1, -np.inf, -np.inf] and scores.dtype == np.float32


FACES = "1.jpg 7 1\n2.jpg 7 1\n3.jpg 7 2\n4.jpg 9 3\n5.jpg 4 4\n"
PAIRS = "7 9 1\n7 4 0\n9 4 0\n"
SCORES = "".join(f"{i}.jpg 1 2 3 4 5 6 7 8 9 10 0.{i}\n" for i in (5, 4, 3, 2, 1))


def write(folder, name="small", faces=FACES, pairs=PAIRS, scores=None):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}_face_tid_mid.txt").write_text(faces)
    (folder / f"{name}_template_pair_label.txt").write_text(pairs)
    if scores is not None:
        (folder / f"{name}_name_5pts_score.txt").write_text(scores)
    return folder


def test_a_protocol_in_the_layout_of_ijbc(tmp_path):
    found = find_protocol(write(tmp_path / "meta", scores=SCORES).parent)
    assert found.name == "small" and found.images == ("1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg")
    assert found.template_ids.tolist() == [4, 7, 9] and found.templates.tolist() == [1, 1, 1, 2, 0]
    assert found.media.tolist() == [1, 1, 2, 3, 4] and found.same.tolist() == [True, False, False]
    assert found.pairs.tolist() == [[1, 2], [1, 0], [2, 0]]
    assert found.detector_scores is not None and found.detector_scores.tolist() == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert found.people is not None and found.people.tolist() == [0, 1, 1]  # 7 and 9 are one person
    without = read_protocol(
        tmp_path / "meta" / "small_face_tid_mid.txt", tmp_path / "meta" / "small_template_pair_label.txt"
    )
    assert without.detector_scores is None


def test_pairs_that_contradict_one_another_leave_people_unknown(tmp_path):
    # 7 is 9 and 9 is 4, so 7 is 4; the last pair says that they differ.
    found = find_protocol(write(tmp_path / "p", pairs="7 9 1\n9 4 1\n7 4 0\n"))
    assert found.people is None


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"pairs": "7 9 1\n7 8 0\n"}, "pair 2: template 8 has no image"),
        ({"pairs": "7 9 1\n7 4 2\n"}, "line 2: expected .*label 0 or 1, found '7 4 2'"),
        ({"pairs": "TEMPLATE1 TEMPLATE2 LABEL\n7 9 1\n"}, "line 1: expected .*found 'TEMPLATE1"),
        ({"pairs": "7 9 1\n7 4\n"}, "line 2: expected .*found '7 4'"),
        ({"pairs": "7,9,1\n"}, "line 1: expected"),
        ({"pairs": ""}, "no pairs in it"),
        ({"pairs": "7 9 1\n7 4 0\n9 7 1\n"}, "pair 3 is pair 1 again"),
        ({"pairs": "7 7 1\n7 4 0\n"}, "pair 1 compares template 7 with itself"),
        ({"faces": "image template media\n" + FACES}, "line 1: expected .*found 'image template media'"),
        ({"faces": FACES + "1.jpg 7 5\n"}, "line 6: 1.jpg is in template 7 since line 1"),
        ({"faces": ""}, "no image in it"),
        ({"scores": SCORES.replace("3.jpg", "6.jpg")}, "lacks 1 images, such as 3.jpg"),
        ({"scores": SCORES.replace("0.3", "nan")}, "line 3: the detector score nan"),
        ({"scores": SCORES.replace(" 10 ", " ")}, "line 1: expected"),
    ],
)
def test_mistakes_in_the_files_are_named(tmp_path, files, message):
    with pytest.raises(VultusError, match=message) as error:
        find_protocol(write(tmp_path / "p", **files))
    assert "\n" not in str(error.value)


def test_what_is_called_ijbc_must_have_its_size(tmp_path):
    with pytest.raises(VultusError, match="the published ijbc has 469,375 images, these files 5"):
        find_protocol(write(tmp_path / "p", name="ijbc"))
    found = find_protocol(write(tmp_path / "q"))
    check_counts(found, {"images": 5, "templates": 3, "pairs": 3, "mated": 1})
    with pytest.raises(VultusError, match="the published small has 2 mated pairs, these files 1"):
        check_counts(found, {"images": 5, "templates": 3, "pairs": 3, "mated": 2})


def test_where_no_protocol_is(tmp_path):
    with pytest.raises(VultusError, match="holds no template protocol"):
        find_protocol(tmp_path)
    write(tmp_path / "p")
    write(tmp_path / "p", name="other")
    with pytest.raises(VultusError, match="give a folder with one protocol"):
        find_protocol(tmp_path / "p")
    (tmp_path / "p" / "other_face_tid_mid.txt").unlink()
    (tmp_path / "p" / "small_template_pair_label.txt").unlink()
    with pytest.raises(VultusError, match="does not exist"):
        find_protocol(tmp_path / "p")
