"""A map whose items are worked on by a dask cluster: dask distributes, the log keeps."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import distributed
import process_tasks as tasks
import pytest
from test_process_items import LONG, lines, soon, until

from tau import (
    ConfigError,
    ExecutionError,
    ExecutorError,
    NodeTimeoutError,
    ParallelConfig,
    ParallelError,
    RemoteError,
    Retry,
    StateGraph,
    WorkerError,
    open_store,
    process_parallel,
)
from tau.log.encoding import unseal
from tau.log.records import Item


@contextmanager
def cluster(workers: int = 2, allowed_failures: int = 1) -> Iterator[Any]:
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}),  # after that it does not replace a worker
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"allowed_failures": allowed_failures},
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as opened,
    ):
        yield opened


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with cluster() as opened:
        yield opened


@pytest.fixture
def expendable() -> Iterator[Any]:
    """A client of a cluster whose workers may be killed: dask does not always replace those."""
    with cluster() as opened:
        yield opened


def config(client: Any, **options: Any) -> ParallelConfig:
    return ParallelConfig(executor=client, **{"observer": None, **options})


def graph_of(node: Any, store: str) -> StateGraph:
    graph = StateGraph("g", store=store)
    graph.add_node("node", node, version="1")
    graph.sequence("node")
    return graph


def items_of(store: str, run_id: str) -> Counter[str]:
    """How often each item is in the log of a run."""
    with open_store(store) as opened:
        found = [unseal(run_id, position, data) for position, data in opened.read(run_id)]
    return Counter(record.key for record in found if isinstance(record, Item))


def test_results_come_in_order_and_the_client_stays_open(client: Any) -> None:
    assert process_parallel(range(50), tasks.same, config(client)).results == [*range(50)]
    assert process_parallel([(1, {2})], tasks.same, config(client)).results == [(1, {2})]
    assert process_parallel([tasks.Plain(3)], tasks.same, config(client)).results == [tasks.Plain(3)]
    assert client.status == "running"


def test_a_cluster_may_be_named_by_its_address_also_in_json(client: Any) -> None:
    named = ParallelConfig.from_dict({"executor": f"dask:{client.scheduler.address}", "observer": None})
    assert ParallelConfig.from_json(named.to_json()) == named
    assert process_parallel(range(5), lambda item: item + 1, named).results == [1, 2, 3, 4, 5]


def test_a_map_may_have_a_cluster_of_its_own() -> None:
    own = ParallelConfig(executor="dask", max_workers=1, observer=None)
    assert process_parallel(range(5), tasks.same, own).results == [*range(5)]


@pytest.mark.deep
def test_a_cluster_of_its_own_replaces_what_dask_does_not() -> None:
    own = ParallelConfig(executor="dask", max_workers=1, observer=None, fail_fast=False)
    result = process_parallel(range(5), tasks.die, own)
    assert result.results == [0, -1, -3, -4]
    assert isinstance(result.errors[0].error, WorkerError)


async def test_async_functions_run_in_a_loop_of_the_worker(client: Any) -> None:
    assert (await process_parallel(range(5), tasks.same_later, config(client))).results == [*range(5)]


def test_keys_hold_run_scope_and_item_and_the_context_is_told(client: Any) -> None:
    found: dict[str, Any] = {}

    def node(state: Any, ctx: Any) -> None:
        found["keys"] = ctx.map("keyed", tasks.dask_key, [1, 2], executor=client)
        for executor in ("threads", client):
            found[str(executor)[:7]] = ctx.map(f"told {executor!s:.7}", tasks.here, [1, 2], executor=executor)
        found["refused"] = ctx.map("refused", tasks.out_of_reach, ["step", "map"], executor=client)

    graph_of(node, "memory:").execute({}, run_id="dask keys", seed=7)
    assert len(set(found["keys"])) == 2
    assert all(key.startswith("tau/dask keys/node/1/") and "keyed" in key for key in found["keys"])
    assert found["threads"] == found["<Client"]
    assert all("call them around the map" in said for said in found["refused"])


@pytest.mark.parametrize("count", [300, pytest.param(2000, marks=pytest.mark.deep)])
def test_a_worker_that_is_killed_costs_its_item_and_each_is_committed_once(
    expendable: Any, tmp_path: Path, count: int
) -> None:
    place, store = tmp_path / "place", f"sqlite:///{tmp_path}/runs.db"

    def node(state: Any, ctx: Any) -> Any:
        items = [(number, str(place)) for number in range(count)]
        return {"out": ctx.map("m", tasks.killed_once, items, executor=expendable)}

    graph = graph_of(node, store)
    assert graph.execute({}, run_id="r")["out"] == [*range(count)]
    assert place.with_name("place.killed").exists()
    counts = items_of(store, "r")
    assert (len(counts), max(counts.values())) == (count, 1)


def test_an_item_that_kills_each_worker_is_an_error_that_names_it(expendable: Any) -> None:
    result = process_parallel(range(5), tasks.die, config(expendable, fail_fast=False))
    assert result.results == [0, -1, -3, -4]
    [error] = result.errors
    assert (error.index, error.item) == (2, 2)
    assert isinstance(error.error, WorkerError)


def test_an_item_that_waited_on_the_worker_that_another_killed_is_not_blamed(tmp_path: Path) -> None:
    with cluster(workers=1, allowed_failures=0) as alone:

        def kill_when_both_are_there() -> None:
            until(lambda: sum(map(len, alone.processing().values())) == 2)
            (tmp_path / "place.go").write_text("")

        killing = threading.Thread(target=kill_when_both_are_there)
        killing.start()
        items = [(number, str(tmp_path / "place")) for number in range(4)]
        result = process_parallel(items, tasks.die_when_told, config(alone, fail_fast=False))
        killing.join(LONG)
    assert result.results == [1, 2, 3]
    [error] = result.errors
    assert error.index == 0
    assert isinstance(error.error, WorkerError)
    assert "also when it was tried alone" in str(error.error)


def test_errors_come_back_as_what_they_are_and_are_tried_again(client: Any, tmp_path: Path) -> None:
    with pytest.raises(ParallelError, match="no line 1") as caught:
        process_parallel([1], tasks.fail, config(client))
    assert isinstance(caught.value.__cause__, ConnectionError)
    with pytest.raises(ParallelError) as caught:
        process_parallel([3], tasks.fail_oddly, config(client))
    assert isinstance(caught.value.__cause__, RemoteError)
    retried = config(client, retry=Retry(attempts=2, delay=0.0, on=(ConnectionError,)))
    assert process_parallel([str(tmp_path / "tries")], tasks.fail_once, retried).results == [7]


@pytest.mark.parametrize("twice", [False, True])
def test_an_item_that_took_too_long_is_not_tried_beside_itself_unless_it_may_be(
    client: Any, tmp_path: Path, twice: bool
) -> None:
    place = tmp_path / "calls"
    timeout = 3.0 if twice else 1.0  # within it the second call has begun, on a busy machine too
    options = {"timeout": timeout, "retry": Retry(attempts=2, delay=0.0), "idempotent": twice}
    try:
        with pytest.raises(ParallelError, match=f"did not finish within its timeout of {timeout:g} s") as caught:
            process_parallel([(20, str(place))], tasks.in_flight, config(client, **options))
        assert isinstance(caught.value.__cause__, NodeTimeoutError)
        until(lambda: len(lines(place)) == (2 if twice else 1))
    finally:
        place.with_name("calls.go").write_text("")


async def test_a_cancellation_does_not_wait_for_the_cluster(client: Any, tmp_path: Path) -> None:
    place = tmp_path / "calls"

    async def call(item: tuple[int, str]) -> int:
        return tasks.in_flight(item)

    try:
        task = asyncio.create_task(process_parallel([(20, str(place))], call, config(client)))
        await soon(lambda: lines(place))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        place.with_name("calls.go").write_text("")


def test_a_worker_whose_function_is_another_is_refused(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "dask_task.py").write_text("def task(item):\n    return item\n")
    import dask_task  # type: ignore[import-not-found]

    (tmp_path / "dask_task.py").write_text("def task(item):\n    return item + 1\n")
    with pytest.raises(ExecutorError, match=r"dask_task.task is another function in the worker"):
        process_parallel(range(100), dask_task.task, config(client, fail_fast=False))


CLUSTER = """
import sys, time
from distributed import LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0")
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""


def test_a_cluster_that_goes_away_is_an_error_and_what_is_finished_is_kept(tmp_path: Path) -> None:
    script, place = tmp_path / "cluster.py", tmp_path / "calls"
    script.write_text(CLUSTER)
    command = [sys.executable, str(script)]
    cluster = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert cluster.stdout is not None
    try:
        executors, finished = [f"dask:{cluster.stdout.readline().strip()}", "threads"], list[int]()

        def node(state: Any, ctx: Any) -> Any:
            items = [(number, str(place)) for number in range(30)]
            return {"out": ctx.map("m", tasks.in_flight, items, executor=executors.pop(0), progress=killing)}

        def killing(done: int, total: int | None, result: int) -> None:
            finished.append(result)
            if done == 10:  # dask may begin those that hold on before the last of the others
                cluster.kill()

        graph = graph_of(node, f"sqlite:///{tmp_path}/runs.db")
        with pytest.raises(ExecutionError) as caught:
            graph.execute({}, run_id="r")
        assert isinstance(caught.value.__cause__, ExecutorError)
        assert "start the cluster again and resume" in str(caught.value.__cause__)
        place.with_name("calls.go").write_text("")
        kept = [*finished]
        assert len(kept) >= 10
        assert graph.resume("r")["out"] == [*range(30)]
        counts = Counter(lines(place))
        assert all(counts[str(number)] == 1 for number in kept)
    finally:
        cluster.kill()
        cluster.communicate(timeout=LONG)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_map_whose_items_are_all_finished_needs_no_cluster(tmp_path: Path, is_async: bool) -> None:
    broken = [True]

    def ended() -> None:
        if broken.pop():
            raise OSError("disk full")

    def node(state: Any, ctx: Any) -> Any:
        found = ctx.map("m", tasks.same, range(9), executor=executor)
        ended()
        return {"out": found}

    async def node_later(state: Any, ctx: Any) -> Any:
        found = await ctx.map("m", tasks.same_later, range(9), executor=executor)
        ended()
        return {"out": found}

    graph = graph_of(node_later if is_async else node, f"sqlite:///{tmp_path}/runs.db")
    with cluster() as opened:
        executor = f"dask:{opened.scheduler.address}"
        with pytest.raises(ExecutionError, match="disk full"):
            graph.execute({}, run_id="r")
    broken.append(False)
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        assert graph.resume("r")["out"] == [*range(9)]


def test_a_scheduler_that_does_not_answer_is_an_error() -> None:
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(
            ExecutorError, match=r"cannot use a dask cluster at tcp://127.0.0.1:1: .*; see that its scheduler"
        ),
    ):
        process_parallel([1], tasks.same, ParallelConfig(executor="dask:tcp://127.0.0.1:1", observer=None))


def test_a_client_that_is_closed_or_asynchronous_is_an_error(client: Any) -> None:
    other = distributed.Client(client.scheduler.address, set_as_default=False)
    other.close()
    with pytest.raises(ExecutorError, match=r"is away .it is closed.; start the cluster again"):
        process_parallel([1], tasks.same, config(other))
    with pytest.raises(ConfigError, match="executor: expected a name, because JSON cannot hold a client"):
        config(client).to_json()


async def test_an_asynchronous_client_is_refused(client: Any) -> None:
    async with distributed.Client(client.scheduler.address, asynchronous=True, set_as_default=False) as later:
        with pytest.raises(ConfigError, match="executor: a Client that is asynchronous"):
            config(later)


def test_without_distributed_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"needs distributed: pip install 'tau-orchestrate.dask.'"):
        process_parallel([1], tasks.same, ParallelConfig(executor="dask", observer=None))


@pytest.mark.parametrize("value", ["dask:", "dsak", "processes:2", "threads:4", object(), 3])
def test_an_executor_that_there_is_not_is_refused_with_those_that_there_are(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"executor: expected one of 'inline', 'threads', 'processes', 'dask'"):
        ParallelConfig(executor=value)
