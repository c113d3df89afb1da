"""A Milvus collection that follows the change sequence: candidates from any number of machines.

The truth stays in the SQL database. Milvus holds of a template its id, its person's id and its rotated row; it can be
dropped and filled again at any time. Searches are strongly consistent: they see every row written before they began.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from vultus.errors import ContractError, VultusError
from vultus.gallery.delta import Delta
from vultus.gallery.engines.mark import Mark
from vultus.gallery.engines.milvus_calls import milvus_errors, quietly, wait_for_compaction

TOKEN = "VULTUS_MILVUS_TOKEN"
"""The environment variable with `user:password` or an API key: never part of an address, which errors print."""

INDEXES = {
    "FLAT": ({}, lambda limit: {}),
    "HNSW": ({"M": 32, "efConstruction": 256}, lambda limit: {"ef": max(256, limit)}),
    "IVF_SQ8": ({"nlist": 1024}, lambda limit: {"nprobe": 64}),
}
"""How to build each and how to search it for `limit` rows. Only FLAT compares every row."""

ROWS_AT_MOST = 16_384
"""Milvus returns no more rows for a probe or a query (its `proxy.limits`, topK)."""
IDS_AT_ONCE = 10_000
"""Ids in one expression."""
BYTES_AT_ONCE = 8 << 20
"""Vector bytes in one message, well below the server's 64 MiB."""

ROWS, MARK = "_default", "position"  # partitions; the second holds a row for each number of a `Mark`
MARK_IDS = (-1, -2, -3)  # template ids of the truth are positive

_Item = TypeVar("_Item")


class Found(NamedTuple):
    """A row near a probe, as the engine scores it."""

    template_id: int
    person_id: int
    score: float


class MilvusEngine:
    """One collection of a Milvus server, made if it is not there.

    `uri` is `http://host:19530` or `https://…`; credentials come from the environment (`TOKEN`). `collection` should
    say nothing about people or purpose. `dim` is the length of a row. Every index but FLAT may miss the right person.
    One process at a time may apply deltas; any number may search, best with `make=False`.

    Raises VultusError for a server that is away or refuses, ContractError for a collection of other rows.
    """

    def __init__(
        self,
        uri: str,
        collection: str,
        dim: int,
        *,
        index: str = "FLAT",
        shards: int = 1,
        timeout: float = 30,
        make: bool = True,
    ) -> None:
        self.uri, self.collection, self.dim = uri, collection, dim
        self.index, self.shards, self.timeout = index, shards, timeout
        if index not in INDEXES:
            raise VultusError(f"no index {index!r} for Milvus; choose one of {', '.join(INDEXES)}")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,254}", collection):
            raise VultusError(f"{collection!r} cannot name a Milvus collection; use letters, digits and _")
        if "@" in uri:
            raise VultusError(f"the address of a Milvus server holds credentials; put them in {TOKEN} instead")
        if not re.match(r"https?://", uri):
            # A path would open Milvus Lite, whose compaction does nothing: nothing is ever erased from its files.
            raise VultusError(f"{uri!r} is no Milvus server; give its address as http://host:19530")
        try:
            import pymilvus
        except ImportError:
            raise VultusError("Milvus needs pymilvus; install vultus[milvus]") from None
        quietly()
        with self._errors():
            self._client: Any = pymilvus.MilvusClient(uri, token=os.environ.get(TOKEN, ""), timeout=timeout)
            if not make and not self._client.has_collection(collection, timeout=timeout):
                raise VultusError(f"Milvus at {uri} has no collection {collection} yet; start its follower")
            self._open()

    @property
    def position(self) -> int | None:
        """How far in the change sequence the collection has got; None before anything. Kept in Milvus."""
        mark = self.mark
        return None if mark is None else mark.position

    @property
    def mark(self) -> Mark | None:
        """The last that was written; None before anything."""
        client, name = self._client, self.collection
        with self._errors():
            if not client.has_collection(name, timeout=self.timeout):
                return None
            if not client.has_partition(name, MARK, timeout=self.timeout):
                return None  # whoever was making it is not done, or was killed
            self._load()
            about = {"filter": f"template_id in {list(MARK_IDS)}", "output_fields": ["template_id", "person_id"]}
            rows = self._query(partition=MARK, **about)
        found = {int(row["template_id"]): int(row["person_id"]) for row in rows}
        return Mark(*(found[at] for at in MARK_IDS)) if len(found) == len(MARK_IDS) else None

    def count(self, among: np.ndarray | None = None) -> int:
        """Number of templates, to be compared with the truth's; of the persons `among` (int64 ids)."""
        which = [""]
        if among is not None:
            which = [f"person_id in {ids}" for ids in chunks(np.unique(among).tolist(), IDS_AT_ONCE)]
        with self._errors():
            told = [self._query(partition=ROWS, filter=one, output_fields=["count(*)"]) for one in which]
        return sum(int(rows[0]["count(*)"]) for rows in told)

    def template_ids(self) -> np.ndarray:
        """(N,) int64, ascending: every template there, to be compared with the truth's."""
        found: list[int] = []
        with self._errors():
            pages = self._client.query_iterator(
                self.collection,
                batch_size=ROWS_AT_MOST,
                filter="template_id > 0",
                output_fields=["template_id"],
                partition_names=[ROWS],
                consistency_level="Strong",
                timeout=self.timeout,
            )
            while page := pages.next():
                found += [int(row["template_id"]) for row in page]
            pages.close()
        return np.array(sorted(found), np.int64)

    def apply(self, delta: Delta, mark: Mark | None = None) -> None:
        """Follow a delta of (N, `dim`) rows. `mark` (or only the delta's position) is written last: after a crash,
        apply the same again.
        """
        rows = np.ascontiguousarray(delta.embeddings, np.float32)
        if len(rows) and rows.shape[1] != self.dim:
            raise ContractError(f"rows of {rows.shape[1]} numbers for a Milvus collection of {self.dim}")
        if not np.isfinite(rows).all():
            raise ContractError("a row with NaN or infinity for Milvus")
        with self._errors():
            if delta.rebuild:
                self._client.drop_collection(self.collection, timeout=self.timeout)
                self._open()
            for ids in chunks(delta.removed_persons.tolist(), IDS_AT_ONCE):
                self._delete(f"person_id in {list(ids)}")
            for ids in chunks(delta.removed_templates.tolist(), IDS_AT_ONCE):
                self._delete(f"template_id in {list(ids)}")
            at_once = max(1, BYTES_AT_ONCE // (4 * self.dim))
            for part in chunks(range(len(rows)), at_once):
                ids, people = delta.template_ids[part].tolist(), delta.person_ids[part].tolist()
                self._upsert(ROWS, [_row(*row) for row in zip(ids, people, rows[part], strict=True)])
            nothing = np.zeros(self.dim, np.float32)
            numbers = mark or Mark(int(delta.position))
            self._upsert(MARK, [_row(at, number, nothing) for at, number in zip(MARK_IDS, numbers, strict=True)])

    def search(self, probes: np.ndarray, k: int, *, among: np.ndarray | None = None) -> list[list[Found]]:
        """The templates nearest to each probe (Q, `dim`) float32 unit rows, rotated as the rows are; best first.

        At least `k` different persons for each probe, or as many as there are: more rows are fetched until that holds.
        `among` (int64 person ids) searches theirs alone.
        """
        probes = np.ascontiguousarray(probes, np.float32)
        if probes.ndim != 2 or probes.shape[1] != self.dim or not np.isfinite(probes).all():
            raise ContractError(f"probes must be (Q, {self.dim}) finite numbers, not {probes.shape}")
        if not len(probes) or k < 1:
            return [[] for _ in probes]
        if among is None:
            return self._covering(probes, k, "")
        parts = [
            self._covering(probes, k, f"person_id in {ids}") for ids in chunks(np.unique(among).tolist(), IDS_AT_ONCE)
        ]
        return [_merged([part[at] for part in parts], k) for at in range(len(probes))]

    def compact(self) -> None:
        """Write segments anew without their deleted rows; the server's garbage collection then deletes the old files.

        When the bytes of an erased row are gone depends on the server's settings: docs/scaling.md.
        """
        with self._errors():
            self._client.flush(self.collection, timeout=self.timeout)
            job = self._client.compact(self.collection, timeout=self.timeout)
            wait_for_compaction(self._client, job)

    def drop(self) -> None:
        """Delete the collection with its position; a delta that rebuilds makes it again."""
        with self._errors():
            self._client.drop_collection(self.collection, timeout=self.timeout)

    def drop_others(self, prefix: str) -> None:
        """Delete the collections whose names begin with `prefix`, but for this one."""
        with self._errors():
            for name in self._client.list_collections(timeout=self.timeout):
                if name.startswith(prefix) and name != self.collection:
                    self._client.drop_collection(name, timeout=self.timeout)

    def close(self) -> None:
        self._client.close()

    def _errors(self):
        return milvus_errors(self.uri, self.collection)

    def _open(self) -> None:
        """Each step only where it is wanting: whoever made the collection may have been killed half-way."""
        from pymilvus import DataType

        client, name = self._client, self.collection
        if not client.has_collection(name, timeout=self.timeout):
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("template_id", DataType.INT64, is_primary=True)
            schema.add_field("person_id", DataType.INT64)
            schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=self.dim)
            client.create_collection(
                name, schema=schema, consistency_level="Strong", num_shards=self.shards, timeout=self.timeout
            )
        fields = {field["name"]: field for field in client.describe_collection(name, timeout=self.timeout)["fields"]}
        if fields.keys() != {"template_id", "person_id", "embedding"}:
            raise ContractError(f"the Milvus collection {name} was not made by vultus; choose another name")
        if (dim := int(fields["embedding"]["params"]["dim"])) != self.dim:
            raise ContractError(f"the Milvus collection {name} holds rows of {dim} numbers, not {self.dim}; drop it")
        if "embedding" not in client.list_indexes(name):
            params = client.prepare_index_params()
            params.add_index("embedding", index_type=self.index, metric_type="IP", params=INDEXES[self.index][0])
            client.create_index(name, params, timeout=self.timeout)
        made = client.describe_index(name, "embedding", timeout=self.timeout)["index_type"]
        if made != self.index:
            raise ContractError(f"the Milvus collection {name} has a {made} index, not {self.index}; drop it")
        if not client.has_partition(name, MARK, timeout=self.timeout):
            client.create_partition(name, MARK, timeout=self.timeout)
        self._load()

    def _load(self) -> None:
        """Into the memory of the query nodes, which a server that starts again does by itself."""
        if "NotLoad" in str(self._client.get_load_state(self.collection, timeout=self.timeout)["state"]):
            self._client.load_collection(self.collection, timeout=self.timeout)

    def _query(self, *, partition: str, **about: object) -> Sequence[dict]:
        return self._client.query(
            self.collection,
            partition_names=[partition],
            consistency_level="Strong",
            timeout=self.timeout,
            **about,
        )

    def _delete(self, which: str) -> None:
        self._client.delete(self.collection, filter=which, partition_name=ROWS, timeout=self.timeout)

    def _upsert(self, partition: str, rows: list[dict]) -> None:
        # Not insert: where an id is there already it adds a second row (server 2.3.5).
        self._client.upsert(self.collection, rows, partition_name=partition, timeout=self.timeout)

    def _covering(self, probes: np.ndarray, k: int, which: str) -> list[list[Found]]:
        limit = min(ROWS_AT_MOST, max(64, 4 * k))
        while True:
            found = self._nearest(probes, limit, which)
            short = [at for at, rows in enumerate(found) if len(rows) >= limit and persons_in(rows) < k]
            if not short or limit == ROWS_AT_MOST:
                break
            limit = min(ROWS_AT_MOST, 4 * limit)
        for at in short:
            found[at] = self._beyond(probes[at : at + 1], found[at], k, which)
        return found

    def _beyond(self, probe: np.ndarray, rows: list[Found], k: int, which: str) -> list[Found]:
        """Persons behind those who fill all the rows that one search returns: search on without these."""
        while (have := persons_in(rows)) < k:
            others = f"person_id not in {sorted({row.person_id for row in rows})}"
            more = self._nearest(probe, ROWS_AT_MOST, f"({which}) and {others}" if which else others)[0]
            rows = rows + more
            if persons_in(rows) == have:
                break
        return rows

    def _nearest(self, probes: np.ndarray, limit: int, which: str) -> list[list[Found]]:
        with self._errors():
            hits = self._client.search(
                self.collection,
                data=list(probes),
                anns_field="embedding",
                filter=which,
                limit=limit,
                output_fields=["person_id"],
                partition_names=[ROWS],
                search_params={"metric_type": "IP", "params": INDEXES[self.index][1](limit)},
                consistency_level="Strong",
                timeout=self.timeout,
            )
        return [
            [Found(int(hit["id"]), int(hit["entity"]["person_id"]), hit["distance"]) for hit in one] for one in hits
        ]


def persons_in(rows: Sequence[Found]) -> int:
    return len({row.person_id for row in rows})


def chunks(items: Sequence[_Item], size: int) -> list[Sequence[_Item]]:
    return [items[at : at + size] for at in range(0, len(items), size)]


def _merged(parts: list[list[Found]], k: int) -> list[Found]:
    """Rows of separate searches, down to where the first of them stopped looking: no gap above the last."""
    stopped = [min(row.score for row in rows) for rows in parts if persons_in(rows) >= k]
    floor = max(stopped, default=-np.inf)
    return sorted((row for rows in parts for row in rows if row.score >= floor), key=lambda row: -row.score)


def _row(template_id: int, person_id: int, embedding: np.ndarray) -> dict:
    return {"template_id": template_id, "person_id": person_id, "embedding": embedding}
