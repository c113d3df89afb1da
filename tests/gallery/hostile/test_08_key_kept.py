"""A key that a gallery may be sealed with is never deleted."""

from __future__ import annotations

import pytest

from vultus.gallery.store import Store, postgresql, sqlite


def test_an_interrupt_after_the_gallery_is_there_keeps_the_key(place, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    kind = postgresql.PostgreSQL if str(place).startswith("postgresql") else sqlite.SQLite
    create = kind.create

    def interrupted(self, fill):
        create(self, fill)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kind, "create", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Store.create(place)
    Store.open(place).close()


def test_a_failure_before_anything_is_made_leaves_no_key(place, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with monkeypatch.context() as patch:
        patch.setattr("vultus.gallery.store.migrate.migrate", lambda connection: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Store.create(place)
    assert not list((tmp_path / "config").rglob("*.key"))
