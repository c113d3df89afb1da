"""A secret rotation of a collection's embeddings: cosines stay, and no two collections can be compared."""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from vultus.gallery.protection.derive import check_key, derive


class Rotation:
    """A secret orthogonal matrix (D, D), uniform over all of them, that a 32-byte key makes.

    Every cosine between rotated rows is that of the rows themselves, so search and thresholds do not change. Rows
    under different keys score like strangers, even of the same face (unlinkability), and a new key gives new rows
    from the old ones without a photograph (renewability; the terms of ISO/IEC 24745:2022).

    It is no encryption, and does not make an embedding irreversible:
    - whoever has the key turns every row back;
    - whoever knows about D pairs of an embedding and its rotated row, or of rows in two collections, fits the matrix to
      them, for example after enrolling photographs of their own; D / 2 pairs already link nearly everybody else, and
      D / 16 some (measured by `benchmarks/unlinkability.py`);
    - whoever sees two collections whole that share many photographs (an old copy and its renewal; or a collection, and
      the photographs it was made of) finds the rotation between them without knowing any pair: half of the rows in
      common was enough. A renewal does not undo a leak of the old rows;
    - scores between the rows of one collection are there to see.

    Hence rows on disk are sealed as well. The rotation guards what must lie open to be searched, memory and a vector
    engine's files, against those who see single rows or collections of different photographs.
    """

    def __init__(self, key: bytes, dim: int) -> None:
        """`key`: 32 bytes. `dim`: D, at least 1. The same on every machine to float64 rounding of the factorisation."""
        if dim < 1:
            raise ValueError(f"dim {dim}: at least 1")
        self.dim = dim
        self.matrix: np.ndarray = _orthogonal(check_key(key, "a rotation key"), dim)
        """(D, D) float64: rows are turned by `rows @ matrix`."""
        self._single = self.matrix.astype(np.float32)

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """(N, D) float32 → the same turned, float32; a single (D,) row is turned too."""
        return self._checked(rows) @ self._single

    def undo(self, rows: np.ndarray) -> np.ndarray:
        """What `apply` was given, to float32 rounding."""
        return self._checked(rows) @ self._single.T

    def change_to(self, other: Rotation) -> np.ndarray:
        """(D, D) float64 matrix M: `rows @ M` are under `other` what `rows` are under this rotation."""
        if other.dim != self.dim:
            raise ValueError(f"rotations of {self.dim} and {other.dim} dimensions")
        return self.matrix.T @ other.matrix

    def _checked(self, rows: np.ndarray) -> np.ndarray:
        if rows.ndim not in (1, 2) or rows.shape[-1] != self.dim:
            raise ValueError(f"rows of shape {rows.shape}; this rotation turns (N, {self.dim})")
        return np.asarray(rows, np.float32)

    def __repr__(self) -> str:
        return f"Rotation(dim={self.dim})"


def _orthogonal(key: bytes, dim: int) -> np.ndarray:
    """Haar-distributed (D, D): QR of a Gaussian matrix with R's diagonal made positive (Mezzadri 2007, §5)."""
    q, r = np.linalg.qr(_normals(key, dim * dim).reshape(dim, dim))
    return q * np.where(np.diag(r) < 0, -1.0, 1.0)


def _normals(key: bytes, count: int) -> np.ndarray:
    """(count,) float64 standard normal draws by Box and Muller (1958) from a ChaCha20 key stream (RFC 8439).

    A statistical generator's state can be recovered from its draws, and its stream may change with a version.
    """
    pairs = (count + 1) // 2
    stream = Cipher(ChaCha20(derive(key, b"vultus rotation: key stream"), bytes(16)), mode=None).encryptor()
    bits = np.frombuffer(stream.update(bytes(16 * pairs)), "<u8").reshape(2, pairs)
    uniform = ((bits >> np.uint64(11)) + 0.5) * 2.0**-53  # inside (0, 1)
    radius, angle = np.sqrt(-2.0 * np.log(uniform[0])), 2.0 * np.pi * uniform[1]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
