"""Is a photograph good enough? Measures in the words of ISO/IEC 29794-5, and gates over them."""

from vultus.faces.quality.gate import ENROL_GATE, OPEN_GATE, PROBE_GATE, Gate, Reason, ReasonCode
from vultus.faces.quality.light import Light, measure_light
from vultus.faces.quality.ofiq import ofiq_scores
from vultus.faces.quality.pose import Pose, head_pose
from vultus.faces.quality.quality import Quality, measure_quality
from vultus.faces.quality.sharpness import sharpness

__all__ = [
    "ENROL_GATE",
    "OPEN_GATE",
    "PROBE_GATE",
    "Gate",
    "Light",
    "Pose",
    "Quality",
    "Reason",
    "ReasonCode",
    "head_pose",
    "measure_light",
    "measure_quality",
    "ofiq_scores",
    "sharpness",
]
