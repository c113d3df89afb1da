"""A fork goes on with an open gallery, and so does its parent."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os, sys
from vultus.gallery.store import Store
store = Store.create(sys.argv[1])
def use():
    for _ in range(20):
        with store.writing() as write:
            write.audit("gallery_created", None, None, {})
        store.head()
child = os.fork()
use()
if child == 0:
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
use()
"""


def test_both_sides_of_a_fork_read_and_write(place, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(place)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
