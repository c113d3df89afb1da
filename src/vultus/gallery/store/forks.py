"""Connections stay with the process that opened them: a fork begins with none."""

from __future__ import annotations

import os
import weakref

from sqlalchemy import Engine, Pool

_ENGINES: weakref.WeakSet[Engine] = weakref.WeakSet()
_INHERITED: list[Pool] = []
"""Pools of parents. Kept, for what is collected is closed, and that is the parent's to do."""


def own_connections(engine: Engine) -> Engine:
    """The engine, which opens new connections in a forked process and leaves the parent's alone."""
    _ENGINES.add(engine)
    return engine


def _begin_anew() -> None:
    for engine in list(_ENGINES):
        _INHERITED.append(engine.pool)
        engine.dispose(close=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
