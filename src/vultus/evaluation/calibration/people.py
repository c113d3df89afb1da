"""Whom a calibration was measured on, without their names: thresholds are never judged on the same people."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from vultus.errors import CalibrationError

WIDTH = 6
"""Bytes of a hash: 100,000 against 100,000 people collide by chance once in 28,000 times."""
NAMED = 3


@dataclass(frozen=True)
class People:
    """Hashed names of a calibration's identities. Names of another dataset mean other people and never agree.

    The dataset's digest is hashed with every name. This keeps names out of model files; it hides nobody from a person
    who holds the dataset.
    """

    dataset: str
    """Digest of the whole dataset (`FaceDataset.people`): the same for all of its splits and capped views."""
    hashes: frozenset[str]

    @classmethod
    def of(cls, names: Iterable[str], dataset: str) -> People:
        return cls(dataset, frozenset(_hash(name, dataset) for name in names))

    def among(self, names: Iterable[str], dataset: str) -> list[str]:
        """Those of `names` in `dataset` that are in here, ascending."""
        if dataset != self.dataset:
            return []
        return sorted(name for name in set(names) if _hash(name, dataset) in self.hashes)

    def refuse(self, names: Iterable[str], dataset: str) -> None:
        """CalibrationError, with their number and some names, where any of `names` is in here."""
        names = set(names)
        if both := self.among(names, dataset):
            named = ", ".join(both[:NAMED])
            raise CalibrationError(
                f"{len(both):,} of the {len(names):,} identities of the test {'was' if len(both) == 1 else 'were'} "
                f"also in the calibration ({'e.g. ' if len(both) > NAMED else ''}{named}): a threshold cannot be "
                "judged on the people that it was set on; test on a split kept apart"
            )

    def to_dict(self) -> dict[str, str]:
        return {"dataset": self.dataset, "hashes": "".join(sorted(self.hashes))}

    @classmethod
    def from_dict(cls, plain: dict[str, str]) -> People:
        """Raises KeyError, TypeError or ValueError for another form."""
        text, width = plain["hashes"], len(_hash("", ""))
        if not isinstance(text, str) or not isinstance(plain["dataset"], str) or len(text) % width:
            raise ValueError("hashed names that are none")
        return cls(plain["dataset"], frozenset(text[at : at + width] for at in range(0, len(text), width)))


def _hash(name: str, dataset: str) -> str:
    digest = hashlib.sha256(f"{dataset}\0{name}".encode()).digest()
    return base64.urlsafe_b64encode(digest[:WIDTH]).decode()
