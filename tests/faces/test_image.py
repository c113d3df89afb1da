"""Reading photographs: every mode to upright RGB, every broken file to an error."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vultus.errors import ImageError
from vultus.faces import read_image, to_image

PICTURE = np.zeros((20, 30, 3), np.uint8)
PICTURE[:10, :15] = (200, 30, 60)
PICTURE[10:, 15:] = (20, 180, 90)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    memory = io.BytesIO()
    image.save(memory, kind, **options)
    return memory.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_come_back_equal(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(PICTURE), kind, **options)), PICTURE)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "L", "P", "1", "CMYK"])
def test_other_modes_become_rgb(mode: str) -> None:
    kind = "TIFF" if mode == "CMYK" else "PNG"
    image = read_image(encoded(Image.fromarray(PICTURE).convert(mode), kind))
    assert image.shape == PICTURE.shape and image.dtype == np.uint8


def test_transparency_lies_over_white() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert (read_image(encoded(clear, "PNG")) == 255).all()


def test_sixteen_bits_are_scaled() -> None:
    deep = Image.fromarray(np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16))
    image = read_image(encoded(deep, "PNG"))
    assert image.min() == 0 and image.max() == 255 and image.shape == (8, 8, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_picture_upright(orientation: int) -> None:
    turns = {1: [], 2: [0], 3: [3], 4: [1], 5: [5], 6: [4], 7: [6], 8: [2]}  # inverse of the viewer's turn
    stored = Image.fromarray(PICTURE)
    for turn in turns[orientation]:
        stored = stored.transpose(Image.Transpose(turn if orientation not in (6, 8) else {4: 2, 2: 4}[turn]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_image(encoded(stored, "PNG", exif=exif))
    assert image.shape[2] == 3
    if orientation in (1, 2, 3, 4):
        np.testing.assert_array_equal(image, PICTURE)
    else:
        assert image.shape[:2] == (20, 30)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n" + b"0" * 40, bytes(range(256)) * 8]
)
def test_what_is_no_picture_is_an_error_of_one_line(content: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(content)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_an_error_not_half_a_picture(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8))
    path = tmp_path / "cut.jpg"
    content = encoded(noise, "JPEG")
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match=r"cut\.jpg"):
        read_image(path)


def test_a_decompression_bomb_is_refused_before_decoding() -> None:
    bomb = encoded(Image.new("1", (30_000, 30_000)), "PNG")
    assert len(bomb) < 200_000
    with pytest.raises(ImageError, match="pixels"):
        read_image(bomb)
    with pytest.raises(ImageError, match="more than the 500 allowed"):
        read_image(encoded(Image.fromarray(PICTURE), "PNG"), max_pixels=500)


def test_missing_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not exist"):
        read_image(tmp_path / "none.jpg")
    with pytest.raises(ImageError, match="folder"):
        read_image(tmp_path)


def test_an_array_must_be_rgb_bytes() -> None:
    assert to_image(PICTURE) is PICTURE
    with pytest.raises(ImageError, match="float64"):
        to_image(PICTURE / 255)
