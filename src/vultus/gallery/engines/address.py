"""Where an engine is: `milvus:http://host:19530`, with `?index=HNSW&shards=4` behind it if need be."""

from __future__ import annotations

from urllib.parse import parse_qsl

from vultus.errors import VultusError
from vultus.gallery.engines.mark import rows_name
from vultus.gallery.engines.milvus import MilvusEngine
from vultus.gallery.store import Collection

OPTIONS = ("index", "shards")


def open_engine(address: str, collection: Collection, *, make: bool) -> MilvusEngine:
    """The engine's own collection for the rows of `collection`; made if it is not there and `make`.

    Raises VultusError for an address that is none, a server that is away, a collection that is not there.
    """
    kind, _, rest = address.partition(":")
    if kind != "milvus" or not rest:
        raise VultusError(f"{address!r} is no vector engine; give its address as milvus:http://host:19530")
    uri, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in OPTIONS:
            raise VultusError(f"no option {name!r} for a vector engine; there are {', '.join(OPTIONS)}")
    shards = options.get("shards", "1")
    if not shards.isdecimal() or not 1 <= int(shards) <= 64:
        raise VultusError(f"shards={shards} of a vector engine is no number from 1 to 64")
    index = options.get("index", "FLAT")
    return MilvusEngine(uri, rows_name(collection), collection.dim, index=index, shards=int(shards), make=make)
