"""What the stores of all servers do: logs in blocks, what is left of a lost reply, forks, a run as a whole."""

from __future__ import annotations

import gc
import random
import signal
import threading
import time
from typing import Any

import pytest
from forked import in_child
from msgspec.structs import replace
from servers import Served, served

from tau import StateGraph
from tau.errors import ConfigError, CorruptCheckpointError, ExecutionError
from tau.stores import open_store, server_store
from tau.stores.contract import PositionConflict, Query
from tau.testing.store_contract.batches import batch, one

__all__ = ["served"]


def test_a_large_group_is_parted(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no transaction grows without bounds; each batch is still whole."""
    store = served.make(served.url)
    monkeypatch.setattr(server_store, "GROUP_BYTES", 100_000)
    groups: list[int] = []
    real = store._commit

    def commit(batches: Any) -> Any:
        groups.append(len(batches))
        return real(batches)

    monkeypatch.setattr(store, "_commit", commit)
    batches = [batch(f"r{n}", 0, blobs=[(b"x", bytes(30_000))]) for n in range(10)]
    assert store.commit([*batches, batch("huge", 0, blobs=[(b"x", bytes(300_000))])]) == [1] * 11
    assert groups == [3, 3, 3, 1, 1]
    store.close()


def test_a_commit_of_which_the_first_part_was_stored_before_follows_it(served: Served) -> None:
    """Its reply had been lost; the record before the rest is the last one of that part."""
    store = served.make(served.url)
    first, second = batch("r", 0), batch("r", 1)
    assert store.commit([first, second]) == [1, 2]
    more = batch("r", 1, [second.records[0], b"more"])
    assert store.committer.commit(replace(more, before=first.records[0])) == 3
    assert [record for _, record in store.read("r")] == [first.records[0], *more.records]
    store.close()


@pytest.mark.parametrize("anew", [False, True])
def test_a_log_that_is_deleted_as_it_is_read_does_not_end_early(served: Served, anew: bool) -> None:
    """It is read in blocks, and a run that began anew is another one."""
    store = served.make(served.url)
    assert one(store, batch("r", 0, 3000)) == 3000
    rows = store.scan("r")
    next(rows)
    store.delete("r")
    if anew:
        assert one(store, batch("r", 3001, 2000)) == 5001
    with pytest.raises(CorruptCheckpointError, match="records after 1024 were deleted"):
        list(rows)
    store.close()


# Forks


def test_parent_and_child_both_go_on_after_a_fork(served: Served) -> None:
    """Each in sessions of its own; the end of one is nothing to the other."""
    store = served.make(served.url)
    assert one(store, batch("r", 0)) == 1

    def child() -> None:
        assert one(store, batch("r", 1)) == 2
        assert len(store.read("r")) == 2
        store.close()
        assert one(store, batch("r", 2)) == 3

    in_child(child)
    assert isinstance(one(store, batch("r", 1)), PositionConflict)
    assert one(store, batch("r", 3)) == 4
    assert len(store.read("r")) == 4
    store.close()


def test_a_fork_while_other_threads_are_at_work_breaks_nothing(served: Served) -> None:
    store = served.make(served.url, max_connections=2)
    stop = threading.Event()
    counts = [0, 0, 0]

    def work(number: int) -> None:
        while not stop.is_set():
            assert one(store, batch(f"r{number}", counts[number])) == counts[number] + 1
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()

    def child() -> None:
        store.select(Query())
        assert isinstance(one(store, batch("child", 0)), int | PositionConflict)

    for _ in range(8):
        in_child(child)
    stop.set()
    for thread in threads:
        thread.join()
    assert [len(store.read(f"r{number}")) for number in range(3)] == counts
    assert len(store.read("child")) == 1
    store.close()


# Interrupts


class AlarmError(Exception):
    pass


@pytest.mark.parametrize("rounds", [200, pytest.param(20_000, marks=pytest.mark.deep)])
def test_no_alarm_at_any_moment_makes_an_answer_wrong(served: Served, rounds: int) -> None:
    """A handler that raises while the store is called: what is stored is whole, what is answered is what was asked, and
    the store goes on."""
    chance = random.Random(rounds)
    store = served.make(served.url, max_connections=2)
    assert one(store, batch("other", 0)) == 1
    other = store.read("other")
    log: list[bytes] = []
    struck = 0
    begun = sound = 0.001

    def strike(number: int, frame: Any) -> None:
        nonlocal is_armed
        if is_armed:
            is_armed = False
            raise AlarmError

    is_armed = False
    before = signal.signal(signal.SIGALRM, strike)
    gc.disable()  # what watches it here is not made for alarms: it comes between them
    try:
        for number in range(rounds):
            mine = batch("r", len(log), blobs=[(b"%d" % number, b"x" * chance.choice((1, 100_000)))])
            try:
                is_armed = True
                signal.setitimer(signal.ITIMER_REAL, chance.random() * 2 * sound + 1e-6)
                begun = time.monotonic()
                result = one(store, mine)
                if isinstance(result, AlarmError):
                    raise result
                assert result == len(log) + 1
                assert store.read("r", len(log)) == [(len(log) + 1, mine.records[0])]
                assert store.summary("r") == mine.summary
                assert store.read("other") == other
                sound = time.monotonic() - begun
                is_armed = False
            except AlarmError:
                struck += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            if number % 50 == 0:
                gc.collect()
            rows = [record for _, record in store.read("r", len(log))]
            assert rows in ([], [mine.records[0]])
            log += rows
    finally:
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    assert [record for _, record in store.read("r")] == log
    assert struck > rounds / 10
    assert len(log) > rounds / 10
    store.close()


# As a whole


def test_settings_that_make_no_sense_are_refused(served: Served) -> None:
    with pytest.raises(ConfigError, match="durability is 'strict' or 'relaxed', found 'lax'"):
        served.make(served.url, durability="lax")
    with pytest.raises(ConfigError, match="durability"):
        open_store(f"{served.url}{'&' if '?' in served.url else '?'}durability=none")
    with pytest.raises(ConfigError, match="max_connections is at least 1"):
        served.make(served.url, max_connections=0)


def test_a_run_goes_through_and_is_resumed_by_another_object(served: Served) -> None:
    calls: list[str] = []

    def make() -> StateGraph:
        graph = StateGraph("g", store=served.make(served.url))

        @graph.node
        def one(state: Any) -> Any:
            calls.append("one")
            return {"x": list(range(5000))}

        @graph.node
        def two(state: Any) -> Any:
            calls.append("two")
            if len(calls) == 2:
                raise ValueError("once")
            return {"y": sum(state["x"])}

        graph.sequence(one, two)
        return graph

    with pytest.raises(ExecutionError):
        make().execute({}, run_id="r")
    graph = make()
    assert graph.resume("r")["y"] == sum(range(5000))
    assert calls == ["one", "two", "two"]
    assert [row.status for row in graph.store.runs()] == ["finished"]  # type: ignore[union-attr]
    graph.store.delete("r")  # type: ignore[union-attr]
    assert graph.store.list() == []  # type: ignore[union-attr]
