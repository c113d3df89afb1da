"""A gallery in Milvus: filling, searching, identities lost to approximate indexes, beside numpy's brute force (Linux).

    uv run python benchmarks/milvus_engine.py [--templates 100000] [--out result.json]
    uv run python benchmarks/milvus_engine.py --quick        # 5,000 templates: whether it runs

Starts the server of the package `milvus` (2.3.5, standalone) in a temporary folder. Invented templates: unit centres of
persons with 1 to 5 templates each, noise that puts the cosine of two templates of a person near 0.6. Every probe is a
new sample of an enrolled person. An identity is lost where the first person returned, after float32 rescoring, is not
the one whom brute force finds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vultus.gallery.delta import Delta
from vultus.gallery.engines import Follower, MilvusEngine, search_rescored
from vultus.gallery.index.part import Part
from vultus.terminal import table

DIM, PROBES, AT_ONCE = 512, 512, 20_000
NOISE = 0.0361  # per dimension: expected genuine cosine 1 / (1 + 512 NOISE^2) = 0.6
NONE = np.empty(0, np.int64)


def people(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (count, DIM), their persons (count,), probes (PROBES, DIM)."""
    rng = np.random.default_rng(0)
    persons = np.repeat(np.arange(1, count + 1), rng.integers(1, 6, count))[:count].astype(np.int64)
    centres = rng.standard_normal((persons[-1], DIM), np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)

    def samples(of: np.ndarray) -> np.ndarray:
        made = centres[of - 1] + np.float32(NOISE) * rng.standard_normal((len(of), DIM), np.float32)
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    rows = np.concatenate([samples(part) for part in np.array_split(persons, max(1, count // 10_000))])
    return rows, persons, samples(rng.choice(persons, PROBES))


def milliseconds(call: Callable[[], object], seconds: float = 10) -> float:
    times = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < end and len(times) < 50):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def folder_mib(root: Path) -> float:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink()) / 2**20


def measured(
    engine: MilvusEngine, rows: np.ndarray, persons: np.ndarray, probes: np.ndarray, best: np.ndarray
) -> dict[str, float]:
    ids = np.arange(1, len(rows) + 1)

    def feed(position: int | None) -> Delta:
        part = slice(position or 0, (position or 0) + AT_ONCE)
        return Delta(part.start + len(ids[part]), position is None, ids[part], persons[part], rows[part], NONE, NONE)

    class Truth:
        def of_templates(self, ids: np.ndarray) -> Part:
            return Part(rows[ids - 1], ids, persons[ids - 1])

        def of_persons(self, ids: np.ndarray) -> Part:
            return self.of_templates(1 + np.flatnonzero(np.isin(persons, ids)))

    def search(count: int) -> list:
        return search_rescored(engine, probes[:count], 1, Truth())

    engine.timeout = 300
    start = time.perf_counter()
    Follower(feed, engine).catch_up()
    filled = time.perf_counter() - start
    unsettled = milliseconds(lambda: search(1))
    start = time.perf_counter()
    engine.compact()
    while engine._client.describe_index(engine.collection, "embedding")["pending_index_rows"]:
        time.sleep(0.5)
    settled = time.perf_counter() - start
    lost = np.mean([not hits or hits[0].person_id != person for hits, person in zip(search(PROBES), best)])
    one = Delta(len(rows) + 1, False, ids[:1], persons[:1], rows[:1], NONE, NONE)
    return {
        "fill_rows_s": len(rows) / filled,
        "settle_s": settled,
        "unsettled_ms": unsettled,
        "query_ms": milliseconds(lambda: search(1)),
        "batch_64_ms": milliseconds(lambda: search(64)),
        "enrol_ms": milliseconds(lambda: engine.apply(one)),
        "lost": float(lost),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=int, default=100_000)
    parser.add_argument("--indexes", nargs="+", default=["FLAT", "HNSW", "IVF_SQ8"])
    parser.add_argument("--tick", type=int, default=200, help="the server's proxy.timeTickInterval in ms")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    count = 5_000 if options.quick else options.templates
    rows, persons, probes = people(count)
    scores = probes @ rows.T
    best = persons[scores.argmax(axis=1)]
    del scores
    found = [
        {
            "index": "numpy brute force",
            "query_ms": milliseconds(lambda: int((rows @ probes[0]).argmax())),
            "batch_64_ms": milliseconds(lambda: (probes[:64] @ rows.T).argmax(axis=1)),
            "lost": 0.0,
        }
    ]
    from milvus import MilvusServer, MilvusServerConfig

    root = Path(tempfile.mkdtemp(prefix="milvus-benchmark-"))
    config = MilvusServerConfig(data_dir=str(root))
    config.set("proxy.timeTickInterval", options.tick)
    server = MilvusServer(config)
    start = time.perf_counter()
    server.start()
    notes = [
        "rows/s in, settling (flush, compact, index) in s, the rest in ms with rescoring",
        f"a tick of the server is {options.tick} ms, which a strongly consistent search waits for",
        f"server 2.3.5 ready after {time.perf_counter() - start:.0f} s with an empty folder",
    ]
    assert server.server_proc is not None
    pid = server.server_proc.pid
    idle_mib, empty_mib = resident_mib(pid), folder_mib(root / "data")
    notes.append(f"it takes {idle_mib:,.0f} MiB of memory before any rows")
    try:
        for index in options.indexes:
            engine = MilvusEngine(f"http://127.0.0.1:{server.listen_port}", f"b_{index.lower()}", DIM, index=index)
            found.append({"index": f"Milvus {index}"} | measured(engine, rows, persons, probes, best))
            found[-1] |= {"server_mib": resident_mib(pid), "disk_mib": folder_mib(root / "data") - empty_mib}
            engine.drop()
            engine.close()
            if options.out:
                options.out.write_text(
                    json.dumps({"templates": count, "found": found, "notes": notes}, indent=2) + "\n"
                )
    finally:
        server.stop()
        shutil.rmtree(root, ignore_errors=True)
    heads = (
        "",
        "rows/s in",
        "settled s",
        "ms unsettled",
        "ms a query",
        "ms for 64",
        "ms to enrol",
        "lost",
        "server MiB",
        "disk MiB",
    )
    keys = ("fill_rows_s", "settle_s", "unsettled_ms", "query_ms", "batch_64_ms", "enrol_ms")
    lines = [
        (
            one["index"],
            *(f"{one[key]:,.1f}" if key in one else "-" for key in keys),
            f"{one['lost']:.1%}",
            *(f"{one[key]:,.0f}" if key in one else "-" for key in ("server_mib", "disk_mib")),
        )
        for one in found
    ]
    table(f"{count:,} templates of {DIM}, {persons[-1]:,} persons, {os.cpu_count()} cores", heads, lines, notes)


if __name__ == "__main__":
    main()
