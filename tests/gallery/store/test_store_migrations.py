"""The migrations make exactly the tables that the code expects."""

from __future__ import annotations

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from vultus.gallery.store import migrate
from vultus.gallery.store.schema import APPEND_ONLY, metadata


def described(connection) -> dict:
    """The tables as the database describes them: with what Alembic does not compare."""
    seen = inspect(connection)
    found = {}
    for name in sorted(set(seen.get_table_names()) - {"alembic_version"}):
        found[name] = {
            "columns": [(c["name"], str(c["type"]), getattr(c["type"], "collation", None), c["nullable"],
                         bool(c.get("autoincrement"))) for c in seen.get_columns(name)],
            "key": seen.get_pk_constraint(name)["constrained_columns"],
            "unique": sorted(u["column_names"] for u in seen.get_unique_constraints(name)),
            "indexes": sorted((i["name"], i["column_names"]) for i in seen.get_indexes(name)),
            "foreign": sorted((f["constrained_columns"], f["referred_table"], f["options"]) for f in
                              seen.get_foreign_keys(name)),
            "checks": sorted(c["name"] for c in seen.get_check_constraints(name)),
            "options": {k: v for k, v in seen.get_table_options(name).items() if v},
        }  # fmt: skip
    return found


def test_the_migrations_make_the_schema(store, new_place):
    with store.database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        migrated = described(connection)
    place = str(new_place())
    engine = create_engine(
        place.replace("postgresql:", "postgresql+psycopg:") if "://" in place else f"sqlite:///{place}"
    )
    with engine.begin() as connection:
        metadata.create_all(connection)
        assert migrated == described(connection)
    engine.dispose()


def test_deleted_ids_are_not_given_again_on_sqlite(tmp_path: Path):
    """AUTOINCREMENT, which inspection does not tell."""
    from vultus.gallery.store import Store

    store = Store.create(tmp_path / "people.db")
    with store.database.engine.connect() as connection:
        made = dict(connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table'").all())
    store.close()
    for table in metadata.sorted_tables:
        expected = bool(table.dialect_options["sqlite"]["autoincrement"])
        assert ("AUTOINCREMENT" in made[table.name]) == expected, table.name


def test_triggers_are_where_the_schema_says(store):
    with store.database.engine.connect() as connection:
        if store.database.dialect == "sqlite":
            query = "SELECT tbl_name FROM sqlite_master WHERE type = 'trigger'"
        else:
            query = "SELECT DISTINCT event_object_table FROM information_schema.triggers"
        assert {row[0] for row in connection.exec_driver_sql(query)} == set(APPEND_ONLY)


def test_the_newest_migration_is_the_one_that_is_read():
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.HEAD]
