"""Beyond one machine: vector engines that follow the change sequence and see rotated rows and opaque ids, no names."""

from vultus.gallery.engines.follower import Follower
from vultus.gallery.engines.milvus import Found, MilvusEngine
from vultus.gallery.engines.rescoring import rescore, search_rescored

__all__ = ["Follower", "Found", "MilvusEngine", "rescore", "search_rescored"]
