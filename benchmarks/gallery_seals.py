"""What the seals of rows cost: enrollment one by one, opening, and a change of the key, beside another checkout.

    git worktree add ../before 68a8b4f        # the last commit whose rows had no seals
    uv run python benchmarks/gallery_seals.py --against ../before --out seals.json

Both run by turns in processes of their own, over a SQLite file with random rows of 512 numbers; seconds of CPU and of
the clock, medians, and the ratio of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = """
import json, os, sys, time
from pathlib import Path
import numpy as np
from vultus.gallery.settings import Settings
from vultus.gallery.store import Sample, Store, collections, follow, persons, templates
from vultus.gallery.custody.rekey import rotate_key

folder, single, bulk = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
os.environ["XDG_CONFIG_HOME"] = str(folder)
rows = np.random.default_rng(0).standard_normal((bulk, 512)).astype(np.float32)
rows /= np.linalg.norm(rows, axis=1, keepdims=True)
figures = {}

class timed:
    def __init__(self, name): self.name = name
    def __enter__(self): self.at = time.process_time(), time.perf_counter()
    def __exit__(self, *_):
        figures[self.name] = [time.process_time() - self.at[0], time.perf_counter() - self.at[1]]

store = Store.create(folder / "people.db")
with store.writing() as write:
    bound = collections.create(store, write, "default", "m", "contract", 512, Settings.parse({}))
def add(write, number):
    person, key = persons.add(store, write, bound, f"person-{number}", metadata={"room": number})
    about = {"from": "photograph", "detection_score": 0.9321}
    sample = Sample(rows[number], source=rows[number].tobytes(), box=[1.5, 2.5, 99.25, 120.0], provenance=about)
    templates.add(write, bound, person, key, [sample])
    write.audit("enrolled", bound.uuid, key.pseudonym, {"templates": 1})
with store.writing() as write:
    add(write, 0)  # the rotation is made once
with timed("enroll one by one"):
    for number in range(1, single):
        with store.writing() as write:
            add(write, number)
for start in range(single, bulk, 2000):
    with store.writing() as write:
        for number in range(start, min(start + 2000, bulk)):
            add(write, number)
store.close()
with timed("open and read all rows"):
    store = Store.open(folder / "people.db")
    with store.reading() as connection:
        bound = collections.get(store, connection, "default")
        assert len(follow(store, connection, bound, None).template_ids) == bulk
with timed("open again"):
    for _ in range(20):
        Store.open(folder / "people.db").close()
with timed("rotate-key"):
    rotate_key(store)
print(json.dumps(figures))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, required=True, help="another checkout of vultus")
    parser.add_argument("--single", type=int, default=400, help="people enrolled in a transaction each")
    parser.add_argument("--bulk", type=int, default=10_000, help="templates in all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    sides = {"now": Path(__file__).parents[1] / "src", "before": given.against / "src"}
    found: dict[str, dict[str, list]] = {}
    for _ in range(given.rounds):
        for side, source in sides.items():
            with tempfile.TemporaryDirectory() as folder:
                words = [sys.executable, "-c", PROGRAM, folder, str(given.single), str(given.bulk)]
                done = subprocess.run(
                    words, env={**os.environ, "PYTHONPATH": str(source.resolve())}, capture_output=True, check=True
                )
            for name, figures in json.loads(done.stdout.splitlines()[-1]).items():
                found.setdefault(name, {}).setdefault(side, []).append(figures)
    table = []
    print(f"{'':26}{'CPU s now':>12}{'before':>10}{'ratio':>8}{'clock s now':>14}{'before':>10}{'ratio':>8}")
    for name, both in found.items():
        cells = []
        for at in (0, 1):
            now, before = (statistics.median(one[at] for one in both[side]) for side in ("now", "before"))
            cells += [now, before, now / before]
        table.append(
            {"what": name, **dict(zip(("cpu_now", "cpu_before", "cpu_ratio", "now", "before", "ratio"), cells))}
        )
        print(
            f"{name:26}{cells[0]:12.3f}{cells[1]:10.3f}{cells[2]:8.2f}{cells[3]:14.3f}{cells[4]:10.3f}{cells[5]:8.2f}"
        )
    if given.out:
        given.out.write_text(json.dumps({"single": given.single, "bulk": given.bulk, "table": table}, indent=2))


if __name__ == "__main__":
    main()
