"""Invented people put into a store, past everything that the rooms above it ask of them."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

import numpy as np

from vultus.errors import VultusError
from vultus.gallery.settings import Settings
from vultus.gallery.store import Collection, Person, Sample, Store, Write, collections, persons, templates

DIM = 8
CONTRACT = "vultus1-test"


def unit(seed: int, count: int = 1) -> np.ndarray:
    """(count, DIM) float32 unit rows, always the same for a seed."""
    rows = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def new_collection(store: Store, name: str = "people", settings: Settings | None = None) -> Collection:
    with store.writing() as write:
        return collections.create(store, write, name, "pixels", CONTRACT, DIM, settings or Settings())


def enrol_in(
    store: Store, write: Write, collection: Collection, external_id: str, count: int = 1, **more: Any
) -> tuple[Person, list[int]]:
    """A new person with `count` templates, whose crops are kept."""
    person, key = persons.add(store, write, collection, external_id, **more)
    samples = [
        Sample(row, source=f"{external_id} {i}".encode(), crop_png=f"png {i}".encode())
        for i, row in enumerate(unit(len(external_id) * 1000 + ord(external_id[-1]), count))
    ]
    made = templates.add(write, collection, person, key, samples)
    return person, [i for i in made if i is not None]


def enrol(
    store: Store, collection: Collection, external_id: str, count: int = 1, **more: Any
) -> tuple[Person, list[int]]:
    with store.writing() as write:
        return enrol_in(store, write, collection, external_id, count, **more)


def at_once(*jobs: Callable[[], Any]) -> list[Any]:
    """What each job returns, or the VultusError that it raised as text, from processes that start together."""
    context = get_context("fork")
    barrier, answers = context.Barrier(len(jobs)), context.SimpleQueue()

    def run(number: int) -> None:
        barrier.wait(60)
        try:
            answers.put((number, jobs[number]()))
        except VultusError as error:
            answers.put((number, f"{type(error).__name__}: {error}"))

    processes = [context.Process(target=run, args=(number,)) for number in range(len(jobs))]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(jobs)
    return [answer for _, answer in sorted(answers.get() for _ in jobs)]
