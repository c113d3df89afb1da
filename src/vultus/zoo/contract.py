"""What a recogniser's embeddings mean: everything that must agree for two embeddings to be comparable."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Literal

from vultus.errors import ContractError

PRECISIONS = ("float32", "float16", "bfloat16", "int8")
MOST_DIM, MOST_SIDE = 65_536, 1024
"""Numbers of an embedding and pixels of a crop's side, far above what any recognizer has."""
TEMPLATE = "arcface-112"
"""Name of the alignment: five landmarks by a similarity transform onto ArcFace's 112x112 template."""


Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """How the pixels of an aligned crop enter a network: `(value - mean) / std`, value in 0..255, in `color` order.

    The defaults are ArcFace's, and those of every network trained here from scratch.
    """

    mean: Triple = (127.5, 127.5, 127.5)
    std: Triple = (127.5, 127.5, 127.5)
    color: Literal["RGB", "BGR"] = "RGB"
    crop_size: tuple[int, int] = (112, 112)
    """(height, width). A crop of 112 rows and fewer columns is the middle of the template; other sizes are resized."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; `from_dict` reads it."""
        lists = {name: [float(v) for v in getattr(self, name)] for name in ("mean", "std")}
        return {**lists, "color": self.color, "crop_size": [int(v) for v in self.crop_size]}

    @classmethod
    def from_dict(cls, fields: dict[str, Any], where: str = "preprocessing") -> Preprocessing:
        """Read what `to_dict` wrote. Raises `ContractError` naming `where` for anything else."""
        return Contract.from_dict({"weights": "", "dim": 1, **fields}, where).preprocessing


@dataclass(frozen=True)
class Contract:
    """How crops become embeddings. Pixels enter the network as `(value - mean) / std`, value in 0..255.

    A calibration, a licence or a file name is no part of it: adding one must not orphan a gallery.
    Embeddings of two recognisers may be compared only where `id` is equal.
    """

    weights: str
    """Digest of the network's canonical weights and structure (`zoo.canonical_digest`)."""
    dim: int
    mean: Triple
    std: Triple
    color: Literal["RGB", "BGR"] = "RGB"
    crop_size: tuple[int, int] = (112, 112)
    """(height, width) of a crop in pixels."""
    template: str = TEMPLATE
    precision: str = "float32"
    """How the network computes, one of `PRECISIONS`. Embeddings themselves are always float32."""
    flip: bool = False
    """Whether an embedding is the sum of those of a crop and of its mirror image, brought to unit length."""

    def __post_init__(self) -> None:
        numbers = len(self.mean) == len(self.std) == 3 and all(map(isfinite, (*self.mean, *self.std)))
        if not 1 <= self.dim <= MOST_DIM or not numbers or min(self.std) <= 0:
            raise ContractError(
                f"impossible contract: dim={self.dim}, mean={self.mean}, std={self.std}; "
                f"dim must be 1 to {MOST_DIM}, mean and std three numbers, std above 0"
            )
        if not isinstance(self.weights, str) or not 1 <= min(self.crop_size) <= max(self.crop_size) <= MOST_SIDE:
            raise ContractError(
                f"impossible contract: crop_size={self.crop_size}, weights={self.weights!r}; sides are 1 to "
                f"{MOST_SIDE} pixels, weights a digest"
            )
        if self.color not in ("RGB", "BGR"):
            raise ContractError(f"impossible contract: color={self.color!r}; it must be RGB or BGR")
        if self.precision not in PRECISIONS:
            raise ContractError(f"impossible contract: precision={self.precision!r}; it must be one of {PRECISIONS}")
        if not isinstance(self.flip, bool):
            raise ContractError(f"impossible contract: flip={self.flip!r}; it must be true or false")
        if self.template != TEMPLATE:
            raise ContractError(f"unknown alignment template {self.template!r}; this version knows {TEMPLATE!r}")

    @property
    def preprocessing(self) -> Preprocessing:
        """The part that says how pixels enter the network."""
        return Preprocessing(self.mean, self.std, self.color, self.crop_size)

    @property
    def id(self) -> str:
        """Short name of the contract: equal ids, comparable embeddings."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return "vultus1-" + hashlib.sha256(canonical.encode()).hexdigest()[:24]

    def to_dict(self) -> dict[str, Any]:
        fields = asdict(self)
        fields["mean"] = [float(v) for v in self.mean]
        fields["std"] = [float(v) for v in self.std]
        fields["crop_size"] = [int(v) for v in self.crop_size]
        if not self.flip:  # the ids of contracts made before this field stay what they are
            del fields["flip"]
        return fields

    @classmethod
    def from_dict(cls, fields: dict[str, Any], where: str = "contract") -> Contract:
        """Read what `to_dict` wrote. Raises `ContractError` naming `where` and the missing or unknown field."""
        if not isinstance(fields, dict):
            raise ContractError(f"{where}: the contract must be an object, not {type(fields).__name__}")
        known = {name for name in cls.__dataclass_fields__}
        unknown = sorted(map(str, set(fields) - known))
        missing = sorted({"weights", "dim", "mean", "std"} - set(fields))
        if unknown or missing:
            parts = [f"missing {missing}"] * bool(missing) + [f"unknown {unknown}"] * bool(unknown)
            raise ContractError(f"{where}: {' and '.join(parts)} in the contract; known fields: {sorted(known)}")
        values = dict(fields)
        try:
            for name in ("mean", "std"):
                values[name] = tuple(float(v) for v in values[name])
            values["dim"] = int(values["dim"])
            if "crop_size" in values:
                height, width = (int(v) for v in values["crop_size"])
                values["crop_size"] = (height, width)
        except (TypeError, ValueError, OverflowError) as error:
            raise ContractError(f"{where}: a field of the contract has the wrong type: {error}") from None
        return cls(**values)
