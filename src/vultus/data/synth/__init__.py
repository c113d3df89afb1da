"""Procedural faces for demos and tests; they are no people."""

from vultus.data.synth.faces import ProceduralFaces
from vultus.data.synth.sheet import contact_sheet

__all__ = ["ProceduralFaces", "contact_sheet"]
