"""Work on many items by several threads, with results in the order of the items."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def blas_threads() -> int:
    """As many threads as a matrix product would take: the cores, or what OMP_NUM_THREADS and the like say."""
    from threadpoolctl import threadpool_info

    known = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
    return max(known) if known else os.cpu_count() or 1


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Generator[Result]:
    """work(item) for each item, in their order; at most two items a thread are under way or waiting to be taken.

    Matrix products inside run on one thread each: several small ones side by side need no waiting for each other, as
    the threads of one large product do. (The limit holds for the whole process while this runs.)
    """
    from threadpoolctl import threadpool_limits

    items = iter(items)
    with threadpool_limits(limits=1, user_api="blas"):
        if threads == 1:
            yield from map(work, items)
            return
        pool = ThreadPoolExecutor(threads, thread_name_prefix="scores")
        try:
            waiting: deque[Future[Result]] = deque(pool.submit(work, item) for item in islice(items, 2 * threads))
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(work, item) for item in islice(items, 1))
                yield result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
