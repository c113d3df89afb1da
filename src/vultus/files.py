"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from vultus.errors import VultusError


def save_atomically(content: bytes, path: Path) -> None:
    """Write a file whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    except OSError as error:
        raise VultusError(f"cannot write {path}: {error.strerror}; choose another path") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise VultusError(f"cannot write {path}: {error.strerror}; choose another path") from None
    finally:
        Path(temporary).unlink(missing_ok=True)
