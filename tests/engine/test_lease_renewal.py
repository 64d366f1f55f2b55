"""Leases are renewed whatever a store, a log or another run does."""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tau.host import Host
from tau.log.journal import Journal
from tau.log.lease_renewal import Renewer
from tau.stores.memory import MemoryStore

SECONDS = 60.0


class Renewing(MemoryStore):
    """Counts what it is asked; ``answer`` is called in each renewal."""

    def __init__(self, answer: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.asked = 0
        self.answer = answer
        self.change = threading.Condition()

    def renew(self, run_id: str, nonce: str, seconds: float) -> bool:
        with self.change:
            self.asked += 1
            self.change.notify_all()
        self.answer()
        return True

    def was_asked(self, times: int) -> bool:
        """Whether it is asked that often from now on."""
        with self.change:
            times += self.asked
            return self.change.wait_for(lambda: self.asked >= times, SECONDS)


def journal(store: MemoryStore, lease: float = 0.02) -> Journal:
    host = Host()
    return Journal(store, "r", host, host.owner(lease), 1)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def renewer() -> Iterator[Renewer]:
    renewer = Renewer()
    yield renewer
    for line in [*renewer._due.values()]:
        for one in [*line]:
            renewer.forget(one)


def test_a_store_that_hangs_is_left_alone_and_the_others_are_renewed(
    renewer: Renewer, release: threading.Event
) -> None:
    hanging, healthy = Renewing(release.wait), Renewing()
    stuck, well = journal(hanging), journal(healthy)
    renewer.watch(stuck)
    assert hanging.was_asked(1)
    renewer.watch(well)
    assert healthy.was_asked(5)
    renewer.forget(well)
    another = Renewing()
    renewer.watch(journal(another))
    assert another.was_asked(5), "a store that came later"
    assert hanging.asked == 1


def test_a_run_with_a_short_lease_does_not_wait_for_one_with_a_long_lease(
    renewer: Renewer, release: threading.Event
) -> None:
    slow, hanging, quick = Renewing(), Renewing(release.wait), Renewing()
    renewer.watch(journal(slow, 3600.0))
    renewer.watch(journal(hanging))
    assert hanging.was_asked(1)
    renewer.watch(journal(quick))
    assert quick.was_asked(5)


def test_many_stores_share_sixteen_threads(renewer: Renewer, release: threading.Event) -> None:
    before = {thread for thread in threading.enumerate() if thread.name == "tau-lease"}
    hanging, healthy = [Renewing(release.wait) for _ in range(15)], [Renewing() for _ in range(10)]
    for store in (*hanging, *healthy):
        renewer.watch(journal(store))
    for store in healthy:
        assert store.was_asked(3)
    found = {thread for thread in threading.enumerate() if thread.name == "tau-lease"} - before
    assert len(found) == 16


@pytest.mark.parametrize("error", [ValueError("odd"), SystemExit(1), KeyboardInterrupt(), MemoryError()])
def test_whatever_a_store_raises_it_is_asked_again(
    renewer: Renewer, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def answer() -> None:
        raise error

    store, other = Renewing(answer), Renewing()
    renewer.watch(journal(store))
    renewer.watch(journal(other))
    assert store.was_asked(3)
    assert other.was_asked(3)
    assert [record.getMessage() for record in caplog.records if record.name == "tau"] == [
        f"the lease of run 'r' could not be renewed: {error}"
    ], "once, not for every try"


class Broken(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        raise RuntimeError("a broken filter")


def test_a_log_that_raises_ends_no_renewal(renewer: Renewer) -> None:
    def answer() -> None:
        raise OSError("gone")

    broken = Broken()
    logging.getLogger("tau").addFilter(broken)
    try:
        store = Renewing(answer)
        renewer.watch(journal(store))
        assert store.was_asked(3)
    finally:
        logging.getLogger("tau").removeFilter(broken)


def test_an_exception_that_is_thrown_into_the_thread_does_not_end_it(renewer: Renewer) -> None:
    store = Renewing()
    renewer.watch(journal(store))
    assert store.was_asked(1)
    (thread,) = renewer._threads
    for _ in range(3):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))
        assert store.was_asked(3)
    assert thread.is_alive()


def test_a_thread_that_died_is_replaced(renewer: Renewer) -> None:
    store = Renewing()
    dead = threading.Thread(target=time.monotonic)
    dead.start()
    dead.join()
    renewer._threads.add(dead)
    renewer.watch(journal(store))
    assert store.was_asked(3)


def test_the_thread_ends_when_there_is_nothing_left(renewer: Renewer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tau.log.lease_renewal._IDLE", 0.01)
    store = Renewing()
    one = journal(store)
    renewer.watch(one)
    assert store.was_asked(1)
    (thread,) = renewer._threads
    renewer.forget(one)
    thread.join(SECONDS)
    assert not thread.is_alive()
    renewer.watch(one)
    assert store.was_asked(1)
