"""Bulk work over several processes, results in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.synchronize import Lock
from typing import TypeVar

import cv2

from vultus.faces.image import take_turns
from vultus.terminal import leave_stopping_to_parent

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_processes(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """`map(work, items)` in `workers` processes, in this one where there is too little to do.

    `work` must be picklable. Stopping early (an error, Ctrl-C) cancels what has not begun.
    """
    if workers < 2 or len(items) < 4:
        yield from map(work, items)
        return
    # spawn: forking a process that holds threads of onnxruntime or torch can hang
    spawn = get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, initializer=_begin_worker, initargs=(spawn.Lock(),)) as pool:
        try:
            yield from pool.map(work, items)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin_worker(lock: Lock) -> None:
    leave_stopping_to_parent()
    cv2.setNumThreads(1)
    take_turns(lock)
