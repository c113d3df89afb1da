"""What goes wrong with keys and with texts sealed under them."""

from __future__ import annotations

from vultus.errors import VultusError


class ProtectionError(VultusError):
    """A key that is missing or wrong, or a sealed or signed text that was changed."""
