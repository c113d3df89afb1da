"""Published model files: what they expect, where they are, and how to make them load."""

from vultus.zoo.contract import TEMPLATE, Contract, Preprocessing
from vultus.zoo.digest import canonical_digest
from vultus.zoo.locate import find_file, models_home
from vultus.zoo.sanitise import sanitise
from vultus.zoo.table import ZOO, ModelFile, model_file

__all__ = [
    "TEMPLATE",
    "ZOO",
    "Contract",
    "ModelFile",
    "Preprocessing",
    "canonical_digest",
    "find_file",
    "model_file",
    "models_home",
    "sanitise",
]
