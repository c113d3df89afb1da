"""The secret rotation of a collection."""

from __future__ import annotations

import os

import numpy as np
import pytest

from vultus.gallery.protection import ProtectionError, Rotation

KEY = bytes(range(32))
FIRST_VERSION = np.array(
    [
        [-0.735071670096, -0.088991317455, -0.528824076644, 0.414843682852],
        [0.461224724292, -0.596303909587, -0.025736784354, 0.656529526406],
        [-0.023771069549, 0.656225763936, 0.416069415337, 0.629038094730],
        [0.496363102755, 0.453728927418, -0.739303020090, 0.034420562649],
    ]
)
LAST_OF_512 = -0.010566650078


def unit_rows(count: int, dim: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("dim", [1, 2, 3, 17, 128, 512])
def test_cosines_stay_and_rows_come_back(dim: int) -> None:
    rows, rotation = unit_rows(50, dim), Rotation(KEY, dim)
    turned = rotation.apply(rows)
    assert turned.dtype == np.float32 and turned.shape == rows.shape
    assert np.abs(turned @ turned.T - rows @ rows.T).max() < 1e-6
    assert np.abs(np.linalg.norm(turned, axis=1) - 1).max() < 1e-6
    assert np.abs(rotation.undo(turned) - rows).max() < 1e-6
    assert np.abs(rotation.apply(rows[0]) - turned[0]).max() < 1e-6
    assert np.abs(rotation.matrix @ rotation.matrix.T - np.eye(dim)).max() < 1e-12
    assert rotation.apply(rows[:0]).shape == (0, dim)


def test_a_key_makes_the_same_matrix_for_ever() -> None:
    """Figures from the first version: another key stream or factorisation would lose every collection."""
    matrix = Rotation(KEY, 4).matrix
    assert np.abs(matrix - Rotation(KEY, 4).matrix).max() == 0
    assert np.abs(matrix - FIRST_VERSION).max() < 1e-9
    assert abs(Rotation(KEY, 512).matrix[511, 511] - LAST_OF_512) < 1e-9


def test_two_keys_make_rows_of_the_same_faces_strangers() -> None:
    """Across keys a face scores with itself like two random directions: mean 0, deviation 1 / sqrt(D)."""
    rows = unit_rows(2000, 128)
    one, two = Rotation(os.urandom(32), 128).apply(rows), Rotation(os.urandom(32), 128).apply(rows)
    mated, spread = np.sum(one * two, axis=1), 1 / np.sqrt(128)
    # trace / D of a random rotation, the mean over directions, has deviation 1 / D; the rows add spread / sqrt(2000)
    assert abs(mated.mean()) < 6 * (1 / 128 + spread / np.sqrt(2000))
    assert 0.8 * spread < mated.std() < 1.2 * spread
    assert np.abs(mated).max() < 6 * spread


def test_rotations_are_drawn_evenly() -> None:
    """Haar: each entry has mean 0 and variance 1 / D, also on the diagonal, and half of all determinants are -1."""
    drawn = np.stack([Rotation(number.to_bytes(32, "big"), 3).matrix for number in range(2000)])
    assert np.abs(drawn.mean(axis=0)).max() < 6 / np.sqrt(3 * 2000)
    assert np.abs(np.square(drawn).mean(axis=0) - 1 / 3).max() < 6 * 0.3 / np.sqrt(2000)
    assert abs(np.mean(np.linalg.det(drawn) > 0) - 0.5) < 6 * 0.5 / np.sqrt(2000)
    assert {float(Rotation(os.urandom(32), 1).matrix[0, 0]) for _ in range(64)} == {-1.0, 1.0}


def test_a_change_of_key_needs_no_photograph() -> None:
    rows, old, new = unit_rows(20, 64), Rotation(KEY, 64), Rotation(os.urandom(32), 64)
    changed = old.apply(rows).astype(np.float64) @ old.change_to(new)
    assert np.abs(changed - new.apply(rows)).max() < 1e-6
    assert old.change_to(new).dtype == np.float64
    assert np.abs(old.change_to(old) - np.eye(64)).max() < 1e-12


def test_the_stated_limit_is_real() -> None:
    """D known pairs give the matrix away (least squares), so that nobody takes the rotation for encryption."""
    rows, rotation = unit_rows(40, 32), Rotation(KEY, 32)
    guessed = np.linalg.lstsq(rows[:32], rotation.apply(rows[:32]), rcond=None)[0]
    assert np.abs(rows[32:] @ guessed - rotation.apply(rows[32:])).max() < 1e-3


def test_what_cannot_be_turned_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        Rotation(KEY, 8).apply(unit_rows(3, 9))
    with pytest.raises(ValueError, match="8 and 9"):
        Rotation(KEY, 8).change_to(Rotation(KEY, 9))
    with pytest.raises(ValueError, match="at least 1"):
        Rotation(KEY, 0)
    with pytest.raises(ProtectionError, match="32 bytes"):
        Rotation(b"short", 8)
    assert KEY.hex() not in repr(Rotation(KEY, 8))
