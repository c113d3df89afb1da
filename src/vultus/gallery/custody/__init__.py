"""What happens to the people who are stored: consent, retention, export, erasure, backups, other keys."""

from vultus.gallery.custody.backup import BackupInfo, backup, describe_backup
from vultus.gallery.custody.consent import (
    Consent,
    ConsentGiven,
    check_consent,
    consents_of,
    record_consent,
    record_in,
    valid_consent,
    withdraw_consent,
)
from vultus.gallery.custody.erase import (
    Erased,
    catch_up,
    erase,
    erase_returned,
    refusals,
    sweep_leftovers,
    verify_receipt,
)
from vultus.gallery.custody.export import export_person
from vultus.gallery.custody.rekey import Rotated, rotate_key
from vultus.gallery.custody.renew import Renewed, renew
from vultus.gallery.custody.restore import Restored, restore
from vultus.gallery.custody.retention import Due, Swept, due, has_lapsed, retain_until, suspend_lapsed, sweep

__all__ = [
    "BackupInfo",
    "Consent",
    "ConsentGiven",
    "Due",
    "Erased",
    "Renewed",
    "Restored",
    "Rotated",
    "Swept",
    "backup",
    "catch_up",
    "check_consent",
    "consents_of",
    "describe_backup",
    "due",
    "erase",
    "erase_returned",
    "export_person",
    "has_lapsed",
    "record_consent",
    "record_in",
    "refusals",
    "renew",
    "restore",
    "retain_until",
    "rotate_key",
    "suspend_lapsed",
    "sweep",
    "sweep_leftovers",
    "valid_consent",
    "verify_receipt",
    "withdraw_consent",
]
