"""Published model files: what they expect, where they are, and how to make them load."""

from vultus.zoo.contract import TEMPLATE, Contract, Preprocessing
from vultus.zoo.digest import canonical_digest
from vultus.zoo.licence import LicenceLink, announce, announce_chain, commercial_use, licence_link
from vultus.zoo.locate import NotHere, fetch_file, find_file, locate_model, models_folder, models_home
from vultus.zoo.sanitise import read_network, sanitise
from vultus.zoo.table import ZOO, ModelFile, model_file

__all__ = [
    "TEMPLATE",
    "ZOO",
    "Contract",
    "LicenceLink",
    "ModelFile",
    "NotHere",
    "Preprocessing",
    "announce",
    "announce_chain",
    "canonical_digest",
    "commercial_use",
    "fetch_file",
    "find_file",
    "licence_link",
    "locate_model",
    "model_file",
    "models_folder",
    "models_home",
    "read_network",
    "sanitise",
]
