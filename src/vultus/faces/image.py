"""Read any photograph safely: bounded memory, upright, 8-bit RGB; whatever is broken is an `ImageError` with its name.

A large photograph is reduced while it is decoded: what a detector finds in it is larger than what the reduction loses.
"""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from vultus.errors import ImageError
from vultus.files import read_file

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "ICO")
"""Pillow decoders that may run on untrusted bytes; none calls another program."""
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ico"}
    | {".pgm", ".ppm", ".pnm", ".pbm", ".mpo", ".heic", ".heif", ".avif", ".jxl"}
)
"""What counts as a photograph in a folder. The last four cannot be read here: bulk work names and skips them."""
MAX_BYTES = 100_000_000
"""Of a photograph's file; a larger one is refused before anything of it is read."""
MAX_PIXELS = 100_000_000
"""Larger pictures are refused before they are decoded."""
MAX_PIXELS_WEBP = 50_000_000
"""The same of WebP, whose decoder holds four times what the picture takes."""
MEMORY = 1_000_000_000
"""Bytes that reading a photograph takes at most. Most is a progressive JPEG of four colors and `MAX_PIXELS` pixels; an
ordinary JPEG of as many takes a quarter of it."""
KEPT_PIXELS = 25_000_000
"""What is kept of a larger photograph: it is halved until it has no more. Detection looks at 1280 pixels of the longer
side: a face that it can find there has more pixels in the reduced photograph than that."""
BAND = 4_000_000
"""Pixels that are converted at a time."""
ORIENTATION = ExifTags.Base.Orientation
MOST_SCANS = 500
"""Of a progressive JPEG, the limit of libjpeg-turbo's own tests: each scan costs a pass over all pixels."""

_one_at_a_time: contextlib.AbstractContextManager[object] = threading.Lock()


def take_turns(lock: contextlib.AbstractContextManager[object]) -> None:
    """Decode large photographs under this lock, which several processes share."""
    global _one_at_a_time
    _one_at_a_time = lock


def read_image(source: str | Path | bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a photograph to (H, W, 3) uint8 RGB, turned upright by its EXIF orientation; see `read_reduced`.

    Transparency is laid over white, 16-bit grey is scaled to 8, CMYK is converted; of an animation the first frame.
    A truncated file is an error, never a half-grey face.

    Raises:
        ImageError: missing, no regular file, empty, broken, truncated, of an unknown format, of more than `MAX_BYTES`
            or with more than `max_pixels` pixels. Codes: no_file, not_a_file, unreadable, malformed, too_large.
    """
    return read_reduced(source, max_pixels)[0]


def read_reduced(source: str | Path | bytes, max_pixels: int = MAX_PIXELS) -> tuple[np.ndarray, int]:
    """(what `read_image` gives, how many times smaller its sides are than the photograph's: 1, 2, 4, ...).

    Other than 1 only for more than `KEPT_PIXELS` pixels; such photographs are decoded one at a time, in all threads and
    in all workers of `data.processes`. At most `MEMORY` bytes are held on the way, whatever the file says.
    """
    path = "the picture" if isinstance(source, bytes) else str(source)
    content = source if isinstance(source, bytes) else read_file(source, MAX_BYTES, "the photograph", ImageError)
    if not content:
        raise _refused(path, "malformed", "is empty")
    if len(content) > MAX_BYTES:
        raise _refused(path, "too_large", f"has {len(content):,} bytes, more than the {MAX_BYTES:,} allowed")
    if content.startswith(b"\xff\xd8") and content.count(b"\xff\xda") > MOST_SCANS:
        raise _refused(path, "malformed", f"is a JPEG of more than {MOST_SCANS} scans; save it anew")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own size warning: the bound below is ours
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                width, height = image.size
                most = min(max_pixels, MAX_PIXELS_WEBP) if image.format == "WEBP" else max_pixels
                if width * height > most:
                    raise _refused(path, "too_large", f"has {width}x{height} pixels, more than the {most:,} allowed")
                if image.mode == "F":
                    raise _refused(path, "malformed", "has floating-point pixels of no agreed range; save it as 8-bit")
                with _one_at_a_time if width * height > KEPT_PIXELS else contextlib.nullcontext():
                    return _decoded(image)
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise _refused(path, "too_large", f"has far more than the {max_pixels:,} pixels allowed") from None
    except Exception as error:  # decoders raise anything on hostile bytes; a file must not stop a bulk job
        reason = str(error).split("\n")[0].replace(repr(content[:40])[:40], "")
        if "cannot identify" in reason:
            reason = "not an image of a known format"
        raise _refused(path, "malformed", f"is broken or no photograph: {reason[:120]}") from None


def _refused(path: str, code: str, reason: str) -> ImageError:
    return ImageError(f"{path} {reason}", code=code, path=path, reason=reason)


def to_image(source: str | Path | bytes | np.ndarray) -> np.ndarray:
    """`read_image` for a path or bytes; an array must already be (H, W, 3) uint8 RGB."""
    return to_reduced(source)[0]


def to_reduced(source: str | Path | bytes | np.ndarray) -> tuple[np.ndarray, int]:
    """`read_reduced` for a path or bytes; an array, which must be (H, W, 3) uint8 RGB, is taken as it is."""
    if not isinstance(source, np.ndarray):
        return read_reduced(source)
    if source.ndim != 3 or source.shape[2] != 3 or source.dtype != np.uint8 or 0 in source.shape:
        raise ImageError(f"an image array must be (H, W, 3) uint8 RGB, not {source.shape} {source.dtype}", code="shape")
    return source, 1


def _decoded(image: Image.Image) -> tuple[np.ndarray, int]:
    """Upright pixels of an opened photograph, and how many times smaller than it; converted band by band."""
    full = image.size
    factor = 1
    while max(1, full[0] // factor) * max(1, full[1] // factor) > KEPT_PIXELS:
        factor *= 2
    if factor > 1 and image.format in ("JPEG", "MPO"):
        image.draft(None, (max(1, full[0] // factor), max(1, full[1] // factor)))  # the decoder leaves the rest out
    image.load()
    left = max(1, factor // max(1, round(max(full) / max(image.size))))
    width, height = image.size
    brightest = _brightest(image)
    pixels = np.empty((-(-height // left), -(-width // left), 3), np.uint8)
    rows = left * max(1, BAND // (width * left))
    for top in range(0, height, rows):
        band = _to_rgb(image.crop((0, top, width, min(height, top + rows))), brightest).reduce(left)
        pixels[top // left : top // left + band.height] = np.asarray(band)
    return np.ascontiguousarray(_turned(pixels, image.getexif().get(ORIENTATION, 1))), factor


def _brightest(image: Image.Image) -> int:
    """What becomes 255 in a picture of more than eight bits: 255 where nothing is above it."""
    deep = image.mode == "I" or image.mode.startswith("I;16")
    return 65535 if deep and np.max(image.getextrema()) > 255 else 255


def _to_rgb(image: Image.Image, brightest: int) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.float32) * (255.0 / brightest)
        image = Image.fromarray(grey.round().clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Upright by the EXIF orientation, 1 to 8."""
    if orientation in (5, 6, 7, 8):  # stored with rows for columns
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels[::-1] if orientation in (3, 4, 7, 8) else pixels
