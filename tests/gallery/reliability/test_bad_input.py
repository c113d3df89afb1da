"""Embeddings, names, metadata and numbers that cannot be: one line each, and nothing changed."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.errors import CalibrationError, ContractError, VultusError
from vultus.gallery import Gallery
from vultus.gallery.custody import ConsentGiven

from .writer import DIM, Bare, do, opened, rows_of

SURROGATE, LONG = "\ud800", "x" * 10_000
GOOD = rows_of(9, 1)
CONTRACT = Bare.contract.id


def nested(depth: int) -> dict:
    made: dict = {}
    for _ in range(depth):
        made = {"deeper": made}
    return made


LOOP: dict = {}
LOOP["itself"] = LOOP

EMBEDDINGS = {
    "nan": np.full((1, DIM), np.nan),
    "one nan": np.where(np.arange(DIM) == 3, np.nan, GOOD),
    "zero": np.zeros((1, DIM)),
    "huge": np.full((1, DIM), 1e30),
    "too huge for float32": np.full((1, DIM), 1e300),
    "infinite": np.full((1, DIM), np.inf),
    "not unit": 2 * GOOD,
    "integers": np.ones((1, DIM), int),
    "another dimension": rows_of(9, 1)[:, :-1],
    "three axes": GOOD[None],
    "a scalar": 1.0,
    "complex": GOOD.astype(complex),
    "text": "abc",
    "objects": [object()],
    "ragged": [[1.0, 2.0], [3.0]],
    "nothing": None,
    "one good, one bad": np.concatenate([GOOD, 0 * GOOD]),
    "no rows": np.empty((0, DIM), np.float32),
    "an empty list": [],
}
NAMES = [LONG, "", " ", "\0", "a\nb", "\x7f", "\u202eecila", "a\u2066b", "\u2028", SURROGATE, 7, None, b"alice"]
METADATA = [
    nested(9), nested(5000), LOOP, [1], "text", {"a": float("nan")}, {"a": float("inf")}, {1: 2}, {None: 1}, {"a": {1}},
    {"a": b"x"}, {"a": np.float32(1)}, {"a": 2**63}, {"a": 10**1000}, {"a": "x" * 10_000_000}, {"a": SURROGATE},
    {"a": "\0"}, {SURROGATE: 1}, {"x" * 20_000: 1}, {str(number): number for number in range(10_000)},
    {"a": list(range(10_000))},
]  # fmt: skip
CONSENTS = [
    ConsentGiven(LONG), ConsentGiven(""), ConsentGiven("a\nb"), ConsentGiven(SURROGATE),
    ConsentGiven(5),  # pyright: ignore[reportArgumentType]
    ConsentGiven("b", SURROGATE),
    ConsentGiven("b", 5),  # pyright: ignore[reportArgumentType]
    ConsentGiven("b", purpose=LONG), ConsentGiven("b", given_at=LONG), ConsentGiven("b", given_at="2999-01-01"),
    ConsentGiven("b", expires_at="1999-01-01"), ConsentGiven("b", expires_at="9999-12-31T23:59:59-14:00"),
]  # fmt: skip
SETTINGS = [
    {"purpose": LONG}, {"purpose": SURROGATE}, {"purpose": "a\0b"}, {"purpose": "a\nb"}, {LONG: 1},
    {"retention_days": 2**70}, {"retention_days": 0}, {"retention_days": "a\nb"}, {"fusion": 2**70}, {"fusion": 0},
    {"max_templates": 10**9}, {"outlier_fmr": float("nan")}, {"duplicate_fpir": 2}, {"enrol_gate": {"x": 1}},
    {"enrol_gate": {"sharpness": float("nan")}}, {"require_consent": True, "purpose": " "},
]  # fmt: skip


@pytest.fixture
def gallery(place):
    with opened(str(place)) as gallery:
        do(gallery, {"number": 1, "kind": "enrol", "person": "alice", "rows": 2, "name": "Alice", "consent": True})
        yield gallery


def told(gallery: Gallery):
    store = gallery._binding.store
    return gallery.persons(), store.head(), gallery.custody.anchor(), gallery.info


def all_refused(gallery: Gallery, attempts: dict, kind: type[Exception] = VultusError) -> None:
    """Each of the attempts is answered by one short line; afterwards everything is as it was."""
    before = told(gallery)
    for name, attempt in attempts.items():
        with pytest.raises(kind) as error:
            attempt()
            pytest.fail(f"{name} was taken")
        text = str(error.value)
        assert text and len(text.splitlines()) == 1 and len(text) < 500, (name, text[:1000])
        assert text.encode(), "it can be printed"
        assert told(gallery) == before, name
    assert gallery.custody.verify_log() == []


@pytest.mark.filterwarnings("error")
def test_embeddings(gallery):
    enrol = {n: lambda rows=rows: gallery.enroll_embeddings("bob", rows, CONTRACT) for n, rows in EMBEDDINGS.items()}
    all_refused(gallery, enrol)
    with_known = {n: lambda r=rows: gallery.enroll_embeddings("alice", r, CONTRACT) for n, rows in EMBEDDINGS.items()}
    all_refused(gallery, with_known)
    searched = {n: rows for n, rows in EMBEDDINGS.items() if n not in ("no rows", "an empty list")}
    all_refused(
        gallery,
        {n: lambda rows=rows: gallery.identify_embeddings(rows, CONTRACT) for n, rows in searched.items()},
        ContractError,
    )
    contracts = [None, 7, "", "another"]
    all_refused(gallery, {repr(c): lambda c=c: gallery.enroll_embeddings("bob", GOOD, c) for c in contracts})


def test_embeddings_of_other_kinds_of_numbers_are_the_same(gallery):
    one = np.eye(1, DIM)
    for number, rows in enumerate([one, one.astype(np.float16), one.astype(int), one[0], one.tolist(), one > 0]):
        assert gallery.enroll_embeddings(f"p{number}", rows, CONTRACT).templates == 1
    wanted = gallery._binding.existing()
    rows = np.concatenate([part.rows for part in wanted.view.parts])[2:]
    assert len(rows) == 6 and np.allclose(rows, rows[0], atol=1e-6)


def test_names(gallery):
    def attempts(call):
        return {repr(name)[:20]: lambda name=name: call(name) for name in NAMES}

    all_refused(gallery, attempts(lambda name: gallery.enroll_embeddings(name, GOOD, CONTRACT)))
    shown = [name for name in NAMES if name is not None]
    all_refused(
        gallery, {repr(n)[:9]: lambda n=n: gallery.enroll_embeddings("alice", GOOD, CONTRACT, name=n) for n in shown}
    )
    all_refused(gallery, attempts(lambda name: gallery.erase("alice", name)))
    all_refused(gallery, attempts(gallery.custody.person))
    all_refused(gallery, attempts(lambda name: gallery.custody.retain(name, None)))
    others = [name for name in NAMES if isinstance(name, str)]
    for name in others:
        with pytest.raises(VultusError):
            Gallery.open(gallery._binding.place.address, Bare(), collection=name).create()  # pyright: ignore


def test_metadata_bombs(gallery):
    def attempts(call):
        return {f"metadata {at}": lambda about=about: call(about) for at, about in enumerate(METADATA)}

    for person in ("alice", "bob"):
        all_refused(gallery, attempts(lambda a, p=person: gallery.enroll_embeddings(p, GOOD, CONTRACT, metadata=a)))
    all_refused(gallery, attempts(lambda about: gallery.enroll_embeddings("bob", GOOD, CONTRACT, provenance=about)))
    all_refused(gallery, attempts(lambda about: gallery.persons(about)))
    assert gallery.persons({"a' OR 1=1 --": 1}) == []
    assert gallery.persons({'"': '"]}'}) == []


def test_consents_settings_and_the_rest(gallery):
    custody, enrol = gallery.custody, gallery.enroll_embeddings
    all_refused(gallery, {repr(c)[:60]: lambda c=c: enrol("bob", GOOD, CONTRACT, consent=c) for c in CONSENTS})
    all_refused(gallery, {repr(c)[:60]: lambda c=c: gallery.configure(**c) for c in SETTINGS})
    keys = ["", SURROGATE, LONG, "a\nb", 5]
    all_refused(gallery, {repr(k)[:9]: lambda k=k: enrol("bob", GOOD, CONTRACT, client_key=k) for k in keys})
    all_refused(
        gallery,
        {
            "erase nobody": lambda: gallery.erase(),
            "a long reason": lambda: gallery.erase("alice", reason=LONG),
            "a reason that names": lambda: gallery.erase("alice", reason="alice asked"),
            "5,000 unknown": lambda: gallery.erase("alice", *(f"nobody{number}" for number in range(5000))),
            "retain": lambda: custody.retain("alice", LONG),
            "retain past": lambda: custody.retain("alice", "1999-01-01"),
            "retain beyond": lambda: custody.retain("alice", "9999-12-31T23:59:59-23:59"),
            "no template": lambda: custody.remove_template("alice", -1),
            "no template of so many bits": lambda: custody.remove_template("alice", 2**70),
            "after": lambda: gallery.persons(after=SURROGATE),
            "mend": lambda: custody.mend_log("nothing"),
            "anchor": lambda: custody.verify_log(["no anchor"]),
            "rates": lambda: gallery.identify_embeddings(GOOD, CONTRACT, fpir=float("nan")),
            "export": lambda: custody.export("alice", "/nonexistent/folder/alice.zip"),
            "backup": lambda: custody.backup("/nonexistent/folder/backup"),
        },
    )


def test_places(tmp_path):
    for place in (tmp_path, "", tmp_path / ("n" * 300), f"{tmp_path}/a\0b", f"{tmp_path}/{SURROGATE}", "mysql://a/b"):
        with pytest.raises(VultusError) as error:
            opened(str(place)).create()
        assert len(str(error.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "text.db").write_text("this is no gallery, and it is longer than the header of one" * 10)
    (tmp_path / "empty.db").touch()
    for name in ("text.db", "empty.db"):
        with pytest.raises(VultusError, match="no vultus gallery"):
            opened(str(tmp_path / name))


@pytest.mark.parametrize("actor", [LONG, SURROGATE, "\0", "a\nb", "\udcff"])
def test_whoever_acts_is_written_down_as_far_as_it_can_be(place, actor):
    with Gallery.open(str(place), Bare(), actor=actor) as gallery:  # pyright: ignore[reportArgumentType]
        gallery.create()
        entry = gallery.custody.log()[-1]
        assert entry.actor.isprintable() and 0 < len(entry.actor) <= 200
        assert gallery.custody.verify_log() == []


def test_a_purpose_is_the_same_however_it_is_typed(place):
    settings = {"require_consent": True, "purpose": " Caf\u0065\u0301 "}
    with Gallery.open(str(place), Bare(), settings=settings) as gallery:  # pyright: ignore[reportArgumentType]
        gallery.enroll_embeddings("alice", GOOD, CONTRACT, consent=ConsentGiven("art. 9(2)(a)"))
        gallery.enroll_embeddings("bob", GOOD, CONTRACT, consent=ConsentGiven("x", purpose="Caf\u00e9"))
        assert [person.status for person in gallery.persons()] == ["active", "active"]


def test_rates_that_cannot_be(place, recognizer, picture):
    with Gallery.open(str(place), recognizer, settings={"gates": False}) as gallery:
        gallery.enroll("alice", picture(0))
        row, contract = recognizer.embed([picture(0)]), recognizer.contract.id
        for rate in (float("nan"), float("inf"), -1, 0, 2, 1e-300):
            with pytest.raises(CalibrationError):
                gallery.identify_embeddings(row, contract, fpir=rate)
            with pytest.raises(CalibrationError):
                gallery.verify("alice", picture(0), fmr=rate)
        for k in (0, -1):
            with pytest.raises(VultusError, match="at least 1"):
                gallery.identify_embeddings(row, contract, fpir=0.01, k=k)
        assert gallery.identify_embeddings(row, contract, fpir=0.01, k=2**62)[0].person == "alice"
