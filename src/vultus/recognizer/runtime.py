"""Embed faces with onnxruntime, as the contract says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx

from vultus.errors import ContractError
from vultus.evaluation import Calibration
from vultus.faces import Detector, Face, align, load_detector, select_faces, to_image
from vultus.faces.face import Select
from vultus.recognizer.card import Card
from vultus.zoo import Contract

BATCH = 32


class Recognizer:
    """A network with its card: photographs to faces, faces to unit embeddings. Thread-safe."""

    def __init__(
        self, model: onnx.ModelProto, card: Card, *, models_dir: str | None = None, threads: int | None = None
    ) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise ContractError(f"the network of {card.name} cannot be loaded: {str(error)[:200]}") from None
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name
        self._models_dir = models_dir
        self.card = card
        contract = card.contract
        # One affine map a channel, in the network's own channel order.
        self._scale = (1 / np.asarray(contract.std, np.float32)).reshape(3, 1, 1)
        self._shift = np.asarray(contract.mean, np.float32).reshape(3, 1, 1) * self._scale

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def contract(self) -> Contract:
        return self.card.contract

    @property
    def calibration(self) -> Calibration | None:
        return self.card.calibration

    @property
    def licence(self) -> str:
        return self.card.licence

    @property
    def detector(self) -> Detector:
        return load_detector(models_dir=self._models_dir)

    def faces(self, image: str | Path | bytes | np.ndarray, select: Select = "all") -> list[Face]:
        """Detect and align: the faces of a photograph (path, bytes, or (H, W, 3) uint8 RGB), best score first.

        Args:
            select: "all", "largest", or "center" (the one nearest the middle).

        Raises:
            ImageError: the photograph cannot be read.
        """
        pixels = to_image(image)
        chosen = select_faces(self.detector.detect(pixels), (pixels.shape[0], pixels.shape[1]), select)
        return [Face(face.box, face.landmarks, face.score, align(pixels, face.landmarks)) for face in chosen]

    def embed(self, faces: Sequence[Face] | Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Unit-length embeddings, (N, dim) float32, of aligned crops.

        Args:
            faces: what `faces` returned, or crops (N, 112, 112, 3) uint8 RGB. N may be 0.

        Raises:
            ContractError: crops of another size or type, or an embedding that is no direction (NaN or zero).
        """
        crops = [face.crop if isinstance(face, Face) else face for face in faces]
        height, width = self.contract.crop_size
        result = np.empty((len(crops), self.contract.dim), np.float32)
        for start in range(0, len(crops), BATCH):
            batch = crops[start : start + BATCH]
            fitted = [_fitted(crop, height, width, start + offset) for offset, crop in enumerate(batch)]
            pixels = np.stack(fitted).transpose(0, 3, 1, 2).astype(np.float32)
            if self.contract.color == "BGR":
                pixels = pixels[:, ::-1]
            pixels = pixels * self._scale - self._shift
            try:
                raw = self._session.run([self._output], {self._input: np.ascontiguousarray(pixels)})[0]
            except Exception as error:
                reason = str(error).splitlines()[0][:160]
                raise ContractError(f"{self.name} cannot take crops as its contract says: {reason}") from None
            raw = np.asarray(raw, np.float32).reshape(len(batch), -1)
            if raw.shape[1] != self.contract.dim:
                raise ContractError(
                    f"{self.name} gives {raw.shape[1]} numbers a face, its contract says {self.contract.dim}; "
                    "correct 'dim' in the contract"
                )
            norms = np.linalg.norm(raw, axis=1, keepdims=True)
            if not np.isfinite(norms).all() or (norms < 1e-12).any():
                bad = int(np.flatnonzero(~np.isfinite(norms[:, 0]) | (norms[:, 0] < 1e-12))[0])
                raise ContractError(f"{self.name} gives no usable embedding (NaN or zero) for face {start + bad}")
            result[start : start + len(batch)] = raw / norms
        return result


def _fitted(crop: Any, height: int, width: int, number: int) -> np.ndarray:
    """The crop at the contract's size: narrower than the template is cut from the middle, otherwise resized."""
    if not isinstance(crop, np.ndarray) or crop.dtype != np.uint8 or crop.shape[2:] != (3,):
        found = f"{crop.shape} {crop.dtype}" if isinstance(crop, np.ndarray) else type(crop).__name__
        raise ContractError(f"face {number} is no aligned crop (112, 112, 3) uint8 RGB but {found}")
    if crop.shape[:2] == (height, width):
        return crop
    if crop.shape[0] == height and crop.shape[1] > width:
        left = (crop.shape[1] - width) // 2
        return crop[:, left : left + width]
    return cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)
