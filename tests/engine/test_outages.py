"""A store that is away for a while costs no finished work: what is to be saved is tried again."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest

from tau import (
    CheckpointConfig,
    Context,
    Event,
    GraphConfig,
    State,
    StateGraph,
    Stop,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from tau.host import Host
from tau.observers import Recorder
from tau.stores.contract import Batch
from tau.stores.failures import from_os
from tau.stores.memory import MemoryStore
from tau.stores.sqlite import SQLiteStore
from tau.stores.sqlite.connection import failure
from tau.waiting import Flag

SECONDS = 60.0


class Clock(Host):
    """Time passes only in ``sleep``, and ``asleep`` is called there."""

    def __init__(self) -> None:
        self.time, self.slept = 0.0, 0
        self.asleep: Callable[[], object] = lambda: None

    def monotonic(self) -> float:  # type: ignore[override]
        return self.time

    def sleep(self, seconds: float, wake: Flag | None = None) -> None:
        self.time += seconds
        self.slept += 1
        self.asleep()


class Away(MemoryStore):
    """Once ``armed``, refuses what it is asked of the run ``r`` so many times; with ``lost`` commits are made all the
    same, and reads are refused as well."""

    def __init__(
        self, times: int = 0, error: Callable[[], Exception] = lambda: StoreUnavailableError("refused")
    ) -> None:
        super().__init__()
        self.times, self.error = times, error
        self.armed = self.lost = False
        self.tried = 0

    def commit(self, batches: Sequence[Batch]) -> list[int | Exception]:
        if not self.armed or all(batch.run_id != "r" for batch in batches):
            return super().commit(batches)
        self.tried += 1
        if self.tried > self.times:
            return super().commit(batches)
        if self.lost:
            super().commit(batches)
        raise self.error()

    def read(self, run_id: str, after: int = 0) -> list[tuple[int, bytes]]:
        if self.lost and self.armed and self.tried < self.times:
            self.tried += 1
            raise self.error()
        return super().read(run_id, after)


class Runs:
    """Runs a graph of two nodes, in whose first the store goes away."""

    def __init__(self, store: Away, *, how: str = "sync", **options: Any) -> None:
        self.store, self.how = store, how
        self.recorder, self.clock, self.ran = Recorder(), Clock(), list[str]()
        checkpoint = CheckpointConfig(store=store, interval=1, preserve=True, **options)
        self.graph = StateGraph(GraphConfig("g", observer=self.recorder, checkpoint=checkpoint))
        self.graph.host = self.clock
        first = {"sync": self.first, "async": self.async_first, "step": self.step, "async step": self.async_step}[how]
        self.graph.add_node("first", first, version="1")
        self.graph.add_node("last", lambda state: {"last": 1}, version="1")
        self.graph.sequence("first", "last")

    def first(self, state: State) -> dict[str, Any]:
        self.ran.append("first")
        self.store.armed = True
        return {"first": 1}

    async def async_first(self, state: State) -> dict[str, Any]:
        return self.first(state)

    def step(self, state: State, context: Context) -> dict[str, Any]:
        return {"first": context.step("s", lambda: self.first(state))["first"]}

    async def async_step(self, state: State, context: Context) -> dict[str, Any]:
        found: dict[str, Any] = await context.step("s", self.async_first, state)
        return {"first": found["first"]}

    def run(self, **options: Any) -> dict[str, Any]:
        if self.how in ("async", "async step"):
            return dict(asyncio.run(asyncio.wait_for(self.graph.aexecute({}, run_id="r", **options), SECONDS)))
        return dict(self.graph.execute({}, run_id="r", **options))

    @property
    def retries(self) -> list[Event]:
        return [event for event in self.recorder.events if event.type == "checkpoint.retry"]


@pytest.mark.parametrize("how", ["sync", "async", "step", "async step"])
@pytest.mark.parametrize("lost", [False, True])
def test_what_a_node_did_is_kept_while_its_store_is_away(
    how: str, lost: bool, caplog: pytest.LogCaptureFixture
) -> None:
    store = Away(3)
    store.lost = lost
    runs = Runs(store, how=how)
    assert runs.run() == {"first": 1, "last": 1}
    assert runs.ran == ["first"]
    (told,) = runs.retries
    assert told.data == {
        "error": "refused", "error_type": "StoreUnavailableError", "patience_seconds": 30.0, "run_id": "r",
    }  # fmt: skip
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert lines == ["a commit of run 'r' is tried again for up to 30 s: refused"]
    assert [entry.node for entry in runs.graph.history("r")] == ["first", "last"]


def test_other_runs_of_the_store_go_on_meanwhile() -> None:
    runs, others = Runs(Away(3)), list[Any]()
    other = StateGraph("other", store=runs.store)
    other.add_node("node", lambda state: {"x": len(others)})
    other.sequence("node")
    runs.clock.asleep = lambda: others.append(other.execute({})["x"])
    assert runs.run() == {"first": 1, "last": 1}
    assert others == [0, 1, 2]


@pytest.mark.parametrize(("options", "seconds"), [({}, 30.0), ({"patience": 7.0}, 7.0), ({"lease": 10.0}, 5.0)])
def test_it_is_tried_for_a_bounded_time(options: dict[str, Any], seconds: float) -> None:
    runs = Runs(Away(10**9), **options)
    with pytest.raises(StoreUnavailableError, match="refused"):
        runs.run()
    assert runs.clock.time == pytest.approx(seconds)
    assert len(runs.retries) == 1


def test_without_patience_a_commit_is_tried_once() -> None:
    runs = Runs(Away(1), patience=0)
    with pytest.raises(StoreUnavailableError, match="refused"):
        runs.run()
    assert (runs.clock.slept, runs.retries) == (0, [])


@pytest.mark.parametrize(
    "error",
    [StoreUnavailableError("gone", transient=False), StoreFullError("full"), StoreError("odd"), ValueError("a fault")],
)
@pytest.mark.parametrize("how", ["sync", "async"])
def test_what_does_not_pass_is_raised_at_once(error: Exception, how: str) -> None:
    runs = Runs(Away(1, lambda: error), how=how)
    with pytest.raises(type(error)):
        runs.run()
    assert (runs.clock.slept, runs.retries) == (0, [])


def test_a_run_that_has_not_begun_does_not_wait() -> None:
    store = Away(1)
    store.armed = True
    runs = Runs(store)
    with pytest.raises(StoreUnavailableError):
        runs.run()
    assert (store.tried, runs.clock.slept) == (1, 0)


def test_a_stop_ends_it() -> None:
    runs, stop = Runs(Away(10**9)), Stop()
    runs.clock.asleep = stop.set
    with pytest.raises(StoreUnavailableError):
        runs.run(stop=stop)
    assert runs.clock.slept == 1


def test_max_runtime_ends_it() -> None:
    runs = Runs(Away(10**9))
    with pytest.raises(StoreUnavailableError):
        runs.run(max_runtime=2.0)
    assert 2.0 <= runs.clock.time <= 3.0


def test_a_ctrl_c_ends_it() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    runs = Runs(Away(10**9))
    runs.clock.asleep = interrupt
    with pytest.raises(KeyboardInterrupt):
        runs.run()
    assert runs.clock.slept == 1


async def test_a_cancellation_ends_it() -> None:
    runs = Runs(Away(10**9), how="async")
    task = asyncio.create_task(runs.graph.aexecute({}, run_id="r"))
    async with asyncio.timeout(SECONDS):
        while not runs.retries:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, StoreUnavailableError)):
            await task
    runs.store.times = 0
    assert (await runs.graph.aresume("r"))["last"] == 1


def test_a_locked_database_is_waited_for(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "runs.db", busy_timeout=0.01)
    other = apsw.Connection(str(tmp_path / "runs.db"))

    def observer(event: Event) -> None:
        if event.type == "checkpoint.retry":
            other.execute("rollback")

    def lock(state: State) -> dict[str, Any]:
        other.execute("begin immediate")
        return {"x": 1}

    checkpoint = CheckpointConfig(store=store, interval=1, preserve=True)
    graph = StateGraph(GraphConfig("g", observer=observer, checkpoint=checkpoint))
    graph.add_node("lock", lock)
    graph.sequence("lock")
    assert dict(graph.execute({}, run_id="r")) == {"x": 1}
    other.close()
    store.close()


def test_the_time_a_database_was_waited_for_counts(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "runs.db", busy_timeout=0.05)
    other = apsw.Connection(str(tmp_path / "runs.db"))
    recorder = Recorder()
    checkpoint = CheckpointConfig(store=store, interval=1, preserve=True, patience=0.05)
    graph = StateGraph(GraphConfig("g", observer=recorder, checkpoint=checkpoint))
    graph.add_node("lock", lambda state: (other.execute("begin immediate"), None)[1])
    graph.sequence("lock")
    with pytest.raises(StoreUnavailableError, match="locked"):
        graph.execute({}, run_id="r")
    assert "checkpoint.retry" not in [event.type for event in recorder.events]
    other.close()
    store.close()


@pytest.mark.parametrize(
    ("code", "passes"),
    [
        (errno.ESTALE, True), (errno.ECONNRESET, True), (errno.EAGAIN, True), (errno.EIO, False), (errno.EACCES, False),
        (errno.EROFS, False), (errno.ENOENT, False), (errno.EPERM, False),
    ],
)  # fmt: skip
def test_which_errors_of_the_system_pass(code: int, passes: bool) -> None:
    error = from_os(OSError(code, "said"), "file:///x", "commit to")
    assert isinstance(error, StoreUnavailableError)
    assert error.transient is passes


@pytest.mark.parametrize(
    ("error", "passes"),
    [(apsw.BusyError(), True), (apsw.IOError(), False), (apsw.ReadOnlyError(), False), (apsw.CantOpenError(), False)],
)
def test_which_errors_of_sqlite_pass(error: apsw.Error, passes: bool) -> None:
    found = failure(error, "sqlite:///x", "commit to", 1.0, errno.EIO if isinstance(error, apsw.IOError) else 0)
    assert isinstance(found, StoreUnavailableError)
    assert found.transient is passes


def test_a_lost_database_is_told_at_once(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "runs.db")
    recorder = Recorder()
    graph = StateGraph(GraphConfig("g", observer=recorder, checkpoint=CheckpointConfig(store=store, interval=1)))
    graph.add_node("lose", lambda state: [path.unlink() for path in tmp_path.glob("runs.db*")] and None)
    graph.sequence("lose")
    with pytest.raises(StoreUnavailableError, match="deleted"):
        graph.execute({}, run_id="r")
    assert "checkpoint.retry" not in [event.type for event in recorder.events]
