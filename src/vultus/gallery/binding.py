"""A collection and its recogniser, each opened when it is first needed, and never one without the other's consent."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vultus.errors import CalibrationError, ContractError, VultusError
from vultus.evaluation import Calibration
from vultus.gallery.custody import catch_up, has_lapsed, suspend_lapsed
from vultus.gallery.live import Current, Live
from vultus.gallery.rates import require_calibration
from vultus.gallery.reference import Embedder, load_stored, reference_of
from vultus.gallery.settings import Settings
from vultus.gallery.store import DEFAULT, Collection, Key, Store, clock, collections
from vultus.gallery.store.database import database_at

if TYPE_CHECKING:
    from vultus.gallery.engines import EngineCurrent, EngineLive


@dataclass(frozen=True)
class Place:
    """Where a collection lies, how its database is unlocked, and who acts."""

    address: str = field(repr=False)  # it may hold a password
    """Path of a SQLite file, or postgresql://…"""
    collection: str = DEFAULT
    key: Key = field(default=None, repr=False)
    actor: str | None = None
    engine: str | None = None
    """Address of a vector engine that is searched in place of the index in the process."""

    @property
    def label(self) -> str:
        """For messages; without a password."""
        database = database_at(self.address)
        try:
            return database.label if self.collection == DEFAULT else f"{database.label} ({self.collection})"
        finally:
            database.close()


@dataclass(frozen=True)
class Info:
    """What a collection is bound to."""

    collection: str
    model: str
    """The recogniser as the user named it: a name of the zoo or a path."""
    contract_id: str
    dim: int
    settings: Settings


class Binding:
    """Store, index and recogniser of one collection; all of one contract.

    Database and collection are made by the first write, so that a failed first enrolment leaves none behind.
    """

    def __init__(
        self,
        place: Place,
        model: str | Path | Embedder | None,
        models_dir: str | Path | None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.place = place
        self.label = place.label
        self._model = model
        self._models_dir = models_dir
        self._settings = Settings.parse(dict(settings or {}))
        self._store: Store | None = None
        self._live: Live | EngineLive | None = None
        self._known: Collection | None = None
        self._recognizer: Embedder | None = None
        self._lock = threading.RLock()

    @classmethod
    def open(
        cls,
        place: Place,
        model: str | Path | Embedder | None,
        models_dir: str | Path | None,
        create: bool,
        settings: Mapping[str, Any] | None = None,
    ) -> Binding:
        """See `Gallery.open`."""
        binding = cls(place, model, models_dir, settings)
        try:
            live = binding.live
            if live is None:
                if not create:
                    raise binding.missing()
                if model is None:
                    raise VultusError(
                        f"gallery {binding.label} does not exist; to start one there, give a model, for example sface"
                    )
            elif model is not None and reference_of(model) != binding.info.model:
                _ = binding.recognizer  # the user chose a model: say at once if it is the wrong one
        except BaseException:
            binding.close()
            raise
        return binding

    def close(self) -> None:
        with self._lock:
            if isinstance(self._live, Live):
                with suppress(VultusError):  # a reader without write access leaves no snapshot
                    self._live.save_if_worth_it()
            elif self._live is not None:
                self._live.close()
            if self._store is not None:
                self._store.close()

    @property
    def live(self) -> Live | EngineLive | None:
        """The collection's index, if the collection exists by now."""
        with self._lock:
            if self._live is None:
                if self._store is None and self._exists():
                    self._store = Store.open(self.place.address, self.place.key, self.place.actor)
                    catch_up(self._store)
                if self._store is not None:
                    with self._store.reading() as connection:
                        found = collections.find(self._store, connection, self.place.collection)
                    if found is not None:
                        self._attach(self._store, found)
            return self._live

    @property
    def store(self) -> Store:
        """The database that holds the collection; VultusError where nobody was enrolled yet."""
        if self.live is None or self._store is None:
            raise self.missing()
        return self._store

    def current(self, at_least: int | None = None) -> Current | EngineCurrent | None:
        """The collection and its index as they are now; None before the first enrolment."""
        live = self.live
        if live is None or self._store is None:
            return None
        if self._store.rollback is not None:
            raise self._store.rollback
        found = live.current(at_least)
        if found.collection.settings.require_consent:  # a consent runs out by itself: nothing was written then
            with self._store.reading() as connection:
                lapsed = has_lapsed(connection, found.collection, clock.now())
            if lapsed:
                suspend_lapsed(self._store, self.place.collection)
                found = live.current(at_least)
        return found

    def follow(self) -> None:
        """Bring the index in this process up to now; an engine has a follower of its own."""
        if isinstance(self._live, Live):
            self._live.current()

    def existing(self) -> Current | EngineCurrent:
        found = self.current()
        if found is None:
            raise self.missing()
        return found

    def make(self) -> Store:
        """The database with the collection in it, made as far as they are not there."""
        with self._lock:
            if self.live is None:
                info = self.info
                if self._store is None:
                    self._store = Store.create(self.place.address, self.place.key, self.place.actor)
                with self._store.writing() as write:
                    found = collections.find(self._store, write.connection, info.collection)
                    if found is None:
                        own = self.recognizer.calibration
                        found = collections.create(
                            self._store,
                            write,
                            info.collection,
                            info.model,
                            info.contract_id,
                            info.dim,
                            info.settings,
                            calibration_digest=own.digest if own else None,
                        )
                self._attach(self._store, found)
            if self.store.rollback is not None:
                raise self.store.rollback
            return self.store

    def collection(self) -> Collection | None:
        """As it is in the database now."""
        if self.live is None or self._store is None:
            return None
        with self._store.reading() as connection:
            assert self._known is not None, "attached with the index"
            self._known = collections.refreshed(self._store, connection, self._known)
            return self._known

    @property
    def info(self) -> Info:
        """What the collection is bound to, or will be once it is made."""
        found = self.collection()
        if found is not None:
            return Info(found.name, found.model, found.contract_id, found.dim, found.settings)
        contract = self.recognizer.contract
        model = reference_of(self._model if self._model is not None else self.recognizer)
        return Info(self.place.collection, model, contract.id, contract.dim, self._settings)

    @property
    def recognizer(self) -> Embedder:
        """The recogniser, loaded on first use; ContractError where its contract is not the collection's."""
        with self._lock:
            found = self.collection()
            loaded = self._recognizer
            if loaded is None or (found is not None and loaded.contract.id != found.contract_id):
                loaded = self._recognizer = self._load(found)
            return loaded

    @property
    def calibration(self) -> Calibration:
        """What decides here. The first one that does is bound to the collection, and no other decides from then on.

        CalibrationError where the recogniser has none or one that does not hold here (see `require_calibration`), or
        another one than is bound (code calibration_changed).
        """
        calibration = require_calibration(self.recognizer)
        known = self._known  # as the recogniser's look at the collection left it
        if known is not None and known.calibration_digest != calibration.digest:
            self._bind(calibration.digest)
        return calibration

    @property
    def calibration_if_any(self) -> Calibration | None:
        """None where the recogniser has none and none is bound; one that does not hold here is an error."""
        if self.recognizer.calibration is not None:
            return self.calibration
        if self._known is not None and self._known.calibration_digest is not None:
            raise self._another("none")
        return None

    def accept_calibration(self) -> str | None:
        """Bind the recogniser's calibration in place of the one that is bound; its digest, None where it has none."""
        own = require_calibration(self.recognizer) if self.recognizer.calibration else None
        digest = own.digest if own else None
        store = self.make()
        with store.writing() as write:
            collection = collections.get(store, write.connection, self.place.collection)
            self.require_contract(self.recognizer.contract.id, collection)
            if collection.calibration_digest != digest:
                collections.bind_calibration(write, collection, digest)
        return digest

    def _bind(self, digest: str) -> None:
        """Bind it where none is bound, as the database says now."""
        store = self.store
        with store.writing() as write:
            collection = collections.get(store, write.connection, self.place.collection)
            self.require_contract(self.recognizer.contract.id, collection)
            if collection.calibration_digest is None:
                collections.bind_calibration(write, collection, digest)
            elif collection.calibration_digest != digest:
                raise self._another(digest)

    def _another(self, digest: str) -> CalibrationError:
        bound = self._known.calibration_digest if self._known else None
        return CalibrationError(
            f"gallery {self.label} decides by the calibration {bound or '?'}, but the model that was loaded holds "
            f"{digest}; put the old file back or, if it is meant, `vultus gallery settings --accept-calibration`",
            "calibration_changed",
            bound=bound,
            found=digest,
        )

    def take(self, model: str | Path | Embedder, recognizer: Embedder) -> None:
        """Go on with another model: the collection was moved to it."""
        with self._lock:
            self._model, self._recognizer = model, recognizer

    def load(self, model: str | Path | Embedder) -> Embedder:
        if not isinstance(model, str | Path):
            return model
        from vultus.recognizer import load_recognizer

        return load_recognizer(model, self._models_dir)

    def require_contract(self, contract_id: str, info: Info | Collection) -> None:
        """ContractError where embeddings of `contract_id` cannot be compared with the collection's."""
        if contract_id != info.contract_id:
            raise ContractError(
                f"embeddings of contract {contract_id} cannot be compared with gallery {self.label}, made with model "
                f"{info.model!r} (contract {info.contract_id}); embed the photographs with that model"
            )

    def missing(self) -> VultusError:
        if self._store is not None:
            with self._store.reading() as connection:
                try:
                    collections.get(self._store, connection, self.place.collection)
                except VultusError as error:
                    return error
        return VultusError(f"gallery {self.label} does not exist; check the path, or enrol someone there first")

    def _load(self, found: Collection | None) -> Embedder:
        if found is not None and self._model is None:
            loaded = load_stored(found.model, self._models_dir, Path(self.place.address))
        else:
            assert self._model is not None, "open() asks for a model where there is no collection"
            loaded = self.load(self._model)
        if found is not None and loaded.contract.id != found.contract_id:
            given = reference_of(self._model) if self._model is not None else loaded.name
            raise ContractError(
                f"gallery {self.label} was made with model {found.model!r} (contract {found.contract_id}), but "
                f"{given!r} has contract {loaded.contract.id}; give the gallery's model, or move the gallery to the "
                "other one with `vultus gallery reembed`"
            )
        return loaded

    def _attach(self, store: Store, found: Collection) -> None:
        loaded = self._recognizer
        if loaded is not None and loaded.contract.id != found.contract_id:
            raise ContractError(
                f"gallery {self.label} was just made by another process with model {found.model!r}; "
                "give that model, or another place"
            )
        self._known = found
        if self.place.engine is None:
            self._live = Live(store, found)
        else:
            from vultus.gallery.engines import EngineLive

            self._live = EngineLive(store, found, self.place.engine)

    def _exists(self) -> bool:
        database = database_at(self.place.address)
        try:
            return database.exists()
        finally:
            database.close()
