"""Faces with five landmarks, in batches and at several scales, by a YuNet or an SCRFD.

Small networks see faces of about 10 to 300 pixels, so a large photograph is searched at its own size (bounded) and
reduced.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from vultus.errors import VultusError
from vultus.faces.decoder import Decoder
from vultus.faces.face import Face
from vultus.faces.scrfd import Scrfd
from vultus.faces.yunet import YuNet
from vultus.zoo import ZOO, announce, find_file, model_file, sanitise
from vultus.zoo.download import sha256_of

SIDES = (1280, 480)
"""Longest sides, in pixels, at which a photograph is searched: fine, and coarse for faces too large for the network."""
SMALL = 640
"""A photograph no longer than this is searched at its own size only."""


class Detector:
    """A network and how it is read. Thread-safe: the session holds no state between calls.

    name    in the zoo, or that of a file that the zoo does not know
    digest  SHA-256 (hex) of its file
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        """Load an ONNX file of YuNet or SCRFD, whatever its declared size; which it is, its outputs tell.

        Raises `VultusError` if it is another network.
        """
        import onnx
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        # Spinning threads would take the cores from the recogniser, whose turn is next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            model = sanitise(onnx.load(str(path)), dynamic_size=True)
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except VultusError:
            raise
        except Exception as error:
            raise VultusError(f"{path} is no detector that can be loaded: {str(error)[:160]}") from None
        self.name, self.digest = identify_detector(path)
        outputs = {output.name: output.shape for output in self._session.get_outputs()}
        decoder = YuNet.of(outputs) or Scrfd.of(outputs)
        if decoder is None:
            raise VultusError(
                f"{path} is no YuNet and no SCRFD with landmarks: its outputs are {', '.join(list(outputs)[:9])}"
            )
        self._decoder: Decoder = decoder
        self._input = self._session.get_inputs()[0].name

    def detect(self, image: np.ndarray, score_threshold: float | None = None) -> list[Face]:
        """Faces of one (H, W, 3) uint8 RGB photograph, best score first, without crops.

        score_threshold: in [0, 1]; default the network's (YuNet 0.7, SCRFD 0.5).
        """
        return self.detect_batch([image], score_threshold)[0]

    def detect_batch(self, images: Sequence[np.ndarray], score_threshold: float | None = None) -> list[list[Face]]:
        """Faces of several photographs; those of equal size share a run of the network."""
        score_threshold = self._decoder.score_threshold if score_threshold is None else score_threshold
        found = self._at_scales(images, [_scales(image.shape) for image in images], score_threshold)
        # A face that fills a small picture has too little surroundings: look again, enlarged and with a margin.
        missed = [i for i, candidates in enumerate(found) if not len(candidates)]
        for i in missed:
            height, width = images[i].shape[:2]
            if max(height, width) > SMALL or min(height, width) < 8:
                continue
            pad = max(height, width) // 4
            padded = cv2.copyMakeBorder(images[i], pad, pad, pad, pad, cv2.BORDER_CONSTANT)
            enlarge = [float(min(4.0, max(1.0, 320 / max(padded.shape[:2]))))]
            again = self._at_scales([padded], [enlarge], score_threshold)[0]
            again[:, :14] -= pad
            found[i] = again
        return [_suppress(candidates, self._decoder.nms_iou) for candidates in found]

    def _at_scales(
        self, images: Sequence[np.ndarray], scales: Sequence[Sequence[float]], score_threshold: float
    ) -> list[np.ndarray]:
        """Candidates (K, 15): box, five points, score, in pixels of each picture."""
        groups: dict[tuple[int, int], list[tuple[int, float, np.ndarray]]] = defaultdict(list)
        for index, (image, wanted) in enumerate(zip(images, scales, strict=True)):
            for scale in wanted:
                height, width = (max(1, round(side * scale)) for side in image.shape[:2])
                scaled = image
                if scale != 1:
                    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
                    scaled = cv2.resize(image, (width, height), interpolation=how)
                padded = np.zeros((-(-height // 32) * 32, -(-width // 32) * 32, 3), np.uint8)
                padded[:height, :width] = scaled
                groups[padded.shape[:2]].append((index, scale, padded))
        found: list[list[np.ndarray]] = [[np.zeros((0, 15), np.float32)] for _ in images]
        for members in groups.values():
            batch = self._decoder.prepare(np.stack([padded for _, _, padded in members]))
            names = self._decoder.outputs
            results = self._session.run(names, {self._input: batch})
            outputs = {name: np.asarray(result) for name, result in zip(names, results, strict=True)}
            for row, (index, scale, padded) in enumerate(members):
                candidates = self._decoder.decode(outputs, row, padded.shape[:2], score_threshold)
                candidates[:, :14] /= scale
                found[index].append(candidates)
        return [np.concatenate(parts) for parts in found]


def _scales(shape: tuple[int, ...]) -> list[float]:
    longest = max(shape[0], shape[1])
    if longest <= SMALL:
        return [1.0]
    return [min(1.0, side / longest) for side in SIDES]


def _suppress(candidates: np.ndarray, iou: float) -> list[Face]:
    """Greedy non-maximum suppression, across scales too; best score first."""
    if not len(candidates):
        return []
    corner, size = candidates[:, :2], candidates[:, 2:4] - candidates[:, :2]
    boxes = np.concatenate([corner, size], 1)
    kept = np.asarray(cv2.dnn.NMSBoxes(boxes.tolist(), candidates[:, 14].tolist(), 0.0, iou)).reshape(-1)
    faces = [
        Face(box=c[:4].copy(), landmarks=c[4:14].reshape(5, 2).copy(), score=float(c[14])) for c in candidates[kept]
    ]
    return sorted(faces, key=lambda face: -face.score)


@lru_cache(maxsize=4)
def load_detector(name: str = "yunet", models_dir: str | None = None, threads: int | None = None) -> Detector:
    """The detector called `name` in the zoo, or an ONNX file of YuNet or SCRFD; loaded once a process."""
    if name.lower().endswith(".onnx"):
        if not Path(name).is_file():
            raise VultusError(f"detector {name} does not exist; give an .onnx file or a name of `vultus models list`")
        detector = Detector(name, threads)
        if detector.name in ZOO:  # a file given by its path keeps its licence
            announce(ZOO[detector.name])
        return detector
    entry = model_file(name, "detector")
    detector = Detector(find_file(entry, models_dir), threads)
    announce(entry)
    return detector


def identify_detector(where: str | Path) -> tuple[str, str]:
    """(name, SHA-256 in hex) of a detector, by its name in the zoo or by its file; the network is not loaded.

    A file that the zoo knows goes by its name there.
    """
    if not str(where).lower().endswith(".onnx"):
        entry = model_file(str(where), "detector")
        if entry.sha256 is not None:
            return entry.name, entry.sha256
        where = find_file(entry)
    if not Path(where).is_file():
        raise VultusError(
            f"detector {where} does not exist; give an .onnx file or a name of `vultus models list`", code="no_file"
        )
    digest = sha256_of(Path(where))
    known = next((entry.name for entry in ZOO.values() if entry.sha256 == digest), None)
    return known or Path(where).name, digest
