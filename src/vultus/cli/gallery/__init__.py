"""`vultus gallery`: people, searches, custody and upkeep of an enrolled gallery."""

from vultus.cli.gallery.commands import app

__all__ = ["app"]
