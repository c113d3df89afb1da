"""Mistakes that a user can mend. Each message is one line: what is wrong, where, and what to do.

The command line prints the message without a traceback and exits with code 2. A program reads `code`, which stays the
same when the wording changes, and the fields.
"""

from __future__ import annotations

from typing import Any


class VultusError(Exception):
    """A mistake that the user can mend."""

    code = "refused"
    """What kind of mistake it is, in a word that never changes; a class or a place that raises it may say it closer."""

    def __init__(self, message: str = "", /, code: str | None = None, **fields: Any) -> None:
        """`fields`: what JSON can hold and the message is made of, for example path, line, person."""
        super().__init__(message)
        if code is not None:
            self.code = code
        self.fields = fields

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: code, message, and the fields."""
        fields = {
            name: value if isinstance(value, int | float | bool | list | dict | None) else str(value)
            for name, value in self.fields.items()
        }
        return {"code": self.code, "message": str(self), **fields}


class FileError(VultusError):
    """A file that is not there, is none, is too large, cannot be read or written, or does not hold what it should.

    Codes: no_file, not_a_file, unreadable, too_large, malformed, columns, exists, unwritable.
    """

    code = "unreadable"


class ImageError(VultusError):
    """A file that cannot be read as a photograph, or does not show one face.

    Codes: those of `FileError`, and no_face, several_faces, low_quality, shape.
    """

    code = "unreadable"


class ContractError(VultusError):
    """Embeddings, crops or files that do not belong together."""

    code = "contract"


class CalibrationError(VultusError):
    """An error rate that no data supports, or a recogniser without a calibration."""

    code = "calibration"
