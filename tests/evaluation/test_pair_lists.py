"""The lists of pairs that benchmarks are published with."""

from __future__ import annotations

import pytest

from vultus.errors import VultusError
from vultus.evaluation import parse_lfw_pairs, parse_pairs
from vultus.evaluation.protocols.official_lists import consecutive_folds

LIST = "2\t1\nann\t1\t4\nann\t1\tbob\t2\ncid\t3\t5\ncid\t3\tdot\t1\n"


def test_an_lfw_list(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text(LIST)
    pairs = parse_lfw_pairs(path)
    assert pairs.folds.tolist() == [0, 0, 1, 1]
    assert pairs.same.tolist() == [True, False, True, False]
    assert pairs.names == (("ann", "ann"), ("ann", "bob"), ("cid", "cid"), ("cid", "dot"))
    assert pairs.numbers == ((1, 4), (1, 2), (3, 5), (3, 1))
    assert len(pairs) == 4
    assert pairs.identities is not None and pairs.identities.tolist() == [[0, 0], [0, 1], [2, 2], [2, 3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LIST.replace("cid\t3\t5", "cid\t3"), "line 4: expected \"name a b\", found 'cid\\\\t3'"),
        (LIST.replace("bob\t2", "bob\tx"), 'line 3: expected "name1 a name2 b"'),
        (LIST.replace("ann\t1\t4", "ann\t1\tbob\t4"), "line 2"),
        (LIST.replace("2\t1\n", "", 1), "line 1: expected the header"),
        (LIST.replace("2\t1", "3\t1", 1), "promises 3 x 2 x 1 = 6 pairs, the file holds 4"),
        ("", "line 1"),
        ("2\n2\nann\t4\nbob\t2\n1\ncid\t5\n", "lists people, not pairs"),  # LFW's people.txt
    ],
)
def test_a_malformed_list_is_named_with_its_line(tmp_path, text, message):
    path = tmp_path / "pairs.txt"
    path.write_text(text)
    with pytest.raises(VultusError, match=message) as error:
        parse_pairs(path)
    assert str(path) in str(error.value)


def test_a_missing_or_binary_list(tmp_path):
    with pytest.raises(VultusError, match="does not exist"):
        parse_pairs(tmp_path / "none.txt")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(VultusError, match="no text in UTF-8"):
        parse_pairs(tmp_path / "b.txt")


def test_csv_lists(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text('a.jpg,b.jpg,same\n"x, y.jpg",b.jpg,1\na.jpg,c.jpg,False\na.jpg,d.jpg,yes\nc.jpg,d.jpg,0\n')
    pairs = parse_pairs(path)
    assert pairs.paths[0] == ("x, y.jpg", "b.jpg")
    assert pairs.same.tolist() == [True, False, True, False]
    assert pairs.folds.tolist() == [0, 0, 1, 1]  # each fold gets both kinds
    assert pairs.identities is None
    path.write_text("fold,a,b,same\n4,a.jpg,b.jpg,1\n9,a.jpg,c.jpg,0\n")
    assert parse_pairs(path).folds.tolist() == [0, 1]
    path.write_text("a.jpg,b.jpg,1\na.jpg,b.jpg,perhaps\n")
    with pytest.raises(VultusError, match="line 2"):
        parse_pairs(path)
    path.write_text("")
    with pytest.raises(VultusError, match="no pairs"):
        parse_pairs(path)


@pytest.fixture
def cfp(tmp_path):
    """Two folds of one mated and one non-mated pair each, laid out as CFP's Protocol folder."""
    protocol = tmp_path / "cfp" / "Protocol"
    for kind, second in (("F", "frontal"), ("P", "profile")):
        lines = [f"{i} ../Data/Images/{p:03d}/{second}/{n:02d}.jpg" for i, (p, n) in enumerate(PEOPLE, start=1)]
        protocol.mkdir(parents=True, exist_ok=True)
        (protocol / f"Pair_list_{kind}.txt").write_text("\n".join(lines) + "\n")
    for kind in ("FF", "FP"):
        for fold, same, diff in (("01", "1,2", "1,3"), ("02", "3,4", "3,2")):
            folder = protocol / "Split" / kind / fold
            folder.mkdir(parents=True)
            (folder / "same.txt").write_text(same + "\n")
            (folder / "diff.txt").write_text(diff + "\n")
    return protocol


PEOPLE = [(1, 1), (1, 2), (2, 1), (2, 2)]  # images 1..4 of either list: persons 001, 001, 002, 002


def test_cfp_frontal_and_profile(cfp):
    pairs = parse_pairs(cfp / "Split" / "FP")
    assert pairs.folds.tolist() == [0, 0, 1, 1] and pairs.same.tolist() == [True, False, True, False]
    assert pairs.paths[0] == ("001/frontal/01.jpg", "001/profile/02.jpg")
    assert pairs.paths[1] == ("001/frontal/01.jpg", "002/profile/01.jpg")
    assert pairs.names[1] == ("001", "002")
    assert parse_pairs(cfp / "Split" / "FF").paths[0] == ("001/frontal/01.jpg", "001/frontal/02.jpg")


def test_cfp_mistakes_are_named(cfp):
    with pytest.raises(VultusError, match="give the folder Protocol/Split/FF or"):
        parse_pairs(cfp)
    (cfp / "Split" / "FP" / "01" / "diff.txt").write_text("1,3\n1,5\n")
    with pytest.raises(VultusError, match=r"diff.txt, line 2: the image lists .* have no number 5"):
        parse_pairs(cfp / "Split" / "FP")
    (cfp / "Split" / "FP" / "01" / "diff.txt").write_text("1 3\n")
    with pytest.raises(VultusError, match='line 1: expected "i,j"'):
        parse_pairs(cfp / "Split" / "FP")
    (cfp / "Pair_list_F.txt").write_text("frontal\n")
    with pytest.raises(VultusError, match=r'Pair_list_F.txt, line 1: expected "number path"'):
        parse_pairs(cfp / "Split" / "FF")


def test_calfw_takes_two_lines_a_pair(tmp_path):
    path = tmp_path / "pairs_CALFW.txt"
    path.write_text("A_B_0001.jpg 1\nA_B_0003.jpg 1\nC_0002.jpg 2\nC_0001.jpg 2\nA_B_0001.jpg 0\nC_0001.jpg 0\n")
    pairs = parse_pairs(path, folds=2)
    assert pairs.same.tolist() == [True, True, False] and pairs.folds.tolist() == [0, 1, 0]
    assert pairs.paths[2] == ("A_B_0001.jpg", "C_0001.jpg") and pairs.names[2] == ("A_B", "C")
    path.write_text("A_B_0001.jpg 1\nA_B_0003.jpg 0\n")
    with pytest.raises(VultusError, match="line 2: the two images of a pair have the numbers 1, 0"):
        parse_pairs(path)
    path.write_text("A_B_0001.jpg 1\n")
    with pytest.raises(VultusError, match="1 lines; every pair takes two"):
        parse_pairs(path)


def test_consecutive_folds_are_of_one_size_or_differ_by_one():
    assert consecutive_folds(7, 3).tolist() == [0, 0, 0, 1, 1, 2, 2]
