"""The seals of rows as they lie in the database: checked when a row is read, made anew, and verified as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Row, RowMapping, Table, bindparam, select, tuple_, update

from vultus.errors import VultusError
from vultus.gallery.protection import ProtectionError, RowSeals, Tally
from vultus.gallery.store.schema import SEALED, gallery, persons

AT_ONCE = 2_000
"""Rows that are held in memory."""


def seals_of(connection: Connection) -> RowSeals:
    """The gallery's seals, which `Store.reading` and `Store.writing` give their connections."""
    return connection.get_execution_options()["seals"]


def content_of(table: Table, row: Mapping[Any, Any]) -> dict[str, Any]:
    """What the seal is made of: every column but itself."""
    return {column.name: row[column.name] for column in table.columns if column.name != "mac"}


def seal_of(seals: RowSeals, table: Table, row: Mapping[Any, Any]) -> bytes:
    return seals.seal(table.name, content_of(table, row))


def stored_seal(seals: RowSeals, table: Table, row: Mapping[Any, Any]) -> bytes:
    """The seal in the row; of `erasures`, which have none, since their receipts are signed, the one they would have."""
    return row["mac"] or b"" if "mac" in table.columns else seal_of(seals, table, row)


def intact(seals: RowSeals, table: Table, row: Mapping[Any, Any]) -> bool:
    """Whether nobody but the gallery wrote this row."""
    return "mac" not in table.columns or row["mac"] == seal_of(seals, table, row)


def checked(connection: Connection, table: Table, row: Row) -> Row:
    """The row, if its seal holds; VultusError, code row_tampered, where it was written by somebody else.

    ProtectionError, code key_rotated, where the gallery has another key since it was opened.
    """
    seals = seals_of(connection)
    if not intact(seals, table, row._mapping):
        key_id = connection.execute(select(gallery.c.key_id)).scalar_one()
        raise tampered(table, row._mapping) if key_id == seals.key_id else rotated(key_id)
    return row


def rotated(key_id: str) -> ProtectionError:
    return ProtectionError(
        f"the gallery was locked with the new key {key_id} while it was open; open it again with that",
        code="key_rotated",
        key=key_id,
    )


def tampered(table: Table, row: Mapping[Any, Any]) -> VultusError:
    key = key_of(table, row)
    return VultusError(
        f"row {key} of the table {table.name} was not written by the gallery, so nothing was done with it; see what "
        "`vultus gallery audit --verify` finds, then restore a backup or run `vultus gallery audit --mend REASON`",
        code="row_tampered",
        table=table.name,
        row=key,
    )


def every_row(connection: Connection, table: Table) -> Iterator[list[RowMapping]]:
    """All rows of a table by its key, some at once; rows may be updated meanwhile."""
    keys = list(table.primary_key.columns)
    query = select(table).order_by(*keys).limit(AT_ONCE)
    last: tuple | None = None
    while True:
        asked = query if last is None else query.where(tuple_(*keys) > tuple_(*last))
        rows = list(connection.execute(asked).mappings())
        if rows:
            yield rows
        if len(rows) < AT_ONCE:
            return
        last = tuple(rows[-1][key.name] for key in keys)


def seal_all(connection: Connection, seals: RowSeals, before: RowSeals | None = None) -> Tally:
    """Seal every row as it is now, and tally them.

    With `before`, the seals so far, VultusError (row_tampered) for a row that does not hold under them; without, rows
    are taken as they are.
    """
    tally = Tally()
    for table in SEALED:
        change = None
        if "mac" in table.columns:
            mine = [key == bindparam(f"of_{key.name}") for key in table.primary_key.columns]
            change = update(table).where(*mine).values(mac=bindparam("made"))
        for rows in every_row(connection, table):
            again = []
            for row in rows:
                if before is not None and not intact(before, table, row):
                    raise tampered(table, row)
                made = seal_of(seals, table, row)
                tally.add(table.name, seals.weight(table.name, made))
                again.append({"made": made, **{f"of_{key.name}": row[key.name] for key in table.primary_key.columns}})
            if change is not None:
                connection.execute(change, again)
    return tally


def tally_of(connection: Connection, seals: RowSeals) -> Tally:
    """The tally of the rows that are there, by the seals that they bear."""
    tally = Tally()
    for table in SEALED:
        for rows in every_row(connection, table):
            for row in rows:
                tally.add(table.name, seals.weight(table.name, stored_seal(seals, table, row)))
    return tally


def children_of(table: Table) -> list[Table]:
    """Tables whose rows go with a row of this one."""
    if table is not persons:
        return []
    return [one for one in SEALED if any(key.column.table is persons for key in one.foreign_keys)]


def key_of(table: Table, row: Mapping[Any, Any]) -> str:
    return "/".join(str(row[key.name]) for key in table.primary_key.columns)
