"""What an S3 store asks of its service, and so what it costs: the figures of docs/stores.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from s3_proxy import S3Proxy

from s3_server import Server, through
from tau import CheckpointConfig, GraphConfig, StateGraph
from tau.stores.contract import Query, Store
from tau.stores.s3 import S3Store
from tau.testing.store_contract.batches import batch, one, owner

PRICES = {"PUT": 5.0, "LIST": 5.0, "GET": 0.4, "HEAD": 0.4, "DELETE": 0.0}  # millionths of a dollar


@pytest.fixture
def proxy(s3: Server) -> Iterator[S3Proxy]:
    with S3Proxy(s3.port) as proxy:
        yield proxy


@pytest.fixture
def store(proxy: S3Proxy, s3_url: str) -> Iterator[Store]:
    with S3Store(through(s3_url, proxy.port)) as store:
        assert one(store, batch("warm", 0, status="finished")) == 1
        proxy.count()
        yield store


def dollars(requests: dict[str, int]) -> float:
    """In millionths."""
    return sum(PRICES[kind] * count for kind, count in requests.items())


def test_a_step_is_one_object_and_one_look(store: Store, proxy: S3Proxy) -> None:
    """Whatever the run's length and however many steps it has been."""
    assert one(store, batch("r", 0, owner=owner("a"))) == 1
    first = proxy.count()
    assert first == {"LIST": 2, "PUT": 1}
    for position in range(1, 60):
        assert one(store, batch("r", position, owner=owner("a"))) == position + 1
        assert proxy.count() == {"PUT": 1, "HEAD": 1}
    assert one(store, batch("r", 60, 5, owner=owner("a"))) == 65
    assert proxy.count() == {"PUT": 1, "HEAD": 1}


def test_a_large_blob_is_one_more(store: Store, proxy: S3Proxy) -> None:
    assert one(store, batch("r", 0, owner=owner("a"))) == 1
    proxy.count()
    blobs = [(b"large", b"x" * 200_000), (b"small", b"y" * 1000)]
    assert one(store, batch("r", 1, owner=owner("a"), blobs=blobs)) == 2
    assert proxy.count() == {"PUT": 2, "HEAD": 1}


def test_a_renewal(store: Store, proxy: S3Proxy) -> None:
    assert one(store, batch("r", 0, owner=owner("a"))) == 1
    proxy.count()
    for _ in range(3):
        assert store.renew("r", "a", 300.0)
        assert proxy.count() == {"LIST": 1, "GET": 1, "PUT": 1}


def test_many_commits_are_read_by_few_requests(s3_url: str, proxy: S3Proxy, store: Store) -> None:
    """They were merged; an owner that is new to the run gets what it holds, once."""
    for position in range(300):
        assert one(store, batch("r", position, owner=owner("a"))) == position + 1
    spent = proxy.count()
    assert spent["PUT"] == 300 + 4
    assert spent.get("GET", 0) <= 8
    with S3Store(through(s3_url, proxy.port)) as other:
        assert len(other.read("r")) == 300
        found = proxy.count()
        assert found["LIST"] == 1
        assert found["GET"] <= 1 + 64 + 4


def steps(store: Store, count: int, *, preserve: bool) -> StateGraph:
    checkpoint = CheckpointConfig(store=store, interval=1, preserve=preserve)
    graph = StateGraph(GraphConfig("steps", checkpoint=checkpoint, max_iterations=count + 1))

    def step(state: Any) -> Any:
        return {"count": state.get("count", 0) + 1}

    graph.add_node("step", step, version="1")
    graph.add_node("end", lambda state: None, version="1")
    graph.add_edge("step", "end", lambda state: state["count"] == count - 1)
    graph.add_edge("step", "step")
    graph.set_entry_point("step")
    graph.set_exit_point("end")
    return graph


@pytest.mark.parametrize(("preserve", "most"), [(True, 620.0), (False, 650.0)])
def test_a_run_of_a_hundred_steps(store: Store, proxy: S3Proxy, *, preserve: bool, most: float) -> None:
    """Admission, claim, steps, merging, the end, and the deletion if nothing is kept."""
    steps(store, 100, preserve=preserve).execute({}, run_id="r")
    spent = proxy.count()
    assert dollars(spent) <= most


def test_what_a_listing_has_seen_is_not_read_again(s3_url: str, proxy: S3Proxy, store: Store) -> None:
    """Neither by the process that listed, nor, once there are many, by another one."""
    store.commit([batch(f"r{number}", 0, status="finished") for number in range(40)])
    proxy.count()
    assert len(store.select(Query())) == 41
    spent = Counter(proxy.count())
    assert spent["LIST"] == 1
    assert len(store.select(Query())) == 41
    assert proxy.count() == {"LIST": 1}
    assert store.due("graph", 9) == []
    assert proxy.count() == {"LIST": 1}
    assert one(store, batch("r3", 1, status="finished")) == 2
    proxy.count()
    assert store.select(Query(limit=1))[0].run_id == "r3"
    assert proxy.count() == {"LIST": 1}
    with S3Store(through(s3_url, proxy.port)) as other:
        assert len(other.select(Query())) == 41
        assert proxy.count() == {"GET": 3, "LIST": 1}  # the marker, the index, what has changed since
    store.close()


def test_watching_many_owners_costs_by_those_that_gave_a_sign_of_life(store: Store, proxy: S3Proxy) -> None:
    assert store.commit([batch(f"r{n}", 0, owner=owner("a"), not_before=1.0) for n in range(30)]) == [1] * 30
    for number in range(30):
        assert store.renew(f"r{number}", "a", 300.0)
    assert len(store.due("graph", 9)) == 30
    proxy.count()
    before = dict(store.due("graph", 9))
    assert proxy.count() == {"LIST": 2}
    assert store.renew("r7", "a", 300.0)
    proxy.count()
    after = dict(store.due("graph", 9))
    assert proxy.count() == {"LIST": 2}
    assert [row.run_id for row in after if after[row] != before[row]] == ["r7"]
    assert store.due("graph", 9, watched=False) == []
    assert proxy.count() == {"LIST": 1}


@pytest.mark.parametrize(("config", "seconds"), [({}, 300.0), ({"lease": 61.0}, 61.0)])
def test_the_default_lease_of_a_graph_is_that_of_its_store(
    s3_url: str, config: dict[str, float], seconds: float
) -> None:
    checkpoint = CheckpointConfig(store=s3_url, interval=1, preserve=True, **config)  # type: ignore[arg-type]
    graph = StateGraph(GraphConfig("g", observer=None, checkpoint=checkpoint))
    found = []
    graph.add_node("look", lambda _: found.append(graph.store.summary("r").owner.lease))  # type: ignore[union-attr]
    graph.sequence("look")
    graph.execute({}, run_id="r")
    assert found == [seconds]
