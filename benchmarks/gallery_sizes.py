"""What a gallery takes: bytes a template, enrolments and opened rows a second, candidates read, the index (Linux).

    uv run python benchmarks/gallery_sizes.py [--templates 100000] [--dim 512] [--out sizes.json]
    uv run python benchmarks/gallery_sizes.py --postgresql postgresql://USER@HOST/DB     # an empty database, too

Invented people, two templates each (random directions), with a source digest, a box, five quality values, metadata, and
an entry of the audit log a person. The SQLite file lies in a temporary folder. The database of PostgreSQL is left
filled: drop it afterwards. 100,000 templates take some minutes and 1 GiB of memory.

Bytes are of whole pages, before the single enrolments. Bulk enrolment has 1,000 templates a transaction, a single one
a person with one template; each is durable when it ends. "Opened" is `templates.opened` of everybody: read, keys
unwrapped, rows decrypted. 64 candidates are random templates read and opened by their ids, as after a search in a
vector engine, 20 times. The index is built from rows at hand; its memory is what the process holds more afterwards
without those rows. Its snapshot is read from the page cache. Probes are enrolled templates with noise. Times are of the
clock, other work included; of what runs in this process alone the CPU's time is given as well.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import text

from vultus.gallery.delta import Delta
from vultus.gallery.index import Table
from vultus.gallery.protection import KeyEncryptionKey
from vultus.gallery.settings import Settings
from vultus.gallery.store import Collection, Sample, Store, Write, collections, persons, templates
from vultus.gallery.store.database import database_at
from vultus.terminal import table, track

EACH = 2
"""Templates a person."""
AT_ONCE = 500
"""People a transaction of bulk enrolment."""
CANDIDATES, REPEATS = 64, 20
PROBES = 64
NOISE = 0.68  # length: cosine of a probe with its template 1 / sqrt(1 + NOISE²) = 0.83
SECONDS = 5.0
"""Of single enrolments."""
QUALITY = {"sharpness": 0.812, "pose": 0.91, "illumination": 0.77, "inter_eye_distance": 61.2, "eyes_open": 0.93}
BOX = (10.5, 20.25, 110.5, 140.75)
PARTS = {"changes": "changes", "audit": "audit", "persons": "persons, keys", "person_keys": "persons, keys"}
"""Tables told apart, with their indexes; `templates` without."""

SQLITE_SIZES = """
    SELECT tbl_name, type = 'index', SUM(pgsize) FROM dbstat JOIN sqlite_schema USING (name) GROUP BY 1, 2
"""
POSTGRESQL_SIZES = """
    SELECT relname, part.is_index, CASE WHEN part.is_index THEN pg_indexes_size(oid) ELSE pg_table_size(oid) END
    FROM pg_class, (VALUES (false), (true)) AS part (is_index)
    WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
"""


def unit(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    rows = rng.standard_normal((count, dim), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def enrol(store: Store, write: Write, collection: Collection, name: str, rows: np.ndarray) -> None:
    person, key = persons.add(store, write, collection, name, metadata={"site": "north"})
    provenance = {"from": "photograph", "file": "0123456789abcdef"}
    samples = [Sample(row, source=row.tobytes(), box=BOX, quality=QUALITY, provenance=provenance) for row in rows]
    templates.add(write, collection, person, key, samples)
    write.audit("enrol", collection.uuid, key.pseudonym, {"templates": len(rows)})


def bulk(store: Store, collection: Collection, count: int, rng: np.random.Generator) -> float:
    """Templates a second."""
    start = time.perf_counter()
    for first in track(range(0, count, EACH * AT_ONCE), f"enrolling in {store.database.dialect}"):
        people = range(first, min(first + EACH * AT_ONCE, count), EACH)
        with store.writing() as write:
            for number in people:
                enrol(store, write, collection, f"person-{number:09d}", unit(rng, EACH, collection.dim))
    return count / (time.perf_counter() - start)


def single(store: Store, collection: Collection, rng: np.random.Generator) -> float:
    """People a second."""
    start, done = time.perf_counter(), 0
    while time.perf_counter() < start + SECONDS:
        with store.writing() as write:
            enrol(store, write, collection, f"single-{done:09d}", unit(rng, 1, collection.dim))
        done += 1
    return done / (time.perf_counter() - start)


def bytes_a_template(store: Store, count: int) -> dict[str, float]:
    """By table, the sum last. The sum alone where Python's SQLite was built without `dbstat`."""
    sizes: dict[str, float] = {}
    with store.database.reading() as connection:
        if store.database.dialect == "sqlite":
            pages = connection.execute(text("PRAGMA page_count")).scalar_one()
            total = pages * connection.execute(text("PRAGMA page_size")).scalar_one()
            options = connection.execute(text("PRAGMA compile_options")).scalars().all()
            rows = connection.execute(text(SQLITE_SIZES)).all() if "ENABLE_DBSTAT_VTAB" in options else []
        else:
            rows = connection.execute(text(POSTGRESQL_SIZES)).all()
            total = sum(int(size) for *_, size in rows)
    for name, is_index, size in rows:
        part = ("its indexes" if is_index else name) if name == "templates" else PARTS.get(name)
        if part:
            sizes[part] = sizes.get(part, 0) + int(size) / count
    return sizes | {"all": total / count}


def clocked(call: Callable[..., Any], *given: Any) -> tuple[Any, float, float]:
    """What it returns, its seconds and its CPU seconds."""
    start, computing = time.perf_counter(), time.process_time()
    result = call(*given)
    return result, time.perf_counter() - start, time.process_time() - computing


def measured(store: Store, count: int, dim: int) -> dict[str, Any]:
    """Everything that is measured of one database."""
    rng = np.random.default_rng(0)
    with store.writing() as write:
        collection = collections.create(store, write, "people", "invented", "c" * 64, dim, Settings.parse({}))
    found: dict[str, Any] = {"bulk": bulk(store, collection, count, rng), "bytes": bytes_a_template(store, count)}
    with store.reading() as connection:
        query = templates.active(collection)
        (ids, _, _), wall, cpu = clocked(templates.opened, store, connection, collection, query)
    assert len(ids) == count
    found |= {"opened": count / wall, "opened_cpu": count / cpu}
    times = []
    for _ in range(REPEATS):
        wanted, start = rng.choice(ids, CANDIDATES, replace=False), time.perf_counter()
        with store.reading() as connection:
            templates.rows_of(store, connection, collection, wanted)
        times.append(1e3 * (time.perf_counter() - start))
    found |= {"candidates_median": statistics.median(times), "candidates_best": min(times)}
    return found | {"single": single(store, collection, rng)}


def resident() -> int:
    """Bytes of this process that no file holds (Linux)."""
    return 1024 * int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0])


def delta_of(count: int, dim: int) -> Delta:
    ids, none = np.arange(1, count + 1), np.empty(0, np.int64)
    return Delta(1, True, ids, (ids + 1) // EACH, unit(np.random.default_rng(0), count, dim), none, none)


def index_costs(folder: Path, count: int, dim: int) -> dict[str, float]:
    """Seconds, bytes a template."""
    Table(dim, tail=0).apply(delta_of(9, dim))  # libraries and threads are no part of the index
    before = resident()
    delta, index = delta_of(count, dim), Table(dim)
    _, build, build_cpu = clocked(index.apply, delta)
    del delta
    found = {"memory": (resident() - before) / count, "build": build, "build_cpu": build_cpu}
    path, key = folder / "index.snapshot", os.urandom(32)
    _, found["save"], found["save_cpu"] = clocked(index.save, path, key, {})
    found["snapshot"] = path.stat().st_size / count
    probes = delta_of(count, dim).embeddings[:: max(1, count // PROBES)][:PROBES]
    probes = probes + np.float32(NOISE) * unit(np.random.default_rng(1), len(probes), dim)
    probes /= np.linalg.norm(probes, axis=1, keepdims=True)
    view = index.view()
    view.search(probes, 5)  # the first search of all learns how far it must look
    alone = [clocked(view.search, probe[None], 5)[1:] for probe in probes]
    found["search"], found["search_cpu"] = (statistics.median(times) for times in zip(*alone, strict=True))
    _, found["search_64"], found["search_64_cpu"] = clocked(view.search, probes, 5)
    del index, view
    _, found["load"], found["load_cpu"] = clocked(Table.load, path, key, {})
    return found


def database_rows(found: dict[str, dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for part in ("templates", "its indexes", "changes", "persons, keys", "audit", "all"):
        cells = [f"{one['bytes'][part]:,.0f}" if part in one["bytes"] else "–" for one in found.values()]
        yield (f"bytes a template: {part}", *cells)
    for key, name in (
        ("bulk", "bulk enrolment, templates/s"),
        ("single", "single enrolments/s"),
        ("opened", "opened, rows/s"),
        ("opened_cpu", "opened, rows a CPU second of this process"),
    ):
        yield (name, *(f"{one[key]:,.0f}" for one in found.values()))
    for key in ("median", "best"):
        cells = (f"{one[f'candidates_{key}']:,.1f}" for one in found.values())
        yield (f"{CANDIDATES} candidates, {key} of {REPEATS}, ms", *cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--postgresql", metavar="ADDRESS")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    dim, count = options.dim, -(-options.templates // EACH) * EACH
    if count < CANDIDATES:
        parser.error(f"--templates must be {CANDIDATES} or more")
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="vultus-sizes-") as folder:
        index = index_costs(Path(folder), count, dim)  # first, in a process that has allocated little else
        places = {"SQLite": str(Path(folder, "people.db"))}
        if options.postgresql:
            places["PostgreSQL"] = options.postgresql
            if database_at(options.postgresql).exists():
                parser.error("--postgresql holds a gallery already; give an empty database")
        for name, place in places.items():
            store = Store.create(place, KeyEncryptionKey.generate())
            try:
                found[name] = measured(store, count, dim)
            finally:
                store.close()
    if options.out:
        result = {"templates": count, "dim": dim, "databases": found, "index": index}
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    title = f"{count:,} templates of {dim}, {count // EACH:,} people, {os.cpu_count()} cores"
    table(title, ("", *found), database_rows(found))
    table(
        "The index in the process",
        ("", "bytes a template", "s", "CPU s"),
        [
            ("built, in memory", f"{index['memory']:,.0f}", f"{index['build']:.2f}", f"{index['build_cpu']:.2f}"),
            ("snapshot saved", f"{index['snapshot']:,.0f}", f"{index['save']:.2f}", f"{index['save_cpu']:.2f}"),
            ("snapshot loaded", "", f"{index['load']:.2f}", f"{index['load_cpu']:.2f}"),
            ("one search (median)", "", f"{index['search']:.4f}", f"{index['search_cpu']:.4f}"),
            (f"{PROBES} probes at once", "", f"{index['search_64']:.4f}", f"{index['search_64_cpu']:.4f}"),
        ],
    )


if __name__ == "__main__":
    main()
