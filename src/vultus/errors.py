"""Mistakes that a user can mend. Each message is one line: what is wrong, where, and what to do.

The command line prints the message without a traceback and exits with code 2.
"""

from __future__ import annotations


class VultusError(Exception):
    """A mistake that the user can mend."""


class ImageError(VultusError):
    """A file that cannot be read as a photograph."""


class ContractError(VultusError):
    """Embeddings, crops or files that do not belong together."""


class CalibrationError(VultusError):
    """An error rate that no data supports, or a recogniser without a calibration."""
