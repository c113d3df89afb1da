"""Signed erasure receipts."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from vultus.gallery.protection import ProtectionError, Receipt, SigningKey

KEY = SigningKey.from_private(bytes(range(32)))


def receipt(key: SigningKey = KEY, reason: str = "asked by letter, Zoë ☎") -> Receipt:
    return Receipt.sign(
        key,
        gallery_id="8a9c2e0e-5d3f-4a51-9c55-3d3f3f1f0a11",
        collection_id="0c9ad4a0-8a44-4f4c-8a2a-6f0a2f3f9c22",
        person_uuid="51f0a7f2-1111-4222-8333-944455556666",
        erased_at="2025-03-01T12:00:00Z",
        templates=3,
        crops=0,
        reason=reason,
        audit_seq=17,
    )


def test_a_receipt_survives_json_and_verifies() -> None:
    issued = receipt()
    again = Receipt.from_json(issued.to_json())
    assert again == issued
    again.verify()
    again.verify(KEY.public)
    assert "\n" not in issued.to_json() and issued.to_json().isascii()
    assert "Destroyed" in issued.statement and "Beyond reach" in issued.statement


def test_white_space_and_order_of_the_json_do_not_matter() -> None:
    content = json.loads(receipt().to_json())
    shuffled = json.dumps(dict(reversed(content.items())), indent=2, ensure_ascii=False)
    Receipt.from_json(shuffled).verify(KEY.public)


def test_any_changed_byte_is_found() -> None:
    text = receipt().to_json()
    for at in range(len(text)):
        for other in {"0", "1", "A", " ", '"', chr(ord(text[at]) ^ 1)} - {text[at]}:
            with pytest.raises(ProtectionError):
                Receipt.from_json(text[:at] + other + text[at + 1 :]).verify(KEY.public)


def test_any_changed_field_is_found() -> None:
    issued = receipt()
    for field in fields(Receipt):
        value = getattr(issued, field.name)
        changed = replace(issued, **{field.name: value + 1 if isinstance(value, int) else value + "x"})
        with pytest.raises(ProtectionError):
            changed.verify()


def test_another_gallerys_signature_is_told_by_the_public_key() -> None:
    forged = receipt(SigningKey.new())
    forged.verify()
    with pytest.raises(ProtectionError, match="another key"):
        forged.verify(KEY.public)
    with pytest.raises(ProtectionError, match="changed"):
        replace(forged, public_key=KEY.public).verify(KEY.public)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"format": 1}', "[" * 100_000, b"\xff\xfe\x00"])
def test_what_is_no_receipt_is_said_to_be_none(text: str | bytes) -> None:
    with pytest.raises(ProtectionError, match="no erasure receipt"):
        Receipt.from_json(text)


def test_a_field_too_many_one_twice_and_one_of_another_type_are_refused() -> None:
    content = json.loads(receipt().to_json())
    doubled = receipt().to_json()[:-1] + ',"templates":0}'
    for text in (
        doubled,
        json.dumps({**content, "note": "x"}),
        json.dumps({**content, "templates": 3.0}),
        json.dumps({**content, "crops": False}),
        json.dumps({**content, "reason": None}),
        json.dumps({name: value for name, value in content.items() if name != "crops"}),
    ):
        with pytest.raises(ProtectionError, match="no erasure receipt"):
            Receipt.from_json(text)


def test_a_signing_key_comes_back_from_its_private_bytes_and_does_not_show_them() -> None:
    key = SigningKey.new()
    assert SigningKey.from_private(key.private).public == key.public != SigningKey.new().public
    assert key.public in repr(key) and key.private.hex() not in repr(key)
    with pytest.raises(ProtectionError, match="32 bytes"):
        SigningKey.from_private(b"short")


def test_signatures_are_those_of_rfc_8032() -> None:
    """Its first test vector: an empty message."""
    key = SigningKey.from_private(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    assert key.sign(b"") == ("5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc+bRr0lv18FlbviRlUUFDjnoQCw==")
