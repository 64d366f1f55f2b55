"""`Context.step`: what finished inside a node is not done again."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from engine_steps import config, elsewhere

from own_stores import InBytes
from tau import (
    ConfigError,
    Context,
    CorruptCheckpointError,
    ExecutionError,
    GraphChangedError,
    LeaseLostError,
    LimitExceededError,
    Retry,
    RunCancelledError,
    State,
    StateGraph,
    StoreUnavailableError,
    TauError,
    UnserializableError,
    current,
)
from tau.log.encoding import unseal
from tau.log.loading import BlobLoader
from tau.log.records import Item
from tau.log.replay import Replay
from tau.observers import Recorder
from tau.stores.contract import Batch, Store
from tau.stores.memory import MemoryStore
from tau.testing.store_wrappers import StoreWrapper

Node = Callable[[State, Context], Any]


def graph_of(store: Any, *nodes: Node, version: str | None = "1", **options: Any) -> StateGraph:
    node_options = {key: options.pop(key) for key in ("retry", "timeout", "idempotent") if key in options}
    graph = StateGraph(config(store, **options) if store is not None else "g")
    names = [f"n{i}" for i in range(len(nodes))]
    for name, node in zip(names, nodes, strict=True):
        graph.add_node(name, node, version=version, **node_options)
    graph.sequence(*names)
    return graph


def items(store: Store, run_id: str = "r") -> list[Item]:
    records = [unseal(run_id, position, data) for position, data in store.read(run_id)]
    return [record for record in records if isinstance(record, Item)]


class Work:
    """A node of three steps; notes each call, and breaks before or in the step it is told to."""

    def __init__(self, breaks: str = "") -> None:
        self.calls: list[str] = []
        self.breaks = breaks

    def call(self, name: str, value: Any = 0) -> Any:
        self.calls.append(name)
        if name == self.breaks:
            raise OSError(f"{name} broke")
        return {"name": name, "rows": [(name, math.nan)], "value": value}

    def __call__(self, state: State, ctx: Context) -> dict[str, Any]:
        results = [ctx.step(name, self.call, name, value=state["x"]) for name in ("one", "two", "three")]
        return {"names": [result["name"] for result in results], "rows": results[0]["rows"]}


def test_a_finished_step_is_not_called_again_by_a_resume(store: Store) -> None:
    first, second = Work("three"), Work()
    with pytest.raises(ExecutionError) as caught:
        graph_of(store, first).execute({"x": 1}, run_id="r")
    assert isinstance(caught.value.__cause__, OSError)
    with elsewhere(store) as fresh:
        final = graph_of(fresh, second).resume("r")
    assert (first.calls, second.calls) == (["one", "two", "three"], ["three"])
    assert final["names"] == ["one", "two", "three"]
    assert repr(final["rows"]) == "[('one', nan)]"


def test_an_item_names_its_node_visit_and_step(store: Store) -> None:
    graph_of(store, Work()).execute({"x": 1}, run_id="r")
    assert [(item.scope, item.name, item.key) for item in items(store)] == [
        ((("n0", 1, name),), name, "") for name in ("one", "two", "three")
    ]
    assert all(item.seconds >= 0 and item.value is not None for item in items(store))


def test_every_attempt_finds_what_an_earlier_one_finished(store: Store) -> None:
    work = Work("two")

    def node(state: State, ctx: Context) -> Any:
        work.breaks = "two" if ctx.attempt < 3 else ""
        return work(state, ctx)

    graph_of(store, node, retry=Retry(attempts=3, delay=0.0)).execute({"x": 1}, run_id="r")
    assert work.calls == ["one", "two", "two", "two", "three"]


def test_each_visit_has_steps_of_its_own(store: Store) -> None:
    calls: list[int] = []

    def node(state: State, ctx: Context) -> dict[str, int]:
        def count() -> int:
            calls.append(ctx.visit)
            return len(calls)

        return {"n": ctx.step("count", count)}

    graph = StateGraph(config(store))
    graph.add_node("lap", node)
    graph.add_node("end", lambda state: None)
    graph.add_edge("lap", "lap", lambda state: state["n"] < 3)
    graph.add_edge("lap", "end")
    graph.set_entry_point("lap")
    graph.set_exit_point("end")
    assert graph.execute({}, run_id="r")["n"] == 3
    assert calls == [1, 2, 3]


def test_every_caller_gets_a_copy_and_the_first_gets_what_a_resume_gets(store: Store) -> None:
    original = {"rows": [1, 2], "blob": b"x" * 2000}
    seen: list[Any] = []

    def node(state: State, ctx: Context) -> dict[str, Any]:
        value = ctx.step("load", lambda: original)
        seen.append(value["rows"].copy())
        value["rows"].append(3)
        if len(seen) == 1:
            raise OSError
        return {"rows": value["rows"]}

    with pytest.raises(ExecutionError):
        graph_of(store, node).execute({}, run_id="r")
    assert graph_of(store, node).resume("r")["rows"] == [1, 2, 3]
    assert seen == [[1, 2], [1, 2]]
    assert original["rows"] == [1, 2]


def test_a_result_that_cannot_be_stored_is_refused_with_step_and_path(store: Store) -> None:
    def node(state: State, ctx: Context) -> None:
        ctx.step("load", lambda: {"rows": [1, object()]})

    with pytest.raises(ExecutionError) as caught:
        graph_of(store, node, retry=Retry(attempts=3, delay=0.0)).execute({}, run_id="r")
    error = caught.value.__cause__
    assert isinstance(error, UnserializableError)
    assert (error.key, error.node, error.path) == ("load", "n0", "step('load')['rows'][1]")
    assert items(store) == []


def test_a_result_that_is_too_deep_is_refused(store: Store) -> None:
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    with pytest.raises(ExecutionError) as caught:
        graph_of(store, lambda state, ctx: ctx.step("deep", lambda: deep)).execute({}, run_id="r")
    assert isinstance(caught.value.__cause__, LimitExceededError)


def test_a_name_is_for_one_step_of_a_visit() -> None:
    def node(state: State, ctx: Context) -> None:
        ctx.step("fit", int)
        ctx.step("fit", int)

    for store in (MemoryStore(), None):
        with pytest.raises(ExecutionError, match=r"two steps 'fit' in one visit.*a name of its own") as caught:
            graph_of(store, node).execute({}, run_id="r")
        assert isinstance(caught.value.__cause__, ConfigError)


@pytest.mark.parametrize("name", ["", "a\0b", 7, "\ud800", "x" * 300])
def test_a_name_that_cannot_be_one_is_refused(name: Any) -> None:
    with pytest.raises(ExecutionError, match="the name of a step") as caught:
        graph_of(MemoryStore(), lambda state, ctx: ctx.step(name, int)).execute({})
    assert isinstance(caught.value.__cause__, ConfigError)


def test_a_step_that_is_no_function_is_refused() -> None:
    with pytest.raises(ExecutionError, match="expected a function, found int"):
        graph_of(MemoryStore(), lambda state, ctx: ctx.step("a", 7)).execute({})


def test_a_step_that_failed_may_be_tried_again_under_its_name(store: Store) -> None:
    calls: list[int] = []

    def flaky() -> int:
        calls.append(1)
        if len(calls) < 3:
            raise OSError
        return len(calls)

    def node(state: State, ctx: Context) -> dict[str, int]:
        while True:
            try:
                return {"n": ctx.step("flaky", flaky)}
            except OSError:
                continue

    assert graph_of(store, node).execute({}, run_id="r")["n"] == 3
    assert len(items(store)) == 1


def test_steps_lie_inside_steps(store: Store) -> None:
    def node(state: State, ctx: Context) -> dict[str, int]:
        return {"n": ctx.step("outer", lambda: ctx.step("inner", lambda: 1) + 1)}

    assert graph_of(store, node).execute({}, run_id="r")["n"] == 2
    assert [item.name for item in items(store)] == ["inner", "outer"]


def test_a_keyword_of_the_function_may_be_called_name_or_function(store: Store) -> None:
    def node(state: State, ctx: Context) -> dict[str, Any]:
        return {"got": ctx.step("a", lambda **given: given, name="n", function="f")}

    assert graph_of(store, node).execute({}, run_id="r")["got"] == {"name": "n", "function": "f"}


def test_current_gives_the_step_too(store: Store) -> None:
    assert graph_of(store, lambda state: {"n": current().step("a", int, "7")}).execute({}, run_id="r")["n"] == 7


def test_without_a_store_a_step_just_calls_and_passes_by_reference() -> None:
    original = [object()]
    final = graph_of(None, lambda state, ctx: {"same": ctx.step("a", lambda: original) is original}).execute({})
    assert final["same"] is True


# Threads, tasks, async nodes.


async def test_an_async_function_is_awaited(store: Store) -> None:
    calls: list[str] = []
    broken = [True]

    async def fetch(url: str) -> dict[str, str]:
        calls.append(url)
        await asyncio.sleep(0)
        return {"url": url}

    async def node(state: State, ctx: Context) -> dict[str, Any]:
        first = await ctx.step("first", fetch, "a")
        if broken.pop():
            raise OSError
        return {"got": [first, await ctx.step("second", fetch, url="b")]}

    with pytest.raises(ExecutionError):
        await graph_of(store, node).aexecute({}, run_id="r")
    broken.append(False)
    assert (await graph_of(store, node).aresume("r"))["got"] == [{"url": "a"}, {"url": "b"}]
    assert calls == ["a", "b"]


async def test_many_tasks_share_commits(store: Store) -> None:
    async def square(n: int) -> int:
        await asyncio.sleep(0)
        return n * n

    async def node(state: State, ctx: Context) -> dict[str, Any]:
        return {"squares": await asyncio.gather(*(ctx.step(f"square {n}", square, n) for n in range(100)))}

    final = await graph_of(store, node).aexecute({}, run_id="r")
    assert final["squares"] == [n * n for n in range(100)]
    found = items(store)
    assert sorted(item.name for item in found) == sorted(f"square {n}" for n in range(100))
    assert len({item.token for item in found}) < 50


def test_steps_of_async_nodes_in_a_sync_run(store: Store) -> None:
    async def square(n: int) -> int:
        return n * n

    async def node(state: State, ctx: Context) -> dict[str, Any]:
        got = await asyncio.gather(*(ctx.step(f"square {n}", square, n) for n in range(10)))
        return {"got": [*got, ctx.step("sync", int, "7")]}

    assert graph_of(store, node).execute({}, run_id="r")["got"] == [*(n * n for n in range(10)), 7]


async def test_a_sync_step_waits_for_an_async_one_in_its_own_loop() -> None:
    """The commit under way is completed by the committer's thread, not by the loop that stands still."""

    async def one() -> int:
        return 1

    async def node(state: State, ctx: Context) -> dict[str, Any]:
        task = asyncio.ensure_future(ctx.step("async", one))
        await asyncio.sleep(0)
        two = ctx.step("sync", lambda: 2)
        return {"sum": two + await task}

    assert (await graph_of(MemoryStore(), node).aexecute({}, run_id="r"))["sum"] == 3


@pytest.mark.parametrize("run", ["execute", "aexecute"])
def test_many_threads_share_commits(store: Store, run: str) -> None:
    def node(state: State, ctx: Context) -> dict[str, Any]:
        with ThreadPoolExecutor(8) as pool:
            return {"squares": list(pool.map(lambda n: ctx.step(f"square {n}", pow, n, 2), range(100)))}

    graph = graph_of(store, node)
    final = asyncio.run(graph.aexecute({}, run_id="r")) if run == "aexecute" else graph.execute({}, run_id="r")
    assert final["squares"] == [n * n for n in range(100)]
    assert len(items(store)) == 100
    assert graph_of(store, node).resume("r")["squares"] == final["squares"]


async def test_a_cancelled_step_completes_its_commit_first(store: Store) -> None:
    gate = asyncio.Event()

    async def one() -> int:
        return 1

    async def node(state: State, ctx: Context) -> None:
        await ctx.step("one", one)
        gate.set()
        await asyncio.sleep(3600)

    task = asyncio.ensure_future(graph_of(store, node).aexecute({}, run_id="r"))
    await gate.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [item.name for item in items(store)] == ["one"]


async def test_a_step_that_is_stored_and_cancelled_after_that_is_told_as_complete(store: Store) -> None:
    """Observers were told of a failure, and of a step that was done before when it was asked for again."""

    async def one() -> int:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return 1

    async def node(state: State, ctx: Context) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.create_task(ctx.step("one", one))

    recorder = Recorder()
    await graph_of(store, node, observer=recorder).aexecute({}, run_id="r")
    told = [event.data for event in recorder.events if event.type == "step.complete"]
    assert [(one["step"], one["error"], one["resumed"]) for one in told] == [("one", False, False)]
    assert [item.name for item in items(store)] == ["one"]


def test_a_lambda_that_gives_a_coroutine_is_refused() -> None:
    async def one(n: int) -> int:
        return n

    async def node(state: State, ctx: Context) -> None:
        await ctx.step("one", lambda: one(1))

    with pytest.raises(ExecutionError, match="give the async function itself") as caught:
        graph_of(MemoryStore(), node).execute({})
    assert isinstance(caught.value.__cause__, UnserializableError)


# What came too late, and who is no owner any more.


class Zombie:
    """A node whose first attempt goes on after its timeout, and says how its late steps went."""

    def __init__(self) -> None:
        self.woken = threading.Event()
        self.ended = threading.Event()
        self.errors: list[Exception] = []

    def __call__(self, state: State, ctx: Context) -> dict[str, int]:
        if ctx.attempt == 1:
            ctx.step("early", int, "1")
            self.woken.wait()
            for late in (lambda: ctx.step("late", int, "2"), lambda: current().step("late", int, "3")):
                try:
                    late()
                except TauError as error:
                    self.errors.append(error)
            self.ended.set()
            return {}
        early = ctx.step("early", int, "9")
        self.woken.set()
        self.ended.wait()
        return {"early": early, "late": ctx.step("late", int, "4")}


@pytest.mark.parametrize("run", ["execute", "aexecute"])
def test_after_a_timeout_the_steps_of_the_zombie_are_refused(store: Store, run: str) -> None:
    zombie = Zombie()
    graph = graph_of(store, zombie, retry=Retry(attempts=9, delay=0.0), timeout=0.5, idempotent=True)
    final = asyncio.run(graph.aexecute({}, run_id="r")) if run == "aexecute" else graph.execute({}, run_id="r")
    assert dict(final) == {"early": 1, "late": 4}
    assert [type(error) for error in zombie.errors] == [TauError, TauError]
    assert "not running any more" in str(zombie.errors[0])
    assert [item.name for item in items(store)] == ["early", "late"]


def test_after_its_node_has_ended_a_thread_is_refused(store: Store) -> None:
    contexts: list[Context] = []
    graph_of(store, lambda state, ctx: contexts.append(ctx)).execute({}, run_id="r")
    with pytest.raises(TauError, match="not running any more"):
        contexts[0].step("late", int)


def test_who_was_superseded_is_told_in_the_step(store: Store) -> None:
    def node(state: State, ctx: Context) -> None:
        ctx.step("one", int)
        store.commit([taken(store)])
        ctx.step("two", int)

    with pytest.raises((LeaseLostError, ExecutionError)) as caught:
        graph_of(store, node, retry=Retry(attempts=3, delay=0.0)).execute({}, run_id="r")
    assert isinstance(caught.value, LeaseLostError) or isinstance(caught.value.__cause__, LeaseLostError)
    assert [item.name for item in items(store)] == ["one"]


def taken(store: Store) -> Batch:
    """A commit of somebody else."""
    from tau.host import Host
    from tau.log.encoding import seal
    from tau.log.records import Claimed

    summary = store.summary("r")
    assert summary is not None
    owner = Host().owner(60.0)
    record = Claimed(position=summary.position + 1, token=b"x", owner=owner)
    from msgspec.structs import replace

    after = replace(summary, position=summary.position + 1, owner=owner)
    return Batch("r", summary.position, b"x", (seal("r", record),), (), after)


def test_a_cancelled_run_is_told_in_the_step(store: Store) -> None:
    graph = graph_of(store, lambda state, ctx: (ctx.step("one", int), graph.cancel("r"), ctx.step("two", int)))
    with pytest.raises(RunCancelledError):
        graph.execute({}, run_id="r")


# Intervals, edits, damage, events.


def test_a_step_saves_what_an_interval_held_back(store: Store) -> None:
    recorder = Recorder()
    stopped = graph_of(store, lambda state: {"a": 1}, Work(), Work("one"), interval=5, observer=recorder)
    with pytest.raises(ExecutionError):
        stopped.execute({"x": 1}, run_id="r")
    assert [record.name for record in items(store)] == ["one", "two", "three"]
    saves = [event.data["node"] for event in recorder.events if event.type == "checkpoint.save"]
    assert saves == ["n0", "n1"]


def test_a_changed_node_with_items_is_judged(store: Store) -> None:
    with pytest.raises(ExecutionError):
        graph_of(store, Work("three")).execute({"x": 1}, run_id="r")
    with pytest.raises(GraphChangedError):
        graph_of(store, Work(), version="2").resume("r")
    assert not graph_of(store, Work(), version="2").plan("r").can_resume
    kept = Work("two")
    with pytest.raises(ExecutionError):
        graph_of(store, Work("three"), version="2").resume("r", on_change="continue")
    again = Work()
    assert graph_of(store, again, version="3").resume("r", on_change="redo")["names"] == ["one", "two", "three"]
    assert again.calls == ["one", "two", "three"]
    assert kept.calls == []


def test_what_was_redone_and_broke_off_is_found_by_the_next_resume(store: Store) -> None:
    with pytest.raises(ExecutionError):
        graph_of(store, Work("three")).execute({"x": 1}, run_id="r")
    with pytest.raises(ExecutionError):
        graph_of(store, Work("two"), version="2").resume("r", on_change="redo")
    last = Work()
    graph_of(store, last, version="2").resume("r")
    assert last.calls == ["two", "three"]


def test_a_state_saved_by_hand_has_no_items(store: Store) -> None:
    with pytest.raises(ExecutionError):
        graph_of(store, Work("three")).execute({"x": 1}, run_id="r")
    store.save(store.load("r").set("x", 2))
    again = Work()
    graph_of(store, again).resume("r")
    assert again.calls == ["one", "two", "three"]


def test_items_of_many_visits_are_found_from_the_newest_manifest_alone(store: Store) -> None:
    def lap(state: State, ctx: Context) -> dict[str, Any]:
        for n in range(30):
            ctx.step(f"s{n}", calls.append, (ctx.visit, n))
            if (ctx.visit, n) == (8, 20) and ctx.attempt == 1 and len(broken) == 0:
                broken.append(1)
                raise OSError
        return {"n": ctx.visit}

    calls: list[tuple[int, int]] = []
    broken: list[int] = []
    graph = StateGraph(config(store))
    graph.add_node("lap", lap)
    graph.add_node("end", lambda state: None)
    graph.add_edge("lap", "lap", lambda state: state["n"] < 10)
    graph.add_edge("lap", "end")
    graph.set_entry_point("lap")
    graph.set_exit_point("end")
    with pytest.raises(ExecutionError):
        graph.execute({}, run_id="r")
    summary = store.summary("r")
    assert summary is not None
    assert 1 < summary.base < summary.position
    graph.resume("r")
    assert calls == [(visit, n) for visit in range(1, 11) for n in range(30)]


def test_a_damaged_item_is_passed_over_and_its_step_called_again(tmp_path: Path) -> None:
    store = Damaging()
    with pytest.raises(ExecutionError):
        graph_of(store, Work("three")).execute({"x": 1}, run_id="r")
    store.damaged = 4  # the item of step two
    again = Work()
    assert graph_of(store, again).resume("r")["names"] == ["one", "two", "three"]
    assert again.calls == ["two", "three"]


class Damaging(MemoryStore):
    """Gives one record with a bit flipped, and no blobs where told so."""

    damaged = 0
    lose_blobs = False

    def read(self, run_id: str, after: int = 0) -> list[tuple[int, bytes]]:
        rows = super().read(run_id, after)
        return [(n, data[:-1] + bytes([data[-1] ^ 1]) if n == self.damaged else data) for n, data in rows]

    def blobs(self, run_id: str, digests: Any) -> Any:
        return {} if self.lose_blobs else super().blobs(run_id, digests)


def test_a_lost_result_stops_the_run_even_if_the_node_swallows_the_error() -> None:
    def node(state: State, ctx: Context) -> dict[str, Any]:
        try:
            size = len(ctx.step("load", bytes, 5000))
        except Exception:
            size = -1
        if ctx.attempt == 1 and not broken:
            broken.append(1)
            raise OSError
        return {"size": size}

    broken: list[int] = []
    store = Damaging()
    with pytest.raises(ExecutionError):
        graph_of(store, node).execute({}, run_id="r")
    store.lose_blobs = True
    with pytest.raises(ExecutionError) as caught:
        graph_of(store, node).resume("r")
    damage = caught.value.__cause__
    assert isinstance(damage, CorruptCheckpointError)
    assert "the result of step 'load': resume with on_change='redo' does all steps of this visit anew" in str(damage)
    assert graph_of(store, node).resume("r", on_change="redo")["size"] == 5000


class Cut(StoreWrapper):
    """A store behind a line that is cut from time to time; a commit gets through first where ``late``."""

    cut = False

    def __init__(self, store: Store, late: bool) -> None:
        super().__init__(store)
        self.late = late

    def call(self, method: str, *arguments: Any) -> Any:
        if self.cut and self.late and method == "commit":
            super().call(method, *arguments)
        if self.cut:
            raise StoreUnavailableError("the line is cut; try again")
        return super().call(method, *arguments)


@pytest.mark.parametrize("late", [False, True], ids=["not stored", "stored, and the reply lost"])
@pytest.mark.parametrize("interval", [1, 3])
def test_a_commit_that_failed_is_tried_again_without_calling_the_function_again(late: bool, interval: int) -> None:
    store = Cut(MemoryStore(), late)
    calls: list[int] = []

    def node(state: State, ctx: Context) -> dict[str, int]:
        store.cut = True
        with pytest.raises(StoreUnavailableError):
            ctx.step("one", calls.append, 1)
        store.cut = False
        ctx.step("one", calls.append, 1)
        return {"n": len(calls)}

    patient = {"interval": interval, "lease": 1.0}  # which waits for its store for half the lease
    graph = graph_of(store, lambda state: {"a": 1}, node, **patient)
    assert graph.execute({}, run_id="r")["n"] == 1
    assert [item.name for item in items(store)] == ["one"]


def test_events_tell_of_steps(store: Store) -> None:
    recorder = Recorder()
    with pytest.raises(ExecutionError):
        graph_of(store, Work("two"), observer=recorder).execute({"x": 1}, run_id="r")
    graph_of(store, Work(), observer=recorder).resume("r")
    told = [event for event in recorder.events if event.type.startswith("step.")]
    assert [(event.type[5:], event.data["step"], event.data["resumed"]) for event in told] == [
        ("start", "one", False), ("complete", "one", False), ("start", "two", False), ("complete", "two", False),
        ("start", "one", True), ("complete", "one", True), ("start", "two", False), ("complete", "two", False),
        ("start", "three", False), ("complete", "three", False),
    ]  # fmt: skip
    failed = told[3].data
    assert (failed["error"], failed["error_type"]) == (True, "OSError")
    done = told[1].data
    assert (done["node"], done["visit"], done["attempt"], done["run_id"]) == ("n0", 1, 1, "r")
    assert done["duration_seconds"] >= 0
    assert done["error"] is False


def test_what_a_log_adds_up_to_holds_only_the_items_of_the_node_in_flight(store: Store) -> None:
    with pytest.raises(ExecutionError):
        graph_of(store, Work(), Work("two")).execute({"x": 1}, run_id="r")
    fold = Replay("r", BlobLoader(store, "r"))
    for position, data in store.read("r"):
        fold.add(position, data)
    assert [scope for scope, _ in fold.items.single] == [(("n1", 1, "one"),)]
    graph_of(store, Work(), Work()).resume("r")
    fold = Replay("r", BlobLoader(store, "r"))
    for position, data in store.read("r"):
        fold.add(position, data)
    assert not fold.items


def test_a_store_of_four_verbs_keeps_items(tmp_path: Path) -> None:
    store, calls = InBytes(), []

    def node(state: State, ctx: Context) -> dict[str, int]:
        size = len(ctx.step("load", lambda: calls.append(1) or bytes(5000)))
        if ctx.attempt == 1 and len(tried) == 0:
            tried.append(1)
            raise OSError
        return {"size": size}

    tried: list[int] = []
    with pytest.raises(ExecutionError):
        graph_of(store, node).execute({}, run_id="r")
    assert graph_of(store, node).resume("r")["size"] == 5000
    assert calls == [1]
