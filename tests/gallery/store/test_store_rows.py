"""Collections, persons and templates: what is put in comes out, the same from both databases."""

from __future__ import annotations

import numpy as np
import pytest

from vultus.errors import VultusError
from vultus.gallery.protection import ProtectionError
from vultus.gallery.settings import Settings
from vultus.gallery.store import Sample, Store, collections, persons, templates
from vultus.gallery.store.schema import crops, person_keys
from vultus.gallery.store.schema import templates as table

from .people import CONTRACT, DIM, enrol, new_collection, unit


def test_a_collection_is_found_by_its_name(place, store, collection):
    other = new_collection(store, "Étage 2", Settings(purpose="access", fusion=3))
    with store.reading() as connection:
        found = collections.get(store, connection, "E\u0301tage 2")  # the same name, spelt in two characters
        assert (found.uuid, found.model, found.contract_id, found.dim) == (other.uuid, "pixels", CONTRACT, DIM)
        assert found.settings == Settings(purpose="access", fusion=3)
        assert found.rotation_key == other.rotation_key != collection.rotation_key
        assert found.successor is None and found.snapshot_key is None
        assert [each.name for each in collections.every(store, connection)] == ["people", "Étage 2"]
        assert collections.find(store, connection, "nobody") is None
        with pytest.raises(VultusError, match="no collection 'nobody'; there are people, Étage 2"):
            collections.get(store, connection, "nobody")
    with pytest.raises(VultusError, match="has a collection 'people' already"):
        new_collection(store, "people")
    again = Store.open(place)
    with again.reading() as connection:
        assert collections.get(again, connection, "Étage 2").rotation_key == other.rotation_key
    again.close()


def test_settings_change_and_are_told_from_before(store, collection):
    with store.writing() as write:
        collections.set_settings(write, collection, collection.settings.changed({"max_templates": 3}))
    with store.reading() as connection:
        now = collections.refreshed(store, connection, collection)
        assert now is not collection and now.settings.max_templates == 3
        assert collections.refreshed(store, connection, now) is now


def test_a_snapshot_key_lives_until_it_is_destroyed(store, collection):
    with store.writing() as write:
        key = collections.new_snapshot_key(store, write, collection)
    with store.reading() as connection:
        assert collections.refreshed(store, connection, collection).snapshot_key == key
    with store.writing() as write:
        collections.destroy_snapshot_key(write, collection.id)
    with store.reading() as connection:
        assert collections.refreshed(store, connection, collection).snapshot_key is None


def test_a_person_is_found_as_they_were_enrolled(store, collection):
    metadata = {"age": 41, "badge": "007", "tags": ["a", "b"], "höhe": 1.85, "vip": True, "none": None}
    made, _ = enrol(store, collection, "ada", name="Ada Lovelace", metadata=metadata)
    elsewhere = new_collection(store, "elsewhere")
    with store.reading() as connection:
        assert persons.find(connection, collection, " ada ") == made
        assert made.metadata == metadata and made.status == "active" and made.retain_until is None
        assert persons.by_id(connection, [made.id, 99]) == {made.id: made}
        assert persons.find(connection, elsewhere, "ada") is None
        assert persons.key_of(store, connection, made).pseudonym
        with pytest.raises(VultusError, match=r"'adda' is not enrolled in .*; did you mean 'ada'"):
            persons.require(store, connection, collection, "adda")
    enrol(store, elsewhere, "ada")  # somebody else's id in another collection


def test_a_person_changes(store, collection):
    made, _ = enrol(store, collection, "ada", metadata={"floor": 1})
    with store.writing() as write:
        persons.describe(write, made, "Countess", None)
        persons.describe(write, made, None, {"floor": 2})
        persons.describe(write, made, None, None)
        write.now = "2999-01-01T00:00:00+00:00"
        persons.seen(write, [made.id, made.id])
        persons.set_status(write, collection, made, "suspended")
        persons.set_status(write, collection, made, "active")  # as it was when it was read: nothing to do
    with store.reading() as connection:
        now = persons.require(store, connection, collection, "ada")
    assert (now.name, now.metadata, now.status) == ("Countess", {"floor": 2}, "suspended")
    assert now.last_seen == "2999-01-01T00:00:00+00:00" and now.created == made.created


def test_who_is_removed_leaves_no_row(store, collection):
    made, _ = enrol(store, collection, "ada", 3)
    kept, _ = enrol(store, collection, "bob", 1)
    with store.writing() as write:
        persons.remove(write, collection, made)
    with store.reading() as connection:
        assert persons.find(connection, collection, "ada") is None
        for rows in (person_keys, table, crops):
            assert {row.person_id for row in connection.execute(rows.select())} == {kept.id}


def test_people_are_listed_in_the_order_of_their_ids_page_by_page(store, collection):
    names = ["zoe", "Zoe", "ada", "Ömer", "10", "9", "_x", "łucja"]
    for at, name in enumerate(names):
        enrol(store, collection, name, at % 3)
    with store.reading() as connection:
        everyone = persons.listed(connection, collection)
        assert [one.external_id for one in everyone] == sorted(names)
        assert {one.external_id: one.templates for one in everyone} == {n: at % 3 for at, n in enumerate(names)}
        paged, after = [], ""
        while page := persons.listed(connection, collection, after=after, limit=3):
            paged += page
            after = page[-1].external_id
        assert paged == everyone
        assert collections.counts(connection, collection) == (8, sum(at % 3 for at in range(8)))


def test_a_list_of_less_than_nobody_is_refused(store, collection):
    enrol(store, collection, "ada")
    with store.reading() as connection:
        assert persons.listed(connection, collection, limit=0) == []
        with pytest.raises(VultusError, match="a limit of 0 or more"):
            persons.listed(connection, collection, limit=-1)


def test_a_printed_collection_shows_no_key(store, collection):
    with store.writing() as write:
        collections.new_snapshot_key(store, write, collection)
    with store.reading() as connection:
        told = repr(collections.get(store, connection, collection.name))
    assert collection.uuid in told and "_key" not in told and "=b'" not in told and '=b"' not in told


def test_templates_come_back_as_the_same_rows_rotated(store, collection):
    rows = unit(0, 700)  # more than are asked for in one statement
    with store.writing() as write:
        person, key = persons.add(store, write, collection, "ada")
        made = templates.add(write, collection, person, key, [Sample(row) for row in rows])
    with store.reading() as connection:
        ids, people, found = templates.opened(store, connection, collection, templates.active(collection))
        assert ids.tolist() == made and set(people.tolist()) == {person.id}
        np.testing.assert_allclose(found @ found.T, rows @ rows.T, atol=1e-5)
        np.testing.assert_array_equal(found, collection.rotation.apply(rows))
        some = templates.rows_of(store, connection, collection, [*made[650:], made[3], 10**12])
        assert some[0].tolist() == [made[3], *made[650:]]
        np.testing.assert_array_equal(some[2], found[[3, *range(650, 700)]])
        assert templates.rows_of(store, connection, collection, ())[2].shape == (0, DIM)
        np.testing.assert_array_equal(templates.rows_of_person(store, connection, collection, person), found)
    stored = {bytes(row) for row in rows.astype("<f4")}
    with store.reading() as connection:
        assert not any(plain in row.sealed for row in connection.execute(table.select()) for plain in stored)


def test_the_same_source_is_stored_once_a_person(store, collection):
    sample = Sample(unit(1)[0], source=b"crop", crop_png=b"png", box=(1, 2, 3.5, 4), quality={"sharpness": 0.5},
                    provenance={"from": "photograph"})  # fmt: skip
    with store.writing() as write:
        person, key = persons.add(store, write, collection, "ada")
        first = templates.add(write, collection, person, key, [sample, sample])
    with store.writing() as write:
        assert templates.add(write, collection, person, key, [sample]) == [None]
        other, other_key = persons.add(store, write, collection, "bob")
        assert templates.add(write, collection, other, other_key, [sample])[0] is not None
    assert first[0] is not None and first[1] is None
    with store.reading() as connection:
        [told] = templates.of_person(connection, collection, person)
        assert (told.id, told.box, told.contract_id) == (first[0], (1.0, 2.0, 3.5, 4.0), CONTRACT)
        assert (told.quality, told.provenance) == ({"sharpness": 0.5}, {"from": "photograph"})
        [(digest, png)] = templates.crops_of(connection, person, key)
        assert png == b"png" and digest == key.digest(b"crop") != other_key.digest(b"crop")


def test_a_removed_template_takes_its_crop_along(store, collection):
    person, made = enrol(store, collection, "ada", 2)
    other, _ = enrol(store, collection, "bob", 1)
    with store.reading() as connection:
        key = persons.key_of(store, connection, person)
    with store.writing() as write:
        templates.remove(write, collection, person, made[0])
    with store.reading() as connection:
        assert [one.id for one in templates.of_person(connection, collection, person)] == made[1:]
        assert [png for _, png in templates.crops_of(connection, person, key)] == [b"png 1"]
    for who, which in ((person, made[0]), (other, made[1])):
        with pytest.raises(VultusError, match=f"'{who.external_id}' has no template {which}"), store.writing() as write:
            templates.remove(write, collection, who, which)


def test_a_template_of_the_next_model_is_not_searched(store, collection):
    person, made = enrol(store, collection, "ada", 1)
    head = store.head()
    with store.writing() as write:
        key = persons.key_of(store, write.connection, person)
        next_one = Sample(unit(5)[0], source=b"ada 0")
        [new] = templates.add(write, collection, person, key, [next_one], contract_id="vultus1-next", announce=False)
    assert new is not None and store.head() == head
    with store.reading() as connection:
        assert templates.opened(store, connection, collection, templates.active(collection))[0].tolist() == made
        assert collections.counts(connection, collection) == (1, 1)
        assert persons.listed(connection, collection)[0].templates == 1


def test_rows_that_were_swapped_or_changed_do_not_open(store, collection):
    _, [first] = enrol(store, collection, "ada", 1)
    _, [second] = enrol(store, collection, "bob", 1)
    with store.reading() as connection:
        sealed = {row.id: row.sealed for row in connection.execute(table.select())}
    with store.writing() as write:
        write.update(table, table.c.id == second, sealed=sealed[first])
    with pytest.raises(VultusError, match=f"template {second} is damaged"), store.reading() as connection:
        templates.opened(store, connection, collection, templates.active(collection))
    with store.writing() as write:
        write.update(table, table.c.id == second, sealed=sealed[second])
        write.update(person_keys, sealed=b"\0" * 60)
    with pytest.raises(ProtectionError, match="stored key was changed"), store.reading() as connection:
        templates.opened(store, connection, collection, templates.active(collection))


def test_what_cannot_be_stored_everywhere_is_refused_everywhere(store, collection):
    for bad in ({"quality": {"blur": float("nan")}}, {"provenance": {"file": "a\0b"}}, {"provenance": {"x": {1}}}):
        with pytest.raises(VultusError), store.writing() as write:
            person, key = persons.add(store, write, collection, "ada")
            templates.add(write, collection, person, key, [Sample(unit(1)[0], **bad)])
        assert store.head() == 0
