"""Everything that is held about one person, as files that they can read (GDPR art. 15 and 20)."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, select

from vultus.errors import VultusError
from vultus.files import writing
from vultus.gallery.custody.consent import consents_of
from vultus.gallery.custody.erase import sweep_leftovers
from vultus.gallery.protection import DataKey
from vultus.gallery.protection.envelope import OVERHEAD
from vultus.gallery.store import Collection, Person, Store, Write, collections, persons
from vultus.gallery.store import templates as rows
from vultus.gallery.store.schema import audit, person_keys, templates, writes
from vultus.gallery.store.schema import persons as people

README = """\
What is held about one person in a face recognition gallery, and nothing about anybody else.

person.json   who they are, as entered; since when and until when they are kept; for what purpose; their consents
              (of a consent's text only its SHA-256 is kept); what is known of each template; requests remembered so
              that they are not done twice; and what the gallery's log says about them (without who did it).
templates/    one NumPy file (.npy) a template: a vector of float32 numbers of length 1 that the model made of a
              photograph. "contract" in person.json names the model. In the gallery the vector is kept rotated with a
              secret matrix and encrypted; here neither, as the model gave it (but for the last digits).
crops/        PNG pictures of the face, 112 x 112 pixels, where the collection keeps them.

Times are UTC. The gallery's own photographs are not here: it does not keep them.
Whoever has these files can compare faces with them: keep them safe, and delete them when done.
"""


def export_person(store: Store, collection: str, external_id: str, place: str | Path) -> Path:
    """Write what is held about a person to the zip file `place`.

    Whole or not at all, readable by the owner only, and never over something that is there. It is made in memory; on
    the disk it has no name before it is whole and the audit log says so, so that neither a killed export leaves a plain
    file nor any is without its entry. Raises VultusError for an unknown person, or a place that is taken, cannot be
    written or does not end in .zip. Codes: exists, no_zip, no_folder, unwritable.
    """
    place = Path(place)
    if place.suffix.lower() != ".zip":
        raise VultusError(f"{place} is no zip file; choose a name that ends in .zip", code="no_zip", path=place)
    if not place.parent.is_dir():
        raise VultusError(
            f"cannot write {place}: the folder {place.parent} does not exist; make it first",
            code="no_folder",
            path=place,
        )
    sweep_leftovers(store)
    with writing(place, mode=0o600, overwrite=False) as file, store.writing() as write:
        bound = collections.get(store, write.connection, collection)
        person = persons.require(store, write.connection, bound, external_id)
        file.write(_zip(_files(store, write, bound, person)))
        file.flush()
        os.fsync(file.fileno())  # what cannot be written is not logged
    return place


def _files(store: Store, write: Write, collection: Collection, person: Person) -> dict[str, bytes]:
    """By name; and the entry in the log, which is in the export too."""
    connection = write.connection
    key = persons.key_of(store, connection, person)
    crops = {digest: (f"crops/{n:04d}.png", png) for n, (digest, png) in enumerate(_crops(connection, person, key), 1)}
    vectors: dict[str, bytes] = {}
    told = []
    query = select(templates).where(templates.c.person_id == person.id).order_by(templates.c.id)
    for number, row in enumerate(connection.execute(query).all(), 1):
        name, crop = f"templates/{number:04d}.npy", crops.get(row.source_digest, (None,))[0]
        vector, rotated = _vector(store, connection, collection, person, row)
        if vector is None:
            told.append({**_template(row, None, crop, False), "damaged": True})
            continue
        vectors[name] = _npy(vector)
        told.append(_template(row, name, crop, rotated))
    seen = [_entry(row) for row in connection.execute(select(audit).where(audit.c.subject == key.pseudonym))]
    counted = {"templates": len(vectors), "crops": len(crops)}
    write.audit("exported", collection.uuid, key.pseudonym, counted)
    seen.append({"at": write.now, "kind": "exported", "details": counted})
    settings = collection.settings
    about = {
        "exported_at": write.now,
        "gallery": store.info.uuid,
        "collection": {"id": collection.uuid, "name": collection.name, "model": collection.model},
        "purpose": settings.purpose,
        "person": {**asdict(person), "metadata": dict(person.metadata)},
        "retention": {"retention_days": settings.retention_days, "retain_until": person.retain_until},
        "consent_required": settings.require_consent,
        "consents": [vars(consent) for consent in consents_of(connection, person)],
        "templates": told,
        "crops": [name for name, _ in crops.values()],
        "remembered_requests": [_request(row) for row in connection.execute(_requests(person))],
        "log": seen,
    }
    text = json.dumps(about, ensure_ascii=False, indent=2).encode()
    return {"README.txt": README.encode(), "person.json": text, **vectors, **dict(crops.values())}


def _crops(connection: Connection, person: Person, key: DataKey) -> list[tuple[str, bytes]]:
    return list(rows.crops_of(connection, person, key))


def _vector(
    store: Store, connection: Connection, collection: Collection, person: Person, row: Row
) -> tuple[np.ndarray | None, bool]:
    """(D,) float32, None where it is damaged; and whether it is still rotated: no matrix for its contract is known."""
    query = (
        select(
            templates.c.id,
            templates.c.person_id,
            templates.c.contract_id,
            templates.c.sealed,
            people.c.uuid,
            person_keys.c.sealed.label("sealed_key"),
        )
        .join(people, people.c.id == templates.c.person_id)
        .join(person_keys, person_keys.c.person_id == templates.c.person_id)
        .where(templates.c.id == row.id)
    )
    successor, rotation, dim = collection.successor, None, (len(row.sealed) - OVERHEAD) // 4
    if row.contract_id == collection.contract_id:
        rotation = collection.rotation
    elif successor is not None and row.contract_id == successor.contract_id:
        rotation = successor.rotation
    found = rows.opened(store, connection, replace(collection, dim=dim), query)[2]
    if not len(found):
        return None, False
    vector = found[0]
    return (vector if rotation is None else rotation.undo(vector)), rotation is None


def _template(row: Row, name: str | None, crop: str | None, rotated: bool) -> dict[str, Any]:
    about: dict[str, Any] = {
        "file": name,
        "crop": crop,
        "id": row.id,
        "contract": row.contract_id,
        "created": row.created,
        "box": row.box,
        "quality": row.quality,
        "provenance": row.provenance,
        "source_digest": row.source_digest,
    }
    return {**about, "still_rotated": True} if rotated else about


def _entry(row: Row) -> dict[str, Any]:
    return {"at": row.at, "kind": row.kind, "details": json.loads(row.details)}


def _requests(person: Person):
    return select(writes).where(writes.c.person_id == person.id).order_by(writes.c.at, writes.c.client_key)


def _request(row: Row) -> dict[str, Any]:
    """Without the look-alikes that an answer may name: they are others."""
    result = {name: value for name, value in row.result.items() if name != "duplicates"}
    return {"client_key": row.client_key, "at": row.at, "result": result}


def _npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, np.ascontiguousarray(array, "<f4"), allow_pickle=False)
    return out.getvalue()


def _zip(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o600 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return out.getvalue()
