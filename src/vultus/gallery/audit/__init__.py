"""The audit log's chain: pure functions, no database."""

from vultus.gallery.audit.chain import GENESIS, Entry, Finding, anchor, seal, seal_head, verify

__all__ = ["GENESIS", "Entry", "Finding", "anchor", "seal", "seal_head", "verify"]
