"""Read any photograph safely: bounded size, upright, 8-bit RGB; whatever is broken is an `ImageError` with its name."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vultus.errors import ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "ICO")
"""Pillow decoders that may run on untrusted bytes; none calls another program."""
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ico"}
    | {".pgm", ".ppm", ".pnm", ".pbm", ".mpo", ".heic", ".heif", ".avif", ".jxl"}
)
"""What counts as a photograph in a folder. The last four cannot be read here: bulk work names and skips them."""
MAX_PIXELS = 100_000_000
"""Larger pictures are refused before they are decoded (a 100-megapixel photograph takes 300 MB as RGB)."""


def read_image(source: str | Path | bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a photograph to (H, W, 3) uint8 RGB, turned upright by its EXIF orientation.

    Transparency is laid over white, 16-bit grey is scaled to 8, CMYK is converted; of an animation the first frame.
    A truncated file is an error, never a half-grey face.

    Raises:
        ImageError: missing, empty, broken, truncated, of an unknown format, or with more than `max_pixels` pixels.
    """
    name = "image" if isinstance(source, bytes) else str(source)
    if not isinstance(source, bytes):
        path = Path(source)
        if path.is_dir():
            raise ImageError(f"{name} is a folder, not a photograph")
        try:
            source = path.read_bytes()
        except FileNotFoundError:
            raise ImageError(f"{name} does not exist") from None
        except OSError as error:
            raise ImageError(f"{name} cannot be read: {error.strerror or error}") from None
    if not source:
        raise ImageError(f"{name} is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own size warning: the bound below is ours
            with Image.open(io.BytesIO(source), formats=FORMATS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise ImageError(f"{name} has {width}x{height} pixels, more than the {max_pixels:,} allowed")
                image.load()
                return np.ascontiguousarray(_to_rgb(ImageOps.exif_transpose(image)))
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"{name} has far more than the {max_pixels:,} pixels allowed") from None
    except Exception as error:  # decoders raise anything on hostile bytes; a file must not stop a bulk job
        reason = str(error).split("\n")[0].replace(repr(source)[:40], "")
        if "cannot identify" in reason:
            reason = "not an image of a known format"
        raise ImageError(f"{name} is broken or no photograph: {reason[:120]}") from None


def to_image(source: str | Path | bytes | np.ndarray) -> np.ndarray:
    """`read_image` for a path or bytes; an array must already be (H, W, 3) uint8 RGB."""
    if not isinstance(source, np.ndarray):
        return read_image(source)
    if source.ndim != 3 or source.shape[2] != 3 or source.dtype != np.uint8 or 0 in source.shape:
        raise ImageError(f"an image array must be (H, W, 3) uint8 RGB, not {source.shape} {source.dtype}")
    return source


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I;16") or image.mode == "I":
        grey = np.asarray(image).astype(np.float32)
        top = 65535.0 if grey.max(initial=0) > 255 else 255.0
        return np.repeat((grey * (255.0 / top)).round().astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise ImageError("floating-point pictures have no agreed range; save it as 8-bit")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))
