"""Beyond one machine: vector engines that follow the change sequence and see rotated rows and opaque ids, no names."""

from vultus.gallery.engines.address import open_engine
from vultus.gallery.engines.engine_follower import EngineFollower, positions
from vultus.gallery.engines.engine_view import EngineCurrent, EngineLive, EngineView
from vultus.gallery.engines.follower import Follower
from vultus.gallery.engines.mark import Mark
from vultus.gallery.engines.milvus import Found, MilvusEngine
from vultus.gallery.engines.rescoring import rescore, search_rescored

__all__ = [
    "EngineCurrent",
    "EngineFollower",
    "EngineLive",
    "EngineView",
    "Follower",
    "Found",
    "Mark",
    "MilvusEngine",
    "open_engine",
    "positions",
    "rescore",
    "search_rescored",
]
