"""Processes that do the same, or the opposite, at once."""

from __future__ import annotations

import threading

from vultus.gallery import Gallery

from .conftest import ENROL
from .observing import check_index, nursery_in, observed
from .writer import nothing, opened


def test_two_processes_enrol_the_same_person(place, tmp_path):
    with nursery_in(tmp_path) as nursery, opened(str(place)) as gallery:
        work = [[{"number": 100 * w + n, "person": f"p{n}", **ENROL} for n in range(1, 7)] for w in (1, 2, 3)]
        several = [nursery.start(place, nothing(), 100 * at, operations=ops) for at, ops in enumerate(work)]
        for process in several:
            process.gone()
            told = process.told()
            assert told.failed is None and len(told.done) == 6, "the database was made at once by one, too"
        state = observed(gallery._binding.store)
        assert list(state["people"]) == [f"p{n}" for n in range(1, 7)]
        for n, person in enumerate(state["people"].values(), 1):
            assert person["templates"] == {str(100 * w + n): 3 for w in (1, 2, 3)}
        with opened(str(place)) as fresh:
            check_index(gallery, fresh, state)
        assert gallery.custody.verify_log() == []


def test_the_same_request_of_two_processes_is_done_once(place, tmp_path):
    with nursery_in(tmp_path) as nursery, opened(str(place)) as gallery:
        gallery.create()
        same = [{"number": number, "person": f"p{number}", **ENROL, "consent": False} for number in range(1, 7)]
        for process in [nursery.start(place, nothing(), 0, operations=same) for _ in range(3)]:
            process.gone()
            assert process.told().failed is None and len(process.told().done) == 6
        state = observed(gallery._binding.store)
        assert [person["templates"] for person in state["people"].values()] == [{str(n): 3} for n in range(1, 7)]


def test_erasing_while_another_searches(place, recognizer, picture):
    with Gallery.open(str(place), recognizer, settings={"gates": False}) as gallery:
        names = [f"p{number}" for number in range(8)]
        for number, name in enumerate(names):
            gallery.enroll(name, picture(number), picture(number, 1))
        probes, contract = recognizer.embed([picture(number, 5) for number in range(8)]), recognizer.contract.id
        gone: list[str] = []
        errors: list[BaseException] = []
        done = threading.Event()

        def search() -> None:
            try:
                with Gallery.open(str(place), recognizer) as other:
                    while not done.is_set():
                        before = set(gone)
                        for decision in other.identify_embeddings(probes, contract, fpir=0.01):
                            assert before.isdisjoint({candidate.person for candidate in decision.candidates})
            except BaseException as error:
                errors.append(error)

        searchers = [threading.Thread(target=search) for _ in range(2)]
        for thread in searchers:
            thread.start()
        for name in names[:6]:
            gallery.erase(name)
            gone.append(name)
        done.set()
        for thread in searchers:
            thread.join()
        assert errors == []
        assert [d.person for d in gallery.identify_embeddings(probes, contract, fpir=0.01)] == [None] * 6 + names[6:]
        assert gallery.custody.verify_log() == []
