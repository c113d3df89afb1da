"""Keeping old templates under a new model that was trained to be compatible: only with measured evidence.

Backward-compatible training: Shen, Xiong, Xia and Soatto, "Towards Backward-Compatible Representation Learning", CVPR
2020. Templates of the earlier model are compared with probes of the new one; whether that works must be measured.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from vultus.errors import ContractError, VultusError
from vultus.gallery.reference import Embedder
from vultus.gallery.store import Collection, Store, Write, collections
from vultus.gallery.store import templates as stored
from vultus.gallery.store.persons import open_key
from vultus.gallery.store.schema import collections as collection_rows
from vultus.gallery.store.schema import templates

AT_ONCE = 2_000
"""Templates that are held in memory."""


def adopt(store: Store, name: str, recognizer: Embedder, reference: str, evidence: str | Path) -> int:
    """Search the collection's templates with another model, without embedding anything again; how many they are.

    `evidence` is the figures.json of `vultus evaluate NEW DATA --against OLD --out FOLDER`: it must be of these two
    models and find the new one compatible at every rate that the data supports. What the new model's calibration says
    of a score was measured between its own templates; the cross test says that old ones are recognised at least as
    well as before, not that they are false matches equally seldom. Each template keeps who made it in its provenance.

    Raises VultusError for evidence that is missing, of other models or against it, ContractError for another dimension.
    """
    contract = recognizer.contract
    with store.writing() as write:
        collection = collections.get(store, write.connection, name)
        if collection.next_contract_id is not None:
            raise VultusError(
                f"collection {name!r} is being moved to {collection.next_model!r}; finish or abandon that"
            )
        if contract.dim != collection.dim:
            raise ContractError(
                f"{recognizer.name} makes {contract.dim} numbers a face, the collection {collection.dim}"
            )
        digest, verdicts = _checked(Path(evidence), collection, contract.id)
        count = _rebind(store, write, collection, contract.id)
        values = {
            "model": reference,
            "contract_id": contract.id,
            "sealed_snapshot_key": None,
            "calibration_digest": None,
        }
        write.update(collection_rows, collection_rows.c.id == collection.id, **values)
        write.append("rebuild", collection.id)
        write.announce(collection.id)
        told = {"from": collection.contract_id, "to": contract.id, "evidence": digest, "verdicts": verdicts}
        write.audit("model_adopted", collection.uuid, None, {**told, "templates": count})
    return count


def _checked(path: Path, collection: Collection, contract_id: str) -> tuple[str, list[Any]]:
    try:
        content = path.read_bytes()
        figures = json.loads(content)
        against = figures["against"]
        verdicts = [[float(one["far"]), str(one["verdict"])] for one in against["verdicts"]]
        measured = (figures["contract"], against["contract"])
    except OSError as error:
        raise VultusError(f"cannot read the evidence {path}: {error.strerror}; give a figures.json") from None
    except (ValueError, KeyError, TypeError):
        raise VultusError(
            f"{path} compares no two models; make it by `vultus evaluate NEW DATA --against OLD --out FOLDER`"
        ) from None
    if measured != (contract_id, collection.contract_id):
        raise VultusError(
            f"{path} compares the contracts {measured[0]} and {measured[1]}, but this is about {contract_id} searching "
            f"templates of {collection.contract_id}; measure these two"
        )
    against_it = [f"{verdict} at FAR {far:g}" for far, verdict in verdicts if verdict != "compatible"]
    if against_it or not verdicts:
        found = against_it[0] if against_it else "no rate that the data supports"
        raise VultusError(
            f"{path} does not show the new model to be compatible ({found}); reembed the collection instead"
        )
    return hashlib.sha256(content).hexdigest(), verdicts


def _rebind(store: Store, write: Write, collection: Collection, contract_id: str) -> int:
    """Seal every template in use for the new contract; how many."""
    used = stored.sealed_rows(collection, collection.contract_id)
    query = used.add_columns(templates.c.provenance).limit(AT_ONCE)
    count = 0
    while rows := write.connection.execute(query).all():
        again = []
        for row in rows:
            key = open_key(store, row.uuid, row.sealed_key)
            plain = key.open(row.sealed, stored.template_bound(row.uuid, collection.contract_id))
            sealed = key.seal(plain, stored.template_bound(row.uuid, contract_id))
            about = {**row.provenance, "made_by": row.provenance.get("made_by", collection.contract_id)}
            again.append({"id": row.id, "sealed": sealed, "contract_id": contract_id, "provenance": about})
        write.change(templates, again)
        count += len(rows)
    return count
