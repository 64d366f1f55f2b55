"""PostgreSQL and Redis: a step beside a bare commit, many runs beside one, a listing among 100,000 runs.

They start the servers that the tests start, with their files in the directory of the benchmark."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import steps
from measure import HERE, Figure

from tau import CheckpointConfig, GraphConfig, State, StateGraph
from tau.stores.contract import Store
from tau.stores.postgres import PostgresStore
from tau.stores.redis import RedisStore
from tau.testing.store_contract.batches import batch, owner

sys.path.insert(0, str(HERE.parent / "tests"))
from postgres_server import Server
from redis_server import Server as RedisServer

RUNS, NODES = 200, 10
LISTED = 100_000


def postgres(root: Path) -> Iterator[Figure]:
    """Durable steps in turns with bare inserts; group commit; a listing."""
    server = Server(Path(tempfile.mkdtemp(prefix="tau-pg-", dir=root.parent)))
    try:
        with closing(psycopg.connect(server.url(), autocommit=True)) as connection:
            commit = bare_insert(connection)
            with PostgresStore(server.url()) as store:
                yield from steps.on_disk("PostgreSQL", store, commit, 1.5, 0.0)
                yield many("PostgreSQL", store)
                yield listing("PostgreSQL", store)
    finally:
        server.close()


def redis(root: Path) -> Iterator[Figure]:
    """Durable steps in turns with bare SETs, each of which is synced; group commit; a listing."""
    server = RedisServer(Path(tempfile.mkdtemp(prefix="tau-valkey-", dir=root.parent)))
    try:
        with server.client() as client, RedisStore(server.url()) as store:
            yield from steps.on_disk("Redis", store, lambda data: client.set("bare", data), 2.0, 0.0)
            yield many("Redis", store)
            yield listing("Redis", store)
    finally:
        server.close()


def bare_insert(connection: psycopg.Connection[Any]) -> Callable[[bytes], object]:
    """One row and its commit in one round trip, which is the least that an insert can be."""
    connection.execute("create table bare(id bigint generated always as identity primary key, data bytea)")
    connection.prepare_threshold = None
    return lambda data: connection.execute("insert into bare(data) values(%b)", (data,))


def many(server: str, store: Store) -> Figure:
    """200 runs of 10 async nodes at once in one loop, beside one such run after the other."""

    async def node(state: State) -> dict[str, int]:
        return {"number": state["number"] + 1}

    checkpoint = CheckpointConfig(store=store, interval=1, preserve=True)
    graph = StateGraph(GraphConfig("many", observer=None, checkpoint=checkpoint))
    names = [f"node{number}" for number in range(NODES)]
    for name in names:
        graph.add_node(name, node)
    graph.sequence(*names)

    async def at_once(count: int) -> float:
        began = time.perf_counter()
        await asyncio.gather(*[graph.aexecute({"number": 0}) for _ in range(count)])
        return count * NODES / (time.perf_counter() - began)

    async def one_by_one(count: int) -> float:
        return statistics.median([await at_once(1) for _ in range(count)])

    alone, together = [], []
    for _ in range(7):
        alone.append(asyncio.run(one_by_one(15)))
        together.append(asyncio.run(at_once(RUNS)))
    one, all_of_them = statistics.median(alone), statistics.median(together)
    ratios = [many / one for one, many in zip(alone, together, strict=True)]
    note = f"steps a second: {all_of_them:,.0f} and {one:,.0f}"
    what = f"{RUNS} runs x {NODES} async nodes, {server}, beside one run"
    return Figure(what, statistics.median(ratios), 8.0, "x", note, at_least=True, best=max(ratios))


def listing(server: str, store: Store) -> Figure:
    for start in range(0, LISTED, 500):
        store.commit(
            [
                batch(f"run {n}", 0, [os.urandom(300)], owner=owner() if n % 2 else None, updated=time.time())
                for n in range(start, start + 500)
            ]
        )
    times = []
    for _ in range(30):
        began = time.perf_counter()
        assert len(store.runs(limit=50)) == 50
        times.append((time.perf_counter() - began) * 1000)
    what = f"runs(limit=50) among {LISTED:,} runs, {server}"
    return Figure(what, statistics.median(times), 10.0, "ms", f"least {min(times):.1f} ms", best=min(times))
