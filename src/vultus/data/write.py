"""Write a dataset in pieces that survive an interruption, and put it in place whole."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import vultus
from vultus.data.dataset import FORMAT, MANIFEST
from vultus.errors import FileError, VultusError
from vultus.files import PART, is_file, is_folder, save_atomically
from vultus.formats import read_json, read_text

COLUMNS = ("crop", "identity", "source", "box", "landmarks", "detection_score")


class CropWriter:
    """Pieces of rows under DATA/building, each written once and kept over interruptions; `finish` makes the dataset.

    `plan` is a digest of what is to be built: pieces of another plan are discarded.
    """

    def __init__(self, root: str | Path, plan: str) -> None:
        self.root = Path(root)
        if is_file(self.root / MANIFEST):
            raise VultusError(f"{self.root} already holds a dataset; remove it or choose another --out")
        names = {path.name for path in self.root.iterdir()} if is_folder(self.root) else set()
        unfinished = {name for name in names if name.startswith(".") and name.endswith(PART)}
        if names - (unfinished | {"building", "crops"} if "building" in names else set()):
            raise VultusError(f"{self.root} is not empty and no dataset; choose another --out")
        self._folder = self.root / "building"
        marker = self._folder / "plan"
        if self._folder.exists() and (not marker.is_file() or read_text(marker) != plan):
            shutil.rmtree(self._folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(
                f"cannot write {self.root}: {error.strerror}; choose another --out", code="unwritable"
            ) from None
        save_atomically(plan.encode(), marker)

    def has(self, piece: int) -> bool:
        return (self._folder / f"{piece:06d}.json").is_file()

    def skipped(self, piece: int) -> list[list[str]]:
        """What `add` was told of skipped sources."""
        return read_json(self._folder / f"{piece:06d}.json", "delete it")["skipped"]

    def add(self, piece: int, rows: Sequence[dict[str, Any]], skipped: Sequence[Sequence[str]] = ()) -> None:
        """Write the rows of a piece; the small JSON comes last and says that the piece is whole."""
        from datasets import Dataset, disable_progress_bars

        disable_progress_bars()
        target = self._folder / f"{piece:06d}"
        if rows:
            shutil.rmtree(target, ignore_errors=True)
            Dataset.from_dict({c: [row[c] for row in rows] for c in COLUMNS}, features=_features()).save_to_disk(
                str(target)
            )
        content = json.dumps({"rows": len(rows), "skipped": [list(map(str, s)) for s in skipped]}, ensure_ascii=False)
        save_atomically(content.encode(), target.with_suffix(".json"))

    def discard(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self._folder, ignore_errors=True)
        if self.root.is_dir() and not any(self.root.iterdir()):
            self.root.rmdir()

    def finish(
        self,
        pieces: int,
        crop_size: tuple[int, int],
        made: dict[str, Any],
        extra: Mapping[str, Mapping[tuple[str, str], str]] | None = None,
    ) -> dict[str, Any]:
        """Join the pieces into DATA/crops, write the manifest last, remove the pieces. Returns the manifest.

        extra: further columns of text, by (identity, source); null where there is no value.
        """
        from datasets import Dataset, concatenate_datasets

        parts = [Dataset.load_from_disk(str(p)) for i in range(pieces) if (p := self._folder / f"{i:06d}").is_dir()]
        if not parts:
            raise VultusError(f"nothing to write: no crop came out for {self.root}")
        table = concatenate_datasets(parts)
        digest = hashlib.sha256()
        for start in range(0, len(table), 4096):
            batch = table[start : start + 4096]
            for crop, identity in zip(batch["crop"], batch["identity"], strict=True):
                digest.update(hashlib.sha256(crop).digest() + identity.encode() + b"\0")
        if extra:
            keys = list(zip(table["identity"], table["source"], strict=True))
            for name, values in extra.items():
                if not any(values.values()):
                    continue  # a column without a value
                table = table.add_column(name, [values.get(key) or None for key in keys])
        shutil.rmtree(self.root / "crops", ignore_errors=True)
        table.save_to_disk(str(self.root / "crops"))
        counts = np.unique(np.asarray(table.data.column("identity").to_pylist(), dtype=object), return_counts=True)[1]
        info = {
            "format": FORMAT,
            "images": len(table),
            "identities": len(counts),
            "identities_with_two_or_more": int((counts >= 2).sum()),
            "crop_size": list(crop_size),
            "color": "RGB",
            "digest": digest.hexdigest(),
            "made": {"vultus": vultus.__version__, **made},
        }
        save_atomically((json.dumps(info, indent=2, ensure_ascii=False) + "\n").encode(), self.root / MANIFEST)
        shutil.rmtree(self._folder)
        return info


def _features():
    from datasets import Features, List, Value

    return Features(
        {
            "crop": Value("binary"),
            "identity": Value("string"),
            "source": Value("string"),
            "box": List(Value("float32")),
            "landmarks": List(Value("float32")),
            "detection_score": Value("float32"),
        }
    )
