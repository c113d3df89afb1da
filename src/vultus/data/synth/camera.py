"""From light to a file: exposure, white balance, contrast, blur, noise, lost resolution, JPEG."""

from __future__ import annotations

import cv2
import numpy as np

from vultus.data.synth import texture
from vultus.data.synth.conditions import Conditions
from vultus.data.synth.trace import SIZE

_TARGET = 0.17  # a camera meters to a middle grey
_PIVOT = 118.0  # the display value that contrast leaves alone


def develop(light: np.ndarray, c: Conditions) -> np.ndarray:
    """Linear RGB (3, SIZE, SIZE) to display-referred float32 (SIZE, SIZE, 3) in 0..255."""
    metered = float(light[:, 24:100:4, 22:90:4].mean()) + 1e-3
    gain = (_TARGET / metered) ** 0.8 * c.exposure * c.balance
    image = light * gain.astype(np.float32)[:, None, None]
    shoulder = image * 0.22 + 1  # highlights roll off
    np.sqrt(image, out=image)
    image /= shoulder
    grey = (1 - c.saturation) * np.array([[0.3, 0.59, 0.11]])
    mix = 1.18 * 255 * c.contrast * (c.saturation * np.eye(3) + grey)
    offset = np.full((3, 1), _PIVOT * (1 - c.contrast))
    return cv2.transform(cv2.merge(list(image)), np.hstack([mix, offset]))


def record(image: np.ndarray, c: Conditions) -> np.ndarray:
    """Lose what a camera and a file lose: float32 in 0..255 to uint8."""
    if c.blur > 0:
        image = cv2.GaussianBlur(image, (5, 5), c.blur)
    if c.shrink < 1:
        side = round(SIZE * c.shrink)
        small = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)
        image = cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    noise = np.ascontiguousarray(texture.patch(texture.grain(), c.salt, SIZE, SIZE))
    pixels = cv2.addWeighted(image, 1.0, noise, c.grain, 0.0, dtype=cv2.CV_8U)  # saturates
    if c.quality:
        encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, c.quality])[1]
        pixels = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
    return pixels
