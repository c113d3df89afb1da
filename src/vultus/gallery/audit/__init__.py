"""The audit log's chain: pure functions, no database."""

from vultus.gallery.audit.chain import GENESIS, Entry, Finding, anchor, is_true, seal, seal_head, verify

__all__ = ["GENESIS", "Entry", "Finding", "anchor", "is_true", "seal", "seal_head", "verify"]
