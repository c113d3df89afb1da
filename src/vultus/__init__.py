"""vultus: from photographs to a face recogniser that you can trust.

import vultus

recognizer = vultus.load_recognizer("sface")
faces = recognizer.faces("party.jpg")            # boxes, landmarks, aligned crops
embeddings = recognizer.embed(faces)             # (N, 128) float32, unit length

with vultus.Gallery.open("people.db", model="sface") as gallery:
    gallery.enroll("alice", "alice1.jpg", "alice2.jpg")
    for found in gallery.identify("party.jpg", fpir=0.001):
        print(found.decision)                    # match, unknown or ambiguous
    print(gallery.verify("alice", "door.jpg", fmr=0.0001))
    gallery.erase("alice")

run = vultus.train("recipes/quickstart.yaml", ["data.train=data/mine/train", "run=runs/first"])
print(vultus.evaluate(run.path, "data/mine/test"))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from vultus.errors import VultusError
    from vultus.faces import read_image
    from vultus.gallery import Gallery
    from vultus.recognizer import Recognizer, load_recognizer
    from vultus.training import train
    from vultus.workflows import evaluate, export

# Loaded on first use, so that `import vultus` loads neither torch nor onnxruntime.
_WHERE = {
    "VultusError": "vultus.errors",
    "read_image": "vultus.faces",
    "Recognizer": "vultus.recognizer",
    "load_recognizer": "vultus.recognizer",
    "Gallery": "vultus.gallery",
    "train": "vultus.training",
    "evaluate": "vultus.workflows",
    "export": "vultus.workflows",
}

__all__ = [
    "Gallery",
    "Recognizer",
    "VultusError",
    "__version__",
    "evaluate",
    "export",
    "load_recognizer",
    "read_image",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'vultus' has no attribute {name!r}")
    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
