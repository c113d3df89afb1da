"""One dataset on disk, and views of it.

    DATA/dataset.json            what the crops are: geometry, colour order, counts, digest, how they were made
    DATA/crops/                  an Arrow dataset: crop, identity, source, box, landmarks, detection_score
    DATA/splits/NAME.npy         rows of a split, with splits.json saying how they were drawn
    DATA/exclusions/NAME.npy     rows that every view leaves out

Splitting or cleaning never rewrites crops. `DATA` opens everything, `DATA/NAME` a split.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.calibration import CropOrigin

MANIFEST = "dataset.json"
FORMAT = "vultus-dataset-1"


class _Whole:
    """The Arrow table and its identity column, read once and shared by the views made of one another."""

    def __init__(self, root: Path, info: dict[str, Any], rows: np.ndarray) -> None:
        from datasets import Dataset, disable_progress_bars

        disable_progress_bars()
        try:
            self.table = Dataset.load_from_disk(str(root / "crops"))
        except Exception as error:
            raise VultusError(
                f"{root}/crops cannot be read ({type(error).__name__}); build the dataset again"
            ) from None
        if len(self.table) != info["images"] or int(rows.max()) >= len(self.table):
            raise VultusError(
                f"{root} has {len(self.table)} crops, {MANIFEST} says {info['images']}; build the dataset again"
            )
        self.encoded = self.table.select_columns(["crop", "identity"])
        names = np.asarray(self.table.data.column("identity").to_pylist(), dtype=object)
        self.names, self.codes = np.unique(names, return_inverse=True)


class FaceDataset:
    """Aligned crops with their identities, memory-mapped. Rows of a view are numbered from 0."""

    def __init__(self, root: Path, name: str | None, info: dict[str, Any], rows: np.ndarray, whole: _Whole) -> None:
        """Use `open`."""
        self.root = root
        self.name = name
        self.info = info
        """Contents of dataset.json."""
        self.rows = rows
        """(N,) int64: row in the Arrow table of each row of this view."""
        self._whole = whole
        self._table = whole.table
        self._encoded = whole.encoded
        present, labels = np.unique(whole.codes[rows], return_inverse=True)
        self.identities: list[str] = [str(name) for name in whole.names[present]]
        """Names of the identities of this view; a label indexes this list."""
        self.labels = labels.astype(np.int64)
        """(N,) int64, contiguous from 0 in this view."""

    @classmethod
    def open(cls, path: str | Path) -> FaceDataset:
        """Open `DATA` or a split `DATA/NAME`. Raises `VultusError` saying which splits there are."""
        path = Path(path)
        root, name = path, None
        if not (path / MANIFEST).is_file():
            root, name = path.parent, path.name
        if not (root / MANIFEST).is_file():
            raise VultusError(f"{path} is no vultus dataset; make one with `vultus data build PHOTOS --out {path}`")
        info = read_manifest(root)
        if name is None:
            rows = np.arange(info["images"], dtype=np.int64)
        else:
            file = root / "splits" / f"{name}.npy"
            if not file.is_file():
                there = ", ".join(sorted(p.stem for p in (root / "splits").glob("*.npy")))
                hint = f"it has {there}" if there else f"make splits with `vultus data split {root}`"
                raise VultusError(f"{root} has no split {name!r}; {hint}")
            rows = np.load(file, allow_pickle=False)
        for exclusion in sorted((root / "exclusions").glob("*.npy")):
            rows = rows[~np.isin(rows, np.load(exclusion, allow_pickle=False))]
        if not len(rows):
            raise VultusError(f"{path} holds no crops")
        return cls(root, name, info, rows.astype(np.int64), _Whole(root, info, rows))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the crops and of the rows chosen."""
        return hashlib.sha256(self.info["digest"].encode() + self.rows.astype("<i8").tobytes()).hexdigest()

    @property
    def people(self) -> str:
        """Digest of the dataset whose people these are: of this one, or of that which a shifted copy was made of."""
        return self.info["made"].get("people") or self.info["digest"]

    @property
    def origin(self) -> CropOrigin | None:
        """How the crops were made; None where they came aligned, or were drawn."""
        told = self.info["made"].get("crops")
        return CropOrigin.from_dict(told) if told else None

    @property
    def title(self) -> str:
        return f"{self.root.name}/{self.name}" if self.name else self.root.name

    @property
    def counts(self) -> np.ndarray:
        """Images of each identity, (I,) int64."""
        return np.bincount(self.labels, minlength=len(self.identities))

    @property
    def counts_in_whole(self) -> np.ndarray:
        """Images that each identity of the view has in the whole dataset, (I,) int64."""
        whole = np.bincount(self._whole.codes, minlength=len(self._whole.names))
        return whole[np.searchsorted(self._whole.names, np.array(self.identities, dtype=object))]

    @property
    def splits(self) -> dict[str, int]:
        """Rows of each split of the dataset."""
        files = sorted((self.root / "splits").glob("*.npy"))
        return {file.stem: len(np.load(file, mmap_mode="r", allow_pickle=False)) for file in files}

    @property
    def bytes_on_disk(self) -> int:
        """Size of the Arrow files of the whole dataset."""
        return sum(file.stat().st_size for file in (self.root / "crops").glob("*.arrow"))

    @property
    def sources(self) -> list[str]:
        """Where each crop came from, relative to the photographs' folder, (N,)."""
        return self.column("source")

    def column(self, name: str) -> list[Any]:
        """Values of a column of these rows, (N,). Raises `VultusError` saying which columns there are."""
        if name not in self._table.column_names:
            raise VultusError(f"{self.title} has no column {name!r}; it has {', '.join(self._table.column_names)}")
        return self._table.data.column(name).take(self.rows).to_pylist()

    def encoded(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """The undecoded crops of these rows of the view."""
        return self._encoded[self.rows[np.asarray(indices)].tolist()]["crop"]

    def crops(self, indices: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Decoded crops of these rows (all by default), (N, 112, 112, 3) uint8 RGB."""
        chosen = np.arange(len(self)) if indices is None else np.asarray(indices)
        height, width = self.info["crop_size"]
        result = np.empty((len(chosen), height, width, 3), np.uint8)
        for start in range(0, len(chosen), 1024):
            for offset, content in enumerate(self.encoded(chosen[start : start + 1024])):
                result[start + offset] = decode_crop(content)
        return result

    def crop(self, index: int) -> np.ndarray:
        """One decoded crop, (112, 112, 3) uint8 RGB."""
        return decode_crop(self.encoded([index])[0])

    def table(self, indices: Sequence[int] | np.ndarray) -> list[dict[str, Any]]:
        """Whole rows of the view, with undecoded crops; those beyond its end are left out."""
        chosen = np.asarray(indices)
        return self._table.select(self.rows[chosen[chosen < len(self)]]).to_list()

    def subset(self, indices: np.ndarray) -> FaceDataset:
        """A view of some rows of this view."""
        return FaceDataset(self.root, self.name, self.info, self.rows[np.asarray(indices)], self._whole)

    def at_most(self, per_identity: int) -> FaceDataset:
        """A view of the first `per_identity` images of each identity, in the order of the view."""
        order = np.argsort(self.labels, kind="stable")
        starts = np.searchsorted(self.labels[order], np.arange(len(self.identities)))
        rank = np.empty(len(self), np.int64)
        rank[order] = np.arange(len(self)) - starts[self.labels[order]]
        return self.subset(np.flatnonzero(rank < per_identity))

    def at_least(self, images: int) -> FaceDataset:
        """A view of the identities that have this many images or more."""
        keep = np.flatnonzero(self.counts[self.labels] >= images)
        if not len(keep):
            raise VultusError(f"{self.title} has no identity with {images} or more images")
        return self.subset(keep)


def read_manifest(root: Path) -> dict[str, Any]:
    """Contents of DATA/dataset.json, its format checked."""
    try:
        info = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
        if info["format"] != FORMAT:
            raise VultusError(f"{root / MANIFEST} has format {info['format']!r}; this version reads {FORMAT!r}")
        return info
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise VultusError(
            f"{root / MANIFEST} cannot be read ({type(error).__name__}); build the dataset again"
        ) from None


def decode_crop(content: bytes) -> np.ndarray:
    """JPEG or PNG bytes of a crop to (H, W, 3) uint8 RGB."""
    crop = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    if crop is None:
        raise VultusError("a crop of the dataset is damaged; build the dataset again")
    return crop


def encode_crop(crop: np.ndarray) -> bytes:
    """(H, W, 3) uint8 RGB to JPEG, quality 95 without colour subsampling: about 8 kB for 112x112."""
    parameters = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, content = cv2.imencode(".jpg", np.ascontiguousarray(crop[:, :, ::-1]), parameters)
    if not done:
        raise VultusError(f"a crop of shape {crop.shape} cannot be encoded")
    return content.tobytes()
