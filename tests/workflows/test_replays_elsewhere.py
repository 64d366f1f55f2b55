"""Replays of what other processes did: items of worker processes and of dask, and nodes that run elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import distributed
import process_tasks as tasks
import pytest

from tau import ExecutionError, ReplayError, StateGraph


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}),
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        distributed.Client(cluster, set_as_default=False) as opened,
    ):
        yield opened


def graph_of(node: Any, place: Path, **options: Any) -> StateGraph:
    graph = StateGraph("g", store=f"sqlite:///{place}/runs.db")
    graph.add_node("node", node, version="1", **options)
    graph.sequence("node")
    return graph


@pytest.mark.parametrize("where", ["processes", "dask"])
def test_items_that_were_done_elsewhere_are_not_done_again(
    request: pytest.FixtureRequest, tmp_path: Path, where: str
) -> None:
    executor = "processes" if where == "processes" else request.getfixturevalue("client")

    def graph(count: int) -> StateGraph:
        items = [(str(tmp_path / "done"), number) for number in range(count)]
        return graph_of(
            lambda state, ctx: {"out": len(ctx.map("m", tasks.noted, items, executor=executor, workers=1))},
            tmp_path,
        )

    assert graph(5).execute({}, run_id="r")["out"] == 5
    assert graph(5).replay("r", new_run_id="b")["out"] == 5
    assert (tmp_path / "done").read_text().split() == ["0", "1", "2", "3", "4"]
    with pytest.raises(ExecutionError) as caught:
        graph(6).replay("r", new_run_id="c")
    assert isinstance(caught.value.__cause__, ReplayError)
    assert graph(6).replay("r", new_run_id="d", missing="call")["out"] == 6
    assert (tmp_path / "done").read_text().split() == ["0", "1", "2", "3", "4", "5"]


def test_a_node_that_runs_elsewhere_runs_again_as_all_nodes_do(tmp_path: Path) -> None:
    graph = graph_of(tasks.node_that_notes, tmp_path, executor="processes")
    place = str(tmp_path / "done")
    assert graph.execute({"place": place}, run_id="r")["count"] == 1
    assert graph.replay("r")["count"] == 2
