"""The thread that commits for async runs: nothing ends it, and who waits for it is told."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from engine_steps import config

import tau.log.committer
from tau import State, StateGraph, StoreError
from tau.errors import StoreFullError, StoreUnavailableError
from tau.log.committer import Committer
from tau.log.tickets import Result, Ticket
from tau.stores.contract import Batch, PositionConflict
from tau.stores.memory import MemoryStore
from tau.testing.store_contract.batches import batch, race

SECONDS = 60.0


class Odd(MemoryStore):
    """Calls ``before`` and ``after`` each commit."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[], object] = lambda: None
        self.after: Callable[[], object] = lambda: None

    def commit(self, batches: Sequence[Batch]) -> list[int | Exception]:
        self.before()
        results = super().commit(batches)
        self.after()
        return results


def once(error: BaseException) -> Callable[[], None]:
    left = [error]

    def work() -> None:
        if left:
            raise left.pop()

    return work


def graph(store: MemoryStore) -> StateGraph:
    made = StateGraph(config(store))

    async def node(state: State) -> dict[str, Any]:
        return {"x": 1}

    made.add_node("node", node)
    made.sequence("node")
    return made


class Told:
    """Takes the results of tickets."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.change = threading.Condition()

    def __call__(self, result: Result) -> None:
        with self.change:
            self.results.append(result)
            self.change.notify_all()

    def wait(self, count: int) -> list[Result]:
        with self.change:
            assert self.change.wait_for(lambda: len(self.results) >= count, SECONDS), "nobody told"
            return self.results


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
@pytest.mark.parametrize("when", ["before", "after"])
def test_whatever_a_commit_raises_the_ones_who_wait_are_told_and_the_next_are_served(
    when: str, error: BaseException
) -> None:
    store, told = Odd(), Told()
    committer = store.committer
    setattr(store, when, once(error))
    committer.submit(Ticket(batch("r", 0), told))
    (result,) = told.wait(1)
    if when == "before":
        assert isinstance(result, StoreError)
        assert "broken off by" in str(result)
    else:
        assert result == 1, "it stood"
    committer.submit(Ticket(batch("other", 0), told))
    assert told.wait(2)[1] == 1


class Forgetful(Committer):
    """Has no memory left at the worst moment, once."""

    left = 1

    def _settle(self, tickets: list[Ticket], results: Sequence[Result]) -> None:
        if self.left:
            self.left -= 1
            raise MemoryError
        super()._settle(tickets, results)


def test_where_there_is_no_memory_to_answer_it_is_answered_later() -> None:
    store = Odd()
    store._committer = Forgetful(store)

    async def main() -> list[Any]:
        both = asyncio.gather(*(graph(store).aexecute({}, run_id=name) for name in "ab"))
        return [dict(final) for final in await asyncio.wait_for(both, SECONDS)]

    assert asyncio.run(main()) == [{"x": 1}, {"x": 1}]
    assert isinstance(store.committer, Forgetful)
    assert store.committer.left == 0


class Together(MemoryStore):
    """Notes how its logs are read."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def read(self, run_id: str, after: int = 0) -> list[tuple[int, bytes]]:
        self.asked.append(run_id)
        return super().read(run_id, after)

    def logs(self, after: Mapping[str, int]) -> Mapping[str, Sequence[tuple[int, bytes]]]:
        self.asked.append(dict(after))
        found = {run_id: super(Together, self).read(run_id, position) for run_id, position in after.items()}
        return {run_id: rows for run_id, rows in found.items() if run_id != "damaged"}


def test_what_became_of_several_refused_batches_is_read_at_once() -> None:
    """One was stored before, its reply lost; what cannot be read so is read alone."""
    store = Together()
    stored = batch("stored", 0)
    store.commit([stored, batch("taken", 0), batch("damaged", 0)])
    committer, tolds = store.committer, [Told() for _ in range(4)]

    def submit_all(_: None) -> None:
        batches = (stored, batch("taken", 0, b"other"), batch("damaged", 0, b"other"), batch("new", 0))
        for one, told in zip(batches, tolds, strict=True):
            committer.submit(Ticket(one, told))

    committer.guard.enter(submit_all, None)  # nothing is committed meanwhile
    results = [told.wait(1)[0] for told in tolds]
    assert [type(result) for result in results] == [int, PositionConflict, PositionConflict, int]
    assert store.asked == [{"stored": 0, "taken": 0, "damaged": 0}, "damaged"]


def test_an_answer_that_raises_ends_nothing() -> None:
    store, told = Odd(), Told()

    def broken(result: Result) -> None:
        raise RuntimeError("broken")

    store.committer.submit(Ticket(batch("a", 0), broken))
    store.committer.submit(Ticket(batch("b", 0), told))
    assert told.wait(1) == [1]


def test_an_exception_that_is_thrown_into_the_thread_leaves_nobody_waiting() -> None:
    """In a process of its own: what is struck anywhere may leave a lock behind, for which a fork would wait."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    program = f"import {Path(__file__).stem} as tests; tests.throw_into_the_thread()"
    subprocess.run([sys.executable, "-c", program], env=environment, timeout=120, check=True)


def throw_into_the_thread() -> None:
    tau.log.committer._IDLE = SECONDS
    store, told = Odd(), Told()
    committer = store.committer
    for number in range(50):
        committer.submit(Ticket(batch(f"r{number}", 0), told))
        thread = committer._thread
        assert thread is not None
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))
        result = told.wait(number + 1)[number]
        assert result == 1 or isinstance(result, StoreError)
    assert committer._thread is thread


def test_a_thread_that_died_is_replaced() -> None:
    store, told = Odd(), Told()
    dead = threading.Thread(target=str)
    dead.start()
    dead.join()
    store.committer._thread = dead
    store.committer.submit(Ticket(batch("r", 0), told))
    assert told.wait(1) == [1]


def test_a_thread_that_has_nothing_to_do_ends_and_lets_its_store_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tau.log.committer, "_IDLE", 0.01)
    store, told = Odd(), Told()
    gone = weakref.ref(store)
    for number in range(3):
        store.committer.submit(Ticket(batch(f"r{number}", 0), told))
        thread = store.committer._thread
        assert told.wait(number + 1)[number] == 1
        if thread is not None:
            thread.join(SECONDS)
            assert not thread.is_alive()
    del store
    gc.collect()
    assert gone() is None


def test_what_is_queued_as_the_thread_ends_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many threads at once, and one that is always about to end."""
    monkeypatch.setattr(tau.log.committer, "_IDLE", 0.0)
    store = Odd()
    tolds = [Told() for _ in range(4)]

    def submit(number: int) -> None:
        for count in range(300):
            store.committer.submit(Ticket(batch(f"r{number}-{count}", 0), tolds[number]))
            tolds[number].wait(count + 1)

    threads = [threading.Thread(target=submit, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert [told.results for told in tolds] == [[1] * 300] * 4


def test_who_leaves_although_something_was_queued_stays_or_is_replaced() -> None:
    committer = Odd().committer
    committer._queue.append(Ticket(batch("r", 0)))
    assert not committer._leave()
    assert committer._thread is threading.current_thread()
    committer._queue.clear()
    assert committer._leave()
    assert committer._thread is None


def test_a_store_that_gives_fewer_results_than_batches_is_told_so() -> None:
    class Short(MemoryStore):
        def commit(self, batches: Sequence[Batch]) -> list[int | Exception]:
            return []

    told = Told()
    Short().committer.submit(Ticket(batch("r", 0), told))
    (result,) = told.wait(1)
    assert isinstance(result, StoreError)
    assert "gave 0 results" in str(result)


def test_a_conflict_is_a_conflict_for_its_run_alone() -> None:
    store, told = Odd(), Told()
    store.committer.submit(Ticket(batch("r", 5), told))
    store.committer.submit(Ticket(batch("s", 0), told))
    assert [isinstance(result, PositionConflict) for result in told.wait(2)] == [True, False]


class Shut(MemoryStore):
    """Every verb fails; what ``commit`` and ``read`` raise can be chosen."""

    def __init__(self, committing: Exception, reading: Exception) -> None:
        super().__init__()
        self.committing, self.reading = committing, reading

    def commit(self, batches: Sequence[Batch]) -> list[int | Exception]:
        return [self.committing for _ in batches]

    def read(self, run_id: str, after: int = 0) -> Any:
        raise self.reading

    def release(self, run_id: str, nonce: str) -> None:
        raise self.reading


FULL, CONFLICT = StoreFullError("commit: full"), PositionConflict("r", 0, 1)
LASTING, PASSING = (StoreUnavailableError("commit", transient=passes) for passes in (False, True))
UNREAD, UNREAD_NOW = (StoreUnavailableError("read", transient=passes) for passes in (False, True))


@pytest.mark.parametrize(
    ("committing", "reading", "told"),
    [
        (FULL, UNREAD, FULL),
        (LASTING, UNREAD, LASTING),
        (PASSING, UNREAD_NOW, PASSING),
        (PASSING, UNREAD, UNREAD),
        (CONFLICT, UNREAD, UNREAD),
    ],
)
def test_a_commit_that_cannot_be_looked_into_is_told_as_what_it_was(
    committing: Exception, reading: Exception, told: Exception
) -> None:
    """Not as a read that failed; but a store that is lost, or that may hold the commit, is told as such."""
    assert Shut(committing, reading).committer.commit(batch("r", 0)) is told


def test_a_run_that_never_began_is_told_of_no_lease(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StoreFullError, match="commit: full"):
        graph(Shut(FULL, UNREAD)).execute({}, run_id="r")
    assert caplog.text == ""


def test_threads_that_use_a_store_first_at_the_same_moment_share_one_committer() -> None:
    """Else a run may be at one committer with its patience kept by another, and is not tried again."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            store = MemoryStore()
            made = race([lambda store=store: store.committer] * 6)
            assert all(one is made[0] for one in made)
    finally:
        sys.setswitchinterval(interval)
