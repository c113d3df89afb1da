"""What the database says of the rows that an engine found."""

from __future__ import annotations

import numpy as np
from sqlalchemy import Connection

from vultus.gallery.index.part import Part, joined
from vultus.gallery.store import Collection, Store, templates
from vultus.gallery.store.persons import AT_ONCE
from vultus.gallery.store.schema import templates as rows


class Truth:
    """Rows of a collection as one state of the database has them, opened with their persons' keys."""

    def __init__(self, store: Store, connection: Connection, collection: Collection) -> None:
        self.store, self.connection, self.collection = store, connection, collection

    def of_templates(self, ids: np.ndarray) -> Part:
        found, persons, matrix = templates.rows_of(self.store, self.connection, self.collection, ids)
        return Part(matrix, found, persons)

    def of_persons(self, ids: np.ndarray) -> Part:
        parts = []
        for at in range(0, len(ids), AT_ONCE):
            query = templates.active(self.collection).where(rows.c.person_id.in_(ids[at : at + AT_ONCE].tolist()))
            found, persons, matrix = templates.opened(self.store, self.connection, self.collection, query)
            parts.append(Part(matrix, found, persons))
        return joined(parts, self.collection.dim)
