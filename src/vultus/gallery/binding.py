"""A gallery file and its recogniser, each opened when it is first needed, and never one without the other's consent."""

from __future__ import annotations

import threading
from pathlib import Path

from vultus.errors import ContractError, VultusError
from vultus.gallery.old_index import Index, Snapshot
from vultus.gallery.old_store import Store, StoreInfo
from vultus.gallery.reference import Embedder, load_stored, reference_of


class Binding:
    """Store, index and recogniser of one gallery; all of one contract.

    The file is made by the first write, so that a failed first enrolment leaves none behind.
    """

    def __init__(self, path: Path, model: str | Path | Embedder | None, models_dir: str | Path | None) -> None:
        self.path = path
        self._model = model
        self._models_dir = models_dir
        self._store: Store | None = None
        self._index: Index | None = None
        self._recognizer: Embedder | None = None
        self._lock = threading.RLock()

    @classmethod
    def open(
        cls, path: Path, model: str | Path | Embedder | None, models_dir: str | Path | None, create: bool
    ) -> Binding:
        """See `Gallery.open`."""
        binding = cls(path, model, models_dir)
        store = binding.store
        if store is None:
            if not create:
                raise binding._missing()
            if model is None:
                raise VultusError(f"gallery {path} does not exist; to start one there, give a model, for example sface")
        elif model is not None and reference_of(model) != store.info.model:
            try:
                _ = binding.recognizer  # the user chose a model: say at once if it is the wrong one
            except BaseException:
                binding.close()
                raise
        return binding

    def close(self) -> None:
        if self._store is not None:
            self._store.close()

    @property
    def store(self) -> Store | None:
        """The store, if the file exists by now."""
        with self._lock:
            if self._store is None and self.path.exists():
                self._attach(Store.open(self.path))
            return self._store

    def existing_store(self) -> Store:
        """The store; VultusError where nobody was enrolled yet."""
        store = self.store
        if store is None:
            raise self._missing()
        return store

    def store_or_new(self) -> Store:
        """The store, made if there is none."""
        with self._lock:
            store = self.store
            if store is None:
                store = Store.create(self.path, self.info)
                self._attach(store)
            return store

    @property
    def info(self) -> StoreInfo:
        """What the gallery is bound to, or will be once its file is made."""
        store = self.store
        if store is not None:
            return store.info
        contract = self.recognizer.contract
        model = reference_of(self._model if self._model is not None else self.recognizer)
        return StoreInfo(self.path.stem, model, contract.id, contract.dim)

    @property
    def recognizer(self) -> Embedder:
        """The recogniser, loaded on first use; ContractError where its contract is not the gallery's."""
        with self._lock:
            if self._recognizer is None:
                store = self.store
                if store is not None and self._model is None:
                    loaded = load_stored(store.info.model, self._models_dir, self.path)
                elif isinstance(self._model, str | Path):
                    from vultus.recognizer import load_recognizer

                    loaded = load_recognizer(self._model, self._models_dir)
                else:
                    assert self._model is not None, "open() asks for a model where there is no file"
                    loaded = self._model
                if store is not None and loaded.contract.id != store.info.contract_id:
                    given = reference_of(self._model) if self._model is not None else loaded.name
                    raise ContractError(
                        f"gallery {self.path} was made with model {store.info.model!r} (contract "
                        f"{store.info.contract_id}), but {given!r} has contract {loaded.contract.id}; give the "
                        "gallery's model, or enrol everyone again in a new gallery"
                    )
                self._recognizer = loaded
            return self._recognizer

    def snapshot(self) -> Snapshot | None:
        """Everyone enrolled up to now; None where there is no file yet."""
        return self._index.current() if self.store is not None and self._index is not None else None

    def require_contract(self, contract_id: str) -> None:
        """ContractError where embeddings of `contract_id` cannot be compared with the gallery's."""
        info = self.info
        if contract_id != info.contract_id:
            raise ContractError(
                f"embeddings of contract {contract_id} cannot be compared with gallery {self.path}, made with model "
                f"{info.model!r} (contract {info.contract_id}); embed the photographs with that model"
            )

    def _attach(self, store: Store) -> None:
        loaded = self._recognizer
        if loaded is not None and loaded.contract.id != store.info.contract_id:
            store.close()
            raise ContractError(
                f"gallery {self.path} was just made by another process with model {store.info.model!r}; "
                "give that model, or another file"
            )
        self._store, self._index = store, Index(store)

    def _missing(self) -> VultusError:
        return VultusError(f"gallery {self.path} does not exist; check the path, or enrol someone there first")
