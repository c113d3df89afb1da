"""Ctrl-C ends a run after the current step, not in the middle of it."""

from __future__ import annotations

import signal
import threading
from typing import Any


class Interruption:
    """While entered, the first Ctrl-C (or SIGTERM) only sets `asked`; the second ends the process as usual."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, frame: Any) -> None:
        self.asked = True
        self._put_back()

    def _put_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def __exit__(self, *exception: object) -> None:
        self._put_back()


def ignore_interrupt(worker: int) -> None:
    """For data workers: a terminal's Ctrl-C reaches them too, and the loop still needs them to end its step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
