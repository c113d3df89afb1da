"""A calibration is believed only where it can have been measured, and only for the crops that it was measured on."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from vultus.cli.app import app
from vultus.errors import CalibrationError, VultusError
from vultus.evaluation import Calibration, calibrate
from vultus.evaluation.calibration import CropOrigin
from vultus.faces import identify_detector
from vultus.gallery import Gallery, Kind
from vultus.recognizer import Card, load_recognizer, write_card
from vultus.recognizer.load import shipped_calibration
from vultus.zoo import ZOO, canonical_digest
from vultus.zoo.contract import Contract

Plain = dict[str, Any]
UNGATED = {"gates": False}


def every(name: str, value: float) -> Callable[[Plain], None]:
    return lambda plain: plain["points"].update({name: [value] * len(plain["points"][name])})


def one(name: str, value: Any, at: int = -1) -> Callable[[Plain], None]:
    return lambda plain: plain["points"][name].__setitem__(at, value)


def field(name: str, value: Any) -> Callable[[Plain], None]:
    return lambda plain: plain.__setitem__(name, value)


def ratio(name: str, value: Any) -> Callable[[Plain], None]:
    return lambda plain: plain["likelihood"].__setitem__(name, value)


def longer(name: str) -> Callable[[Plain], None]:
    return lambda plain: plain["points"].update({name: plain["points"][name] * 100_000})


def reversed_thresholds(plain: Plain) -> None:
    plain["points"]["threshold"].reverse()


def further_rates(plain: Plain) -> None:
    """Rates that nobody measured, down to 1e-6, at which everything passes."""
    points = plain["points"]
    while points["fmr"][-1] > 1e-6:
        for name, column in points.items():
            column.append(float(f"{column[-1] * 10**-0.1:.6g}") if name in ("fmr", "measured") else column[-1])


def everything_passes(plain: Plain) -> None:
    every("threshold", -1.0)(plain)
    every("measured", 1e-7)(plain)
    every("fmr_low", 0.0)(plain)


FORGERIES: dict[str, Callable[[Plain], None]] = {
    "thresholds of -1": every("threshold", -1.0),
    "thresholds of -1, with rates to match": everything_passes,
    "thresholds of 5": every("threshold", 5.0),
    "reversed thresholds": reversed_thresholds,
    "a threshold that is no number": one("threshold", float("nan")),
    "an infinite threshold": one("threshold", float("inf")),
    "a threshold in words": one("threshold", "0.9"),
    "a threshold that is true": one("threshold", True),
    "a threshold of no size": one("threshold", 10**400),
    "a rate of 1e-300": one("fmr", 1e-300),
    "a rate of -1": one("fmr", -1.0),
    "a rate of 0": one("fmr", 0.0),
    "rates below the counts": further_rates,
    "a measured rate above the one promised": one("measured", 0.5),
    "an interval without its rate": one("fmr_high", 0.0),
    "an FNMR of 2": one("fnmr", 2.0, 0),
    "a prediction upside down": one("predicted_low", 1.0),
    "columns of unequal length": lambda plain: plain["points"]["fnmr"].pop(),
    "a column without an end": longer("threshold"),
    "points that are a list": field("points", [1, 2]),
    "more comparisons than pairs": field("non_mated", 10**12),
    "counts in words": field("non_mated", "many"),
    "counts below 0": field("mated", -1),
    "counts that are half": field("images", 10.5),
    "people without images": field("images_of_people", [[0, 250]]),
    "people in words": field("images_of_people", "all"),
    "a source that is no text": field("source", 5),
    "a source without an end": field("source", "x" * 10**6),
    "ratios beyond the counts": ratio("highest", 400.0),
    "a ratio that is no number": ratio("slope", float("nan")),
    "ratios that fall": ratio("steps", {"score": [0.0, 0.5], "llr": [1.0, 0.0]}),
    "ratios without steps": ratio("steps", {"score": [], "llr": []}),
    "too many ratios": ratio("steps", {"score": list(range(100_000)), "llr": list(range(100_000))}),
    "a diagram of nothing": ratio("reliability", {"predicted": [2.0]}),
    "a tail in words": field("tail", {"above": "x"}),
    "people that are none": field("people", {"dataset": 1, "hashes": 2}),
    "a detector that is a list": field("crops", ["yunet"]),
    "a detector without a digest": field("crops", {"detector": "yunet", "digest": "", "template": "arcface-112"}),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_calibration_that_nobody_can_have_measured_is_refused(recognizer, forgery: str) -> None:
    plain = json.loads(recognizer.calibration.to_json())
    FORGERIES[forgery](plain)
    for read in (lambda: Calibration.from_dict(plain), lambda: Calibration.from_json(json.dumps(plain))):
        with pytest.raises(CalibrationError) as refused:
            read()
        assert refused.value.code == "calibration_invalid"
        assert "\n" not in str(refused.value) and len(str(refused.value)) < 400


@pytest.mark.parametrize("text", ["", "[" * 100_000, '{"format": ' + "9" * 5000 + "}", "null", '"x"', b"\xff\xfe\x00"])
def test_what_is_no_calibration_at_all_is_one_line(text) -> None:
    with pytest.raises(CalibrationError) as refused:
        Calibration.from_json(text)
    assert refused.value.code == "calibration_format" and "\n" not in str(refused.value)


def test_a_forged_calibration_names_nobody(recognizer, tmp_path, unit_rows) -> None:
    """What a gallery would have answered: a match at the cosine of -1, for FPIR 1e-6."""
    with Gallery.open(tmp_path / "g.db", model=recognizer, settings=UNGATED) as gallery:
        row = unit_rows(1)
        gallery.enroll_embeddings("alice", row, recognizer.contract.id)
        with pytest.raises(CalibrationError):
            dataclasses.replace(
                recognizer.calibration,
                points=tuple(dataclasses.replace(at, threshold=-1.0) for at in recognizer.calibration.points),
            )
        decision = gallery.identify_embeddings(-row, recognizer.contract.id, fpir=0.05)[0]
        assert decision.kind is Kind.UNKNOWN


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> tuple[onnx.ModelProto, Card]:
    """A network that takes crops and gives two numbers."""
    from onnx import TensorProto, helper

    pooled = helper.make_node("GlobalAveragePool", ["crops"], ["means"])
    flat = helper.make_node("Flatten", ["means"], ["embeddings"])
    crops = helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["batch", 3, 112, 112])
    rows = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph([pooled, flat], "tiny", [crops], [rows])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    contract = Contract(canonical_digest(model), 3, (0.0, 0.0, 0.0), (127.5, 127.5, 127.5))
    drawn = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    measured = calibrate(drawn, np.repeat(np.arange(20), 3), source="draws", contract_id=contract.id)
    return model, Card("tiny", contract, "CC0-1.0", calibration=measured)


@pytest.mark.parametrize("forgery", ["thresholds of -1", "a rate of 1e-300", "a threshold that is no number"])
def test_an_edited_card_is_one_line_on_the_command_line(network, tmp_path, forgery: str) -> None:
    model, card = network
    write_card(copy.deepcopy(model), card, tmp_path / "edited.onnx")
    edited = onnx.load(str(tmp_path / "edited.onnx"))
    for entry in edited.metadata_props:
        if entry.key == "vultus":
            fields = json.loads(entry.value)
            FORGERIES[forgery](fields["calibration"])
            entry.value = json.dumps(fields)
    onnx.save(edited, str(tmp_path / "edited.onnx"))
    with pytest.raises(CalibrationError) as refused:
        load_recognizer(tmp_path / "edited.onnx")
    assert refused.value.code == "calibration_invalid"
    asked = ["export", str(tmp_path / "edited.onnx"), "--out", str(tmp_path / "again.onnx")]
    assert isinstance(CliRunner().invoke(app, asked).exception, CalibrationError)


@pytest.mark.parametrize("card", [[], 5, {"name": [1]}, {"calibration": "x"}, {"provenance": [1]}, {"contract": 7}])
def test_an_odd_card_is_one_line(network, tmp_path, card) -> None:
    fields = json.loads(network[1].to_json())
    text = json.dumps({**fields, **card} if isinstance(card, dict) else card)
    for broken in (text, "[" * 100_000, text[:-5]):
        with pytest.raises(VultusError) as refused:
            Card.from_json(broken, "model.onnx")
        assert "\n" not in str(refused.value)


def test_a_card_with_the_calibration_of_another_model_is_refused(network, recognizer) -> None:
    fields = json.loads(network[1].to_json())
    fields["calibration"] = recognizer.calibration.to_dict()
    with pytest.raises(VultusError) as refused:
        Card.from_json(json.dumps(fields), "model.onnx")
    assert refused.value.code == "calibration_contract"


def test_a_side_file_is_checked_as_well(network, tmp_path) -> None:
    model, card = network
    path = tmp_path / "foreign.onnx"
    onnx.save(model, str(path))
    contract = {"dim": 3, "mean": [0.0] * 3, "std": [127.5] * 3, "color": "RGB"}
    path.with_suffix(".contract.json").write_text(json.dumps(contract))
    plain = card.calibration.to_dict()
    path.with_suffix(".calibration.json").write_text(json.dumps(plain))
    assert load_recognizer(path).calibration == card.calibration
    every("threshold", -1.0)(plain)
    path.with_suffix(".calibration.json").write_text(json.dumps(plain))
    with pytest.raises(CalibrationError) as refused:
        load_recognizer(path)
    assert refused.value.code == "calibration_invalid"


def made_by(name: str) -> CropOrigin:
    return CropOrigin(*identify_detector(name), "arcface-112")


@pytest.fixture
def cropped(recognizer):
    """The recogniser, its crops made by yunet; `cropped(name)` calibrated on those by another detector."""

    def make(detector: str):
        made = copy.copy(recognizer)
        made.crops = made_by("yunet")
        made.calibration = dataclasses.replace(recognizer.calibration, crops=made_by(detector))
        return made

    return make


def test_another_detectors_calibration_is_refused(cropped, place, picture) -> None:
    with Gallery.open(place, model=cropped("yunet"), settings=UNGATED) as gallery:
        gallery.enroll("alice", picture(1))
        found = gallery.identify(picture(1, 1), fpir=0.05)[0].decision
        assert found.to_dict()["threshold"]["detector"] == "yunet"
    with Gallery.open(place, model=cropped("yunet-n"), settings=UNGATED) as gallery:
        for refused_call in (
            lambda: gallery.identify(picture(1)),
            lambda: gallery.verify("alice", picture(1)),
            lambda: gallery.enroll("alice", picture(1, 2)),
            lambda: gallery.investigate(picture(1)),
            lambda: gallery.threshold(0.05),
        ):
            with pytest.raises(CalibrationError) as refused:
                refused_call()
            assert refused.value.code == "calibration_detector"
            assert refused.value.fields["measured"]["detector"] == "yunet-n"
            assert refused.value.fields["used"]["detector"] == "yunet"


def test_a_collection_is_not_moved_to_a_model_calibrated_on_other_crops(cropped, place, picture) -> None:
    with Gallery.open(place, model=cropped("yunet"), settings={**UNGATED, "keep_crops": True}) as gallery:
        gallery.enroll("alice", picture(1))
        with pytest.raises(CalibrationError) as refused:
            gallery.reembed(cropped("yunet-n"))
        assert refused.value.code == "calibration_detector"


def test_a_dataset_says_how_its_crops_were_made(tmp_path, monkeypatch) -> None:
    from PIL import Image

    import vultus.data.build as room
    from vultus.data import FaceDataset, build_dataset

    def cut(image, *_):
        return [(image[:112, :112], [0, 0, 112, 112], np.zeros(10), 0.9)]

    monkeypatch.setattr(room, "_cut", cut)
    for person in "ab":
        (tmp_path / "photos" / person).mkdir(parents=True)
        noise = np.random.default_rng(ord(person)).integers(0, 255, (112, 112, 3)).astype(np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / person / "1.png")
    build_dataset(tmp_path / "photos", tmp_path / "cut", workers=1)
    assert FaceDataset.open(tmp_path / "cut").origin == made_by("yunet")
    build_dataset(tmp_path / "photos", tmp_path / "aligned", aligned=True, workers=1)
    assert FaceDataset.open(tmp_path / "aligned").origin is None


DETECTORS = ("yunet", "yunet-n", "scrfd-2.5g")
"""Those that sface was calibrated for."""


@pytest.mark.parametrize("detector", DETECTORS)
def test_sface_is_shipped_with_a_calibration_for_each_detector(detector: str, tmp_path) -> None:
    chosen = load_recognizer("sface", detector=detector)
    assert chosen.calibration is not None and chosen.calibration.crops == chosen.crops == made_by(detector)
    assert chosen.crops.digest == ZOO[detector].sha256
    asked = ["export", "sface", "--detector", detector, "--out", str(tmp_path / "sface.onnx")]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    again = load_recognizer(tmp_path / "sface.onnx")  # finds faces by the detector that its calibration is of
    assert again.calibration == chosen.calibration and again.crops == chosen.crops


def test_the_shipped_calibrations_differ_and_are_looked_up_by_detector() -> None:
    contract = load_recognizer("sface").contract
    found = [shipped_calibration(contract, made_by(detector)) for detector in DETECTORS]
    assert len({calibration.digest for calibration in found if calibration}) == len(DETECTORS)
    assert shipped_calibration(contract) == found[0]
    assert shipped_calibration(contract, CropOrigin("mine", "0" * 64, "arcface-112")) is None


def test_the_digest_is_of_the_content(recognizer) -> None:
    found = recognizer.calibration
    assert Calibration.from_json(found.to_json()).digest == found.digest
    assert len(found.digest) == 64
    for other in ({"source": "x"}, {"crops": made_by("yunet")}, {"created": "2020-01-01T00:00:00+00:00"}):
        assert dataclasses.replace(found, **other).digest != found.digest


@pytest.fixture
def bound(place, recognizer, picture):
    """A gallery's place, and its recogniser with another calibration than the one that decides there."""
    with Gallery.open(place, model=recognizer, settings=UNGATED) as gallery:
        gallery.enroll("alice", picture(1))
        gallery.identify(picture(1), fpir=0.05)
    other = copy.copy(recognizer)
    other.calibration = dataclasses.replace(recognizer.calibration, source="consistently forged")
    return place, other


def kinds(gallery: Gallery) -> list[str]:
    return [entry.kind for entry in gallery.custody.log()]


def test_another_calibration_decides_only_after_it_was_accepted(bound, picture) -> None:
    place, other = bound
    with Gallery.open(place, model=other, settings=UNGATED) as gallery:
        for refused_call in (
            lambda: gallery.identify(picture(1), fpir=0.05),
            lambda: gallery.verify("alice", picture(1), fmr=0.01),
            lambda: gallery.enroll("alice", picture(1, 2)),
            lambda: gallery.investigate(picture(1)),
        ):
            with pytest.raises(CalibrationError) as refused:
                refused_call()
            assert refused.value.code == "calibration_changed"
            assert refused.value.fields["found"] == other.calibration.digest
        assert gallery.accept_calibration() == other.calibration.digest
        assert gallery.identify(picture(1), fpir=0.05)[0].decision.kind is Kind.MATCH
        assert kinds(gallery).count("calibration_changed") == 1
        assert gallery.custody.verify_log() == []


def test_a_calibration_that_was_taken_out_switches_no_guard_off(bound, picture) -> None:
    place, other = bound
    other.calibration = None
    with Gallery.open(place, model=other, settings=UNGATED) as gallery:
        with pytest.raises(CalibrationError) as refused:
            gallery.enroll("alice", picture(2))
        assert refused.value.code == "calibration_changed"


def test_a_first_calibration_is_bound_when_it_first_decides(place, recognizer, picture) -> None:
    bare = copy.copy(recognizer)
    bare.calibration = None
    with Gallery.open(place, model=bare, settings=UNGATED) as gallery:
        gallery.enroll("alice", picture(1))
        assert "calibration_bound" not in kinds(gallery)
    with Gallery.open(place, model=recognizer, settings=UNGATED) as gallery:
        for _ in range(2):
            gallery.identify(picture(1), fpir=0.05)
        assert kinds(gallery).count("calibration_bound") == 1
