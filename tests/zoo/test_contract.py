"""Contracts: what makes embeddings comparable."""

from __future__ import annotations

import dataclasses

import pytest

from vultus.errors import ContractError
from vultus.zoo import Contract

CONTRACT = Contract(weights="ab" * 32, dim=128, mean=(127.5, 127.5, 127.5), std=(128.0, 128.0, 128.0))


def test_a_contract_survives_json() -> None:
    assert Contract.from_dict(CONTRACT.to_dict()) == CONTRACT
    assert Contract.from_dict(CONTRACT.to_dict()).id == CONTRACT.id


@pytest.mark.parametrize(
    "change",
    [{"weights": "cd" * 32}, {"dim": 64}, {"mean": (0.0, 0.0, 0.0)}, {"color": "BGR"}, {"precision": "int8"}],
)
def test_every_field_changes_the_id(change: dict) -> None:
    assert dataclasses.replace(CONTRACT, **change).id != CONTRACT.id


def test_mean_as_whole_numbers_is_the_same_contract() -> None:
    whole = dataclasses.replace(CONTRACT, std=(128, 128, 128))
    assert whole.id == CONTRACT.id


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dim": 128}, "missing"),
        ({**CONTRACT.to_dict(), "colour": "RGB"}, "colour"),
        ({**CONTRACT.to_dict(), "color": "GBR"}, "RGB or BGR"),
        ({**CONTRACT.to_dict(), "std": [0, 0, 0]}, "std"),
        ({**CONTRACT.to_dict(), "dim": "many"}, "wrong type"),
        ({**CONTRACT.to_dict(), "template": "loose"}, "template"),
    ],
)
def test_an_impossible_contract_is_refused_by_name(fields: dict, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        Contract.from_dict(fields, "model.contract.json")
