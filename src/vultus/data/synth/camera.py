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
    """Linear RGB (3, SIZE, SIZE), used up, to display-referred float32 (SIZE, SIZE, 3) in 0..255."""
    spot = light[:, 24:100:4, 22:90:4]
    metered = float(spot.sum()) / spot.size + 1e-3
    gain = (_TARGET / metered) ** 0.8 * c.exposure
    channels = []
    for plate, balance in zip(light, c.balance.tolist(), strict=True):
        shoulder = cv2.addWeighted(plate, 0.22 * gain * balance, plate, 0.0, 1.0)  # highlights roll off
        channels.append(cv2.divide(cv2.sqrt(plate, plate), shoulder, plate, (gain * balance) ** 0.5))
    color, grey = (1.18 * 255 * c.contrast * share for share in (c.saturation, 1 - c.saturation))
    offset = _PIVOT * (1 - c.contrast)
    red, green, blue = 0.3 * grey, 0.59 * grey, 0.11 * grey
    mix = [[red + color, green, blue, offset], [red, green + color, blue, offset], [red, green, blue + color, offset]]
    return cv2.transform(cv2.merge(channels), np.array(mix))


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
