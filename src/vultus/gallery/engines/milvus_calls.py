"""Calls to a Milvus server: errors of one line, and waiting for what it does by itself."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator

from vultus.errors import VultusError

COMPACTION_S = 600
"""How long to wait for a compaction."""


def quietly() -> None:
    """pymilvus logs each error with its request; here the one line that is raised is enough."""
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)


@contextlib.contextmanager
def milvus_errors(uri: str, collection: str) -> Iterator[None]:
    """Whatever goes wrong in a call, as one line without credentials."""
    import grpc
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except (grpc.RpcError, MilvusException) as error:
        said = " ".join(str(getattr(error, "message", "")).split())
        # Of a refused connection pymilvus says only that it failed; the reason is in the call behind.
        low = f"{said} {_status(error)} {_status(error.__cause__)}".lower()
        if any(sign in low for sign in ("unauthenticated", "auth check", "permission", "privilege")):
            line = f"Milvus at {uri} refuses the credentials; set VULTUS_MILVUS_TOKEN to user:password or an API key"
        elif any(sign in low for sign in ("not loaded", "not fully loaded", "no available", "not available")):
            line = f"Milvus at {uri} has not loaded {collection} yet; try again in a moment"
        elif not said or any(sign in low for sign in ("connecting", "unavailable", "timeout", "deadline", "retry run")):
            line = f"Milvus at {uri} does not answer; start it, or correct the address"
        else:
            line = f"Milvus at {uri}, collection {collection}: {said[:200]}"
        raise VultusError(line) from None


def _status(error: BaseException | None) -> str:
    code = getattr(error, "code", None)
    return str(code()) if callable(code) else ""


def wait_for_compaction(client, job: int) -> None:
    end = time.monotonic() + COMPACTION_S
    while "completed" not in str(client.get_compaction_state(job)).lower():
        if time.monotonic() > end:
            raise VultusError(f"Milvus has not compacted within {COMPACTION_S} s; look at its log")
        time.sleep(0.2)
