"""What happens to the people who are stored: consent, retention, export, erasure, backups, other keys."""

from vultus.gallery.custody.backup import BackupInfo, backup, describe_backup
from vultus.gallery.custody.consent import (
    Consent,
    ConsentGiven,
    check_consent,
    consents_of,
    may_record,
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
from vultus.gallery.custody.retention import (
    Due,
    Repaired,
    Swept,
    due,
    has_lapsed,
    repair_times,
    retain_until,
    suspend_lapsed,
    sweep,
)

__all__ = [
    "BackupInfo",
    "Consent",
    "ConsentGiven",
    "Due",
    "Erased",
    "Renewed",
    "Repaired",
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
    "may_record",
    "record_consent",
    "record_in",
    "refusals",
    "renew",
    "repair_times",
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
