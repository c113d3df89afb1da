"""kill -9 at random moments: what was acknowledged is there, what was not is there whole or not at all."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

from vultus.gallery import Store, StoreInfo

# For each line of input, forks a child that enrols people of three templates, forgets every fifth, and says so after
# each; the parent says when the child is dead. A fork saves the imports.
WORKER = """
import os, sys
from pathlib import Path
import numpy as np
from vultus.gallery import Store
from vultus.gallery.old_store import Sample

def work(round_):
    print(f"pid {os.getpid()}", flush=True)
    store = Store.open(Path(sys.argv[1]))
    generator = np.random.default_rng(round_)
    for i in range(100_000):
        rows = generator.normal(size=(3, 32)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        store.add(f"{round_} {i}", [Sample(row) for row in rows])
        print(f"+{round_} {i}", flush=True)
        if i % 5 == 4:
            print(f"?{round_} {i - 2}", flush=True)
            store.remove([f"{round_} {i - 2}"])
            print(f"-{round_} {i - 2}", flush=True)

while line := sys.stdin.readline():
    child = os.fork()
    if child == 0:
        work(int(line))
    os.waitpid(child, 0)
    print("dead", flush=True)
"""
ROUNDS = 15


def test_kill_9_loses_nothing_acknowledged(tmp_path):
    path = tmp_path / "people.db"
    Store.create(path, StoreInfo("people", "pixels", "vultus1-test", 32)).close()
    chance = random.Random(7)
    enrolled: set[str] = set()
    forgotten: set[str] = set()
    started: set[str] = set()
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    for number in range(ROUNDS):
        print(number, file=worker.stdin, flush=True)
        child = int(worker.stdout.readline().split()[1])
        threading.Timer(chance.uniform(0.02, 0.3), os.kill, (child, signal.SIGKILL)).start()
        for line in iter(worker.stdout.readline, "dead\n"):
            {"+": enrolled, "?": started, "-": forgotten}[line[0]].add(line[1:].strip())

        store = Store.open(path)
        found = {person.name: person.templates for person in store.persons()}
        store.close()
        assert enrolled - started <= found.keys(), "an acknowledged person is gone"
        assert not forgotten & found.keys(), "a forgotten person is back"
        assert set(found.values()) <= {3}, "half a person"
        with closing(sqlite3.connect(path)) as raw:
            assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
            assert raw.execute("SELECT scrub_pending FROM gallery").fetchall() == [(0,)]
            replayed: dict[int, int] = {}
            for kind, person, template in raw.execute("SELECT kind, person_id, template_id FROM changes ORDER BY seq"):
                if kind == "enrol":
                    replayed[template] = person
                else:
                    replayed = {t: p for t, p in replayed.items() if p != person}
            assert replayed == dict(raw.execute("SELECT id, person_id FROM templates"))
    worker.stdin.close()
    worker.wait()
    worker.stdout.close()
    assert len(enrolled) > ROUNDS, "the rounds did some work"
