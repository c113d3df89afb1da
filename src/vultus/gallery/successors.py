"""What a change of model is complete by: each template and kept crop has its successor, or is named.

What a move is complete by is counted in templates, in the transaction that cuts over, where nobody else can write:

* Each kept crop has its successor, the template of the next model that was made of it (known by the digest of its
  pixels), and with it the template in use that was made of the same crop.
* A template in use whose crop was not kept (one enrolled as an embedding, too) has its successor where the same
  photograph was given again, or where any photograph of that person was given to the move while the template was there
  already. Who is enrolled anew after the photographs were given is not replaced by them.

Suspended people count like everybody else. Whoever is erased meanwhile has nothing left to be missed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Table, exists, func, select

from vultus.errors import VultusError
from vultus.gallery.store import Collection, persons
from vultus.gallery.store.schema import crops
from vultus.gallery.store.schema import persons as person_rows
from vultus.gallery.store.schema import templates as template_rows

REPLACES = "replaces"
"""In the provenance of a template made of a given photograph: the last template of its person that it stands for."""


@dataclass(frozen=True)
class Missing:
    """What of one person has no successor of the next model yet."""

    person: str
    """External id."""
    templates: tuple[int, ...]
    """Ids of templates in use that a cut-over would delete without replacing them."""
    crops: tuple[int, ...]
    """Ids of kept crops that no template of the next model was made of: not embedded yet, or unreadable."""


class IncompleteError(VultusError):
    """A cut-over that would lose templates; `missing` names them."""

    code = "move_incomplete"

    def __init__(self, message: str, missing: tuple[Missing, ...]) -> None:
        super().__init__(message, missing=[vars(one) for one in missing])
        self.missing = missing


def missing_of(connection: Connection, collection: Collection) -> tuple[Missing, ...]:
    """What has no successor; the rule is told at the top."""
    here = person_rows.c.collection_id == collection.id
    crops_left = select(crops.c.person_id, crops.c.id).join(person_rows, person_rows.c.id == crops.c.person_id)
    crops_left = crops_left.where(here, ~succeeded(collection, crops)).order_by(crops.c.id)
    kept = (crops.c.person_id == template_rows.c.person_id) & (crops.c.source_digest == template_rows.c.source_digest)
    templates_left = (
        select(template_rows.c.person_id, template_rows.c.id, crops.c.id.label("crop"))
        .join(crops, kept, isouter=True)
        .where(
            template_rows.c.collection_id == collection.id,
            template_rows.c.contract_id == collection.contract_id,
            ~succeeded(collection, template_rows),
        )
        .order_by(template_rows.c.id)
    )
    replaced = _replaced(connection, collection)
    found: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for row in connection.execute(templates_left):
        if row.crop is not None or row.id > replaced.get(row.person_id, 0):
            found[row.person_id][0].append(row.id)
    for row in connection.execute(crops_left):
        found[row.person_id][1].append(row.id)
    people = persons.by_id(connection, list(found))
    missing = [Missing(people[i].external_id, tuple(left), tuple(kept)) for i, (left, kept) in found.items()]
    return tuple(sorted(missing, key=lambda one: one.person))


def succeeded(collection: Collection, of: Table):
    """Whether a template of the next model was made of the same pixels as a row of `of`."""
    successor = template_rows.alias("successor")
    return exists().where(
        successor.c.person_id == of.c.person_id,
        successor.c.contract_id == collection.next_contract_id,
        successor.c.source_digest == of.c.source_digest,
    )


def _replaced(connection: Connection, collection: Collection) -> dict[int, int]:
    """The last template of each person that photographs given to the move stand for."""
    found: dict[int, int] = {}
    query = select(template_rows.c.person_id, template_rows.c.provenance).where(of_next(collection))
    for row in connection.execute(query.execution_options(yield_per=10_000)):
        last = row.provenance.get(REPLACES)
        if isinstance(last, int):
            found[row.person_id] = max(last, found.get(row.person_id, 0))
    return found


def beyond(missing: Sequence[Missing], known: Sequence[Missing]) -> tuple[Missing, ...]:
    """Of what is missing, that which is not in `known`."""
    before = {one.person: one for one in known}
    lost = []
    for one in missing:
        told = before.get(one.person, Missing(one.person, (), ()))
        fresh = tuple(i for i in one.templates if i not in told.templates)
        kept = tuple(i for i in one.crops if i not in told.crops)
        if fresh or kept:
            lost.append(Missing(one.person, fresh, kept))
    return tuple(lost)


def of_next(collection: Collection):
    return (template_rows.c.collection_id == collection.id) & (
        template_rows.c.contract_id == collection.next_contract_id
    )


def last_in_use(connection: Connection, collection: Collection, person: persons.Person) -> int:
    mine = (template_rows.c.person_id == person.id) & (template_rows.c.contract_id == collection.contract_id)
    return connection.execute(select(func.max(template_rows.c.id)).where(mine)).scalar() or 0


def people_with_pending(
    connection: Connection, collection: Collection, after: int, limit: int | None
) -> list[persons.Person]:
    """People by their ids, those after `after`, who have a kept crop that no new template was made of."""
    waiting = exists().where(crops.c.person_id == person_rows.c.id, ~succeeded(collection, crops))
    query = (
        select(person_rows.c.id)
        .where(person_rows.c.collection_id == collection.id, person_rows.c.id > after, waiting)
        .order_by(person_rows.c.id)
        .limit(limit)
    )
    ids = list(connection.execute(query).scalars())
    found = persons.by_id(connection, ids)
    return [found[i] for i in ids]
