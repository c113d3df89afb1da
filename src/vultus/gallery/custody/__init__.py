"""What happens to the people who are stored: consent, retention, export, erasure."""

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
from vultus.gallery.custody.erase import Erased, erase, verify_receipt
from vultus.gallery.custody.export import export_person
from vultus.gallery.custody.ledger import catch_up
from vultus.gallery.custody.retention import Due, Swept, due, retain_until, suspend_lapsed, sweep

__all__ = [
    "Consent",
    "ConsentGiven",
    "Due",
    "Erased",
    "Swept",
    "catch_up",
    "check_consent",
    "consents_of",
    "due",
    "erase",
    "export_person",
    "record_consent",
    "record_in",
    "retain_until",
    "suspend_lapsed",
    "sweep",
    "valid_consent",
    "verify_receipt",
    "withdraw_consent",
]
