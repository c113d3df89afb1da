"""A long walk over all pairs, written down now and then, so that an interruption costs little."""

from __future__ import annotations

import hashlib
import io
import json
import time
from pathlib import Path

import numpy as np

from vultus.errors import VultusError
from vultus.evaluation.scores.embeddings import ROWS
from vultus.evaluation.scores.layout import Layout
from vultus.evaluation.scores.tally import Tally
from vultus.files import check_file, parsing, save_atomically
from vultus.formats import MOST_ARRAY

SECONDS = 60.0
"""Between two savings; more where saving itself takes longer than a hundredth of that."""


class Checkpoint:
    """One .npz file with the tally so far. It stays when all is done: the same call then answers at once."""

    def __init__(self, path: Path, digest: str, seconds: float = SECONDS) -> None:
        self.path, self.digest, self.seconds = path, digest, seconds
        self._next = time.monotonic() + seconds

    def load(self, tally: Tally) -> None:
        """Take up what is there. VultusError where the file belongs to other embeddings, labels or options."""
        if not self.path.exists():
            return
        check_file(self.path, MOST_ARRAY)
        with parsing(self.path, "checkpoint of scores", "delete it or choose another file"):
            with np.load(self.path, allow_pickle=False) as file:
                state = dict(file)
            digest = str(state.pop("digest"))
        if digest != self.digest:
            raise VultusError(
                f"{self.path} belongs to other embeddings, labels or options; delete it or choose another file"
            )
        tally.restore(state)

    def save_if_due(self, tally: Tally) -> None:
        started = time.monotonic()
        if started >= self._next:
            self.save(tally)
            now = time.monotonic()
            self._next = now + max(self.seconds, 100 * (now - started))

    def save(self, tally: Tally) -> None:
        memory = io.BytesIO()
        np.savez(memory, allow_pickle=False, digest=np.array(self.digest), **tally.state())
        save_atomically(memory.getvalue(), self.path)


def digest_of(layout: Layout, **options: object) -> str:
    """SHA-256 of everything the scores depend on."""
    options |= {"block": layout.block, "two_sets": layout.two_sets, "same_images": layout.same_images}
    found = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for side in {id(side): side for side in (layout.rows, layout.columns)}.values():
        found.update(f"{side.embeddings.shape} {side.embeddings.dtype.str}".encode())
        found.update(side.codes.tobytes())
        if side.order is not None:
            found.update(side.order.tobytes())
        for start in range(0, len(side.codes), ROWS):
            found.update(np.ascontiguousarray(side.embeddings[start : start + ROWS]).data)
    return found.hexdigest()
