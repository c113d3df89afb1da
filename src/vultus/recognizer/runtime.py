"""Embed faces as the contract says, with whatever runtime loads the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from vultus.errors import ContractError, VultusError
from vultus.evaluation import Calibration
from vultus.evaluation.calibration import CropOrigin
from vultus.faces import Detector, Face, align, identify_detector, load_detector, select_faces, to_image
from vultus.faces.face import Select
from vultus.recognizer.backends import Backend, BackendName, TorchBackend, open_backend
from vultus.recognizer.card import Card
from vultus.recognizer.pixels import to_pixels
from vultus.zoo import ZOO, Contract

if TYPE_CHECKING:
    import torch

DETECTOR = "yunet"
"""Finds faces where nobody says otherwise."""
BATCH = 32
"""Crops a run of the network."""
PHOTOGRAPHS = 16
"""Photographs a run of the detector; more cost memory and bring no speed."""


class Recognizer:
    """A network with its card: photographs to faces, faces to unit embeddings. Thread-safe."""

    def __init__(
        self,
        model: onnx.ModelProto | None,
        card: Card,
        *,
        network: torch.nn.Module | None = None,
        models_dir: str | None = None,
        threads: int | None = None,
        backend: BackendName | Backend = "auto",
        precision: str | None = None,
        flip: bool | None = None,
        detector: str | None = None,
    ) -> None:
        """Load and warm up.

        Args:
            model: the network as ONNX; None where `network` (a torch module) or a loaded `backend` runs instead.
            threads: of one run of the network; all cores by default.
            backend: "auto" is onnxruntime, but OpenVINO for bfloat16 and, where it is installed, for int8, which
                onnxruntime computes more slowly than float32 (docs/deploying.md).
            precision: "bfloat16" computes so where OpenVINO and the CPU can; as the contract says by default.
            flip: add the embedding of the mirror image, at twice the cost; as the contract says by default.
            detector: what finds faces, a name of the zoo or an .onnx file; by default the one whose crops the
                calibration was measured on, or else yunet.

        Another precision or flip than the card's makes another contract, which has no calibration.

        Raises:
            ContractError: a network that cannot be loaded or does not fit its contract.
            VultusError: a backend that is unknown, not installed, or cannot compute so.
        """
        card = _as_run(card, precision, flip)
        if network is not None:
            if card.contract.precision != "float32":
                raise VultusError(f"{card.name}: a torch network runs in float32; leave precision={precision} out")
            self._backend: Backend = TorchBackend(network)
        elif not isinstance(backend, str):
            self._backend = backend
        elif model is None:
            raise ContractError(f"{card.name} has no network: neither ONNX, nor torch, nor a backend was given")
        else:
            self._backend = open_backend(model, backend, threads=threads, precision=card.contract.precision)
        self._models_dir = models_dir
        self.card = card
        self._detector = detector or _detector_of(card)
        self.warm_up()

    def warm_up(self) -> None:
        """Run one grey crop, so that the first photograph does not pay for lazy set-up. Done once at loading.

        Raises ContractError where the network does not take crops as its contract says.
        """
        self._run([np.full((*self.contract.crop_size, 3), 127, np.uint8)], 0)

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
    def backend(self) -> str:
        """Name of the runtime that runs the network."""
        return self._backend.name

    @property
    def detector(self) -> Detector:
        return load_detector(self._detector, self._models_dir)

    @property
    def crops(self) -> CropOrigin:
        """How `faces` makes crops: by which detector, onto which template."""
        return CropOrigin(*identify_detector(self._detector), self.contract.template)

    def faces(self, image: str | Path | bytes | np.ndarray, select: Select = "all") -> list[Face]:
        """Detect and align: the faces of a photograph (path, bytes, or (H, W, 3) uint8 RGB), best score first.

        Args:
            select: "all", "largest", or "center" (the one nearest the middle).

        Raises:
            ImageError: the photograph cannot be read.
        """
        return self.faces_of([image], select)[0]

    def faces_of(self, images: Iterable[str | Path | bytes | np.ndarray], select: Select = "all") -> list[list[Face]]:
        """`faces` of several photographs; those of equal size share a run of the detector.

        `embed` takes the faces of all of them at once: `recognizer.embed([face for faces in found for face in faces])`.
        """
        detector, found = self.detector, []
        remaining = iter(images)
        while batch := [to_image(image) for image in islice(remaining, PHOTOGRAPHS)]:
            for pixels, faces in zip(batch, detector.detect_batch(batch), strict=True):
                chosen = select_faces(faces, (pixels.shape[0], pixels.shape[1]), select)
                found.append([Face(f.box, f.landmarks, f.score, align(pixels, f.landmarks)) for f in chosen])
        return found

    def embed(self, faces: Sequence[Face] | Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Unit-length embeddings, (N, dim) float32, of aligned crops.

        Args:
            faces: what `faces` returned, or crops (N, 112, 112, 3) uint8 RGB. N may be 0.

        Raises:
            ContractError: crops of another size or type, or an embedding that is no direction (NaN or zero).
        """
        crops: list[Any] = [face.crop if isinstance(face, Face) else face for face in faces]
        result = np.empty((len(crops), self.contract.dim), np.float32)
        for start in range(0, len(crops), BATCH):
            batch = crops[start : start + BATCH]
            result[start : start + len(batch)] = self._run(batch, start)
        return result

    def embed_raw(self, crops: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """What the network says of crops (N, 112, 112, 3) uint8 RGB: (N, dim) float32 of any length, without mirror.

        For protocols that weigh an image by the length of its embedding (N1 of the IJB figures).
        """
        starts = range(0, len(crops), BATCH)
        parts = [self._raw(to_pixels(list(crops[start : start + BATCH]), self.contract, start)) for start in starts]
        return np.concatenate(parts) if parts else np.empty((0, self.contract.dim), np.float32)

    def _run(self, crops: Sequence[np.ndarray], first: int) -> np.ndarray:
        """Unit embeddings (B, dim) of one batch, of which the first crop has the number `first`."""
        pixels = to_pixels(crops, self.contract, first)
        raw = self._raw(pixels)
        if self.contract.flip:
            raw = raw + self._raw(np.ascontiguousarray(pixels[..., ::-1]))
        norms = np.linalg.norm(raw, axis=1, keepdims=True)
        if not np.isfinite(norms).all() or (norms < 1e-12).any():
            bad = int(np.flatnonzero(~np.isfinite(norms[:, 0]) | (norms[:, 0] < 1e-12))[0])
            raise ContractError(f"{self.name} gives no usable embedding (NaN or zero) for face {first + bad}")
        return raw / norms

    def _raw(self, pixels: np.ndarray) -> np.ndarray:
        """What the network says, (B, dim) float32."""
        try:
            raw = self._backend.run(pixels)
        except Exception as error:
            reason = str(error).splitlines()[0][:160]
            raise ContractError(f"{self.name} cannot take crops as its contract says: {reason}") from None
        raw = raw.reshape(len(pixels), -1)
        if raw.shape[1] != self.contract.dim:
            raise ContractError(
                f"{self.name} gives {raw.shape[1]} numbers a face, its contract says {self.contract.dim}; "
                "correct 'dim' in the contract"
            )
        return raw


def _detector_of(card: Card) -> str:
    """The detector of the card's calibration where it can be had by name, else the default."""
    crops = card.calibration.crops if card.calibration else None
    known = ZOO.get(crops.detector) if crops else None
    return known.name if crops and known and known.sha256 == crops.digest else DETECTOR


def _as_run(card: Card, precision: str | None, flip: bool | None) -> Card:
    """The card of what will really be run: another precision or flip is another contract."""
    wanted = {"bf16": "bfloat16", "fp32": "float32"}.get(precision or "", precision)
    contract = card.contract
    if wanted not in (None, contract.precision):
        if {wanted, contract.precision} - {"float32", "bfloat16"}:
            raise VultusError(
                f"{card.name} computes in {contract.precision}; {wanted} at run time cannot be had of it: convert the "
                "file with `vultus export --precision`"
            )
        contract = dataclasses.replace(contract, precision=wanted)
    if flip is not None:
        contract = dataclasses.replace(contract, flip=flip)
    if contract == card.contract:
        return card
    return dataclasses.replace(card, contract=contract, calibration=None)
