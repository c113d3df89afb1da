"""Keeps an engine in step with the truth."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from vultus.errors import VultusError
from vultus.gallery.delta import Delta


class Engine(Protocol):
    @property
    def position(self) -> int | None: ...

    def apply(self, delta: Delta) -> None: ...


class Follower:
    """Feeds an engine from where it says it has got, one bounded delta at a time.

    `feed(position)` tells what happened after a position (everything there is for None), at most as much as fits in
    memory, and returns a delta whose position is that same one when nothing did. All that is remembered lies in the
    engine and is written after the rows, so a follower that is killed anywhere, or whose engine is, goes on with the
    delta that was not finished; applying it twice gives the same. One follower a collection: a second one that is
    slower could bring back a row that the first has deleted.
    """

    def __init__(self, feed: Callable[[int | None], Delta], engine: Engine) -> None:
        self.feed, self.engine = feed, engine

    def catch_up(self, patience: float = 0) -> int:
        """Apply deltas until nothing is left; the position then reached.

        An engine that fails (it restarts, say) is tried again for `patience` seconds; then its VultusError is raised.
        """
        end = time.monotonic() + patience
        while True:
            try:
                position = self.engine.position
                delta = self.feed(position)
                if not delta.rebuild and delta.position == position:
                    return delta.position
                self.engine.apply(delta)
            except VultusError:
                if time.monotonic() >= end:
                    raise
                time.sleep(min(1.0, max(0.0, end - time.monotonic())))
            else:
                end = time.monotonic() + patience
