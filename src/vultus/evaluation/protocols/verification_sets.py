"""InsightFace's verification sets: one file `lfw.bin`, `cfp_fp.bin`, `agedb_30.bin`, ... of aligned crops in pairs."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.protocols.listed import joined
from vultus.evaluation.protocols.official_lists import consecutive_folds
from vultus.evaluation.protocols.restricted_pickle import load_plain
from vultus.files import read_file

CROP = (112, 112)
PUBLISHED = {
    "lfw": 6000,
    "agedb_30": 6000,
    "calfw": 6000,
    "cplfw": 6000,
    "cfp_ff": 7000,
    "cfp_fp": 7000,
    "vgg2_fp": 5000,
}
"""Pairs of the sets that InsightFace distributes (model zoo, recognition/_datasets_)."""

MAX_BYTES = 2**31
"""Larger files are not read: the largest of the published ones has 0.2 GB."""


@dataclass(frozen=True, eq=False)
class VerificationSet:
    """P pairs of encoded crops: images 2 k and 2 k + 1 are pair k."""

    name: str
    encoded: tuple[bytes, ...]
    """(2 P,) JPEG or PNG files of 112x112 pixels."""
    same: np.ndarray
    """(P,) bool: one person on both images."""

    def __len__(self) -> int:
        return len(self.same)

    def folds(self, folds: int = 10) -> np.ndarray:
        """(P,) int64: consecutive folds of equal length, as the field cuts these files.

        The people of LFW's and CFP's folds are apart only if the file keeps the official order. It does not say.
        """
        return consecutive_folds(len(self), min(folds, len(self)))

    def crops(self, images: Sequence[int] | np.ndarray) -> np.ndarray:
        """Decoded crops of these images, (N, 112, 112, 3) uint8 RGB."""
        import cv2

        result = np.empty((len(images), *CROP, 3), np.uint8)
        for row, image in enumerate(images):
            crop = cv2.imdecode(np.frombuffer(self.encoded[image], np.uint8), cv2.IMREAD_COLOR_RGB)
            if crop is None:
                raise VultusError(f"image {image} of {self.name} is damaged; get the file again")
            result[row] = crop
        return result

    def identities(self) -> np.ndarray | None:
        """(P, 2) int64: whose images they are, as far as the file says; None where it contradicts itself.

        It names nobody, but the two images of a mated pair and equal files are of one person. A person whose images
        are never joined so counts as several, which makes intervals a little too narrow. A non-mated pair of joined
        images is a contradiction.
        """
        digests = [hashlib.sha256(content).digest() for content in self.encoded]
        code = np.unique(np.array([int.from_bytes(d[:8], "big") for d in digests], np.uint64), return_inverse=True)[1]
        pairs = code.reshape(-1, 2)
        person = joined(int(code.max()) + 1, pairs[self.same, 0], pairs[self.same, 1])[pairs]
        return person if ((person[:, 0] == person[:, 1]) == self.same).all() else None

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the crops in order and of what the pairs are."""
        total = hashlib.sha256()
        for content in self.encoded:
            total.update(hashlib.sha256(content).digest())
        total.update(np.packbits(self.same).tobytes())
        return total.hexdigest()


def read_verification_set(path: str | Path) -> VerificationSet:
    """Read a `.bin` file: a pickle of (encoded images, "same" of each two), read without running it.

    InsightFace scales images of another size in silence and leaves out what is too many; here both are errors, because
    a crop that is not aligned as the recogniser expects gives a wrong figure.
    Raises VultusError, naming the file and the image.
    """
    path = Path(path)
    value = load_plain(read_file(path, MAX_BYTES, "the verification set"), str(path))
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise VultusError(f"{path} is no verification set: expected a pair (images, same)")
    same = _same(value[1], path)
    if not isinstance(value[0], list | tuple) or not len(same):
        raise VultusError(f"{path} is no verification set: it holds no list of images, or no pairs")
    if len(value[0]) != 2 * len(same):
        raise VultusError(f"{path} holds {len(value[0]):,} images for {len(same):,} pairs; a pair takes two")
    encoded = tuple(_image(image, number, path) for number, image in enumerate(value[0]))
    return VerificationSet(path.name, encoded, same)


def _same(value: object, path: Path) -> np.ndarray:
    items = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(items, list | tuple):
        raise VultusError(f"{path} is no verification set: it does not say which pairs are the same person")
    for number, item in enumerate(items):
        if not isinstance(item, int) or item not in (0, 1):
            raise VultusError(f"{path}: pair {number} is neither the same person nor not, but {str(item)[:40]!r}")
    return np.array(items, dtype=bool)


def _image(image: object, number: int, path: Path) -> bytes:
    """The encoded image, its size checked in its header before anything is decoded."""
    from PIL import Image

    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.squeeze().ndim == 1:
        image = image.tobytes()
    if not isinstance(image, bytes | bytearray):
        found = f"an array of the shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise VultusError(f"{path}: image {number} is no encoded JPEG or PNG, but {found}")
    try:
        with Image.open(io.BytesIO(image), formats=("JPEG", "PNG")) as picture:
            width, height = picture.size
    except Exception:  # decoders raise anything on hostile bytes
        raise VultusError(f"{path}: image {number} is no JPEG or PNG") from None
    if (height, width) != CROP:
        raise VultusError(
            f"{path}: image {number} has {width}x{height} pixels, not 112x112; align the photographs and write it again"
        )
    return bytes(image)
