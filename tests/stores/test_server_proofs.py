"""Stores of servers under thousands of odd inputs: flipped and cut bytes in what they keep, names that look like
language."""

from __future__ import annotations

import random
from contextlib import closing
from typing import Any

import psycopg
import pytest
from psycopg import sql
from servers import Served, served

from tau import CheckpointConfig, GraphConfig, StateGraph
from tau.errors import CorruptCheckpointError
from tau.stores.contract import Query, Store
from tau.testing.store_contract.batches import batch

__all__ = ["served"]

DEEP = pytest.mark.deep
COLUMNS = (("runs", "summary"), ("log", "record"), ("blobs", "data"), ("blobs", "digest"))


def preserved(store: Store) -> StateGraph:
    """A finished run ``r``, with values in records and in blobs."""
    config = GraphConfig("g", checkpoint=CheckpointConfig(store=store, interval=1, preserve=True))
    graph = StateGraph(config)
    graph.add_node("a", lambda state: {"list": [1.5, "x", None] * 50, "text": "y" * 300}, version="1")
    graph.add_node("b", lambda state: {"large": [str(n) * 7 for n in range(3000)], "count": 2}, version="1")
    graph.add_node("c", lambda state: {"text": state["text"] + "z", "bytes": bytes(range(256)) * 30}, version="1")
    graph.sequence("a", "b", "c")
    return graph


def all_of(graph: StateGraph) -> Any:
    """Everything that is told of the run, its steps and values included."""
    assert graph.store is not None
    steps = [(entry.node, entry.position, sorted(entry.state.items())) for entry in graph.history("r")]
    (row,) = graph.store.runs()
    return steps, sorted(graph.store.load("r").items()), row


class Rows:
    """The bytes that PostgreSQL keeps."""

    def __init__(self, served: Served) -> None:
        self._connection = psycopg.connect(served.url, autocommit=True)

    def pick(self, chance: random.Random) -> tuple[bytes, Any]:
        """Some of them, and where they are."""
        table, column = chance.choice(COLUMNS)
        read = self._connection.execute(text("select {1} from tau.{0}", table, column), binary=True)
        return bytes(chance.choice(read.fetchall())[0]), text(
            "update tau.{0} set {1} = %b where {1} = %b", table, column
        )

    def put(self, where: Any, before: bytes, after: bytes) -> None:
        self._connection.execute(where, (after, before))

    def close(self) -> None:
        self._connection.close()


class Keys:
    """The same for Redis."""

    def __init__(self, served: Served) -> None:
        self._client = served.server.client()

    def pick(self, chance: random.Random) -> tuple[bytes, Any]:
        kind = chance.choice(("run", "run", "log", "blobs", "digests"))
        if kind == "log":
            number = chance.randrange(self._client.llen("tau:log:r"))
            return self._client.lindex("tau:log:r", number), ("lset", "tau:log:r", number)
        key = "tau:run:r" if kind == "run" else "tau:blobs:r"
        fields = self._client.hgetall(key)
        field = chance.choice([b"summary", b"position", b"floor"] if kind == "run" else sorted(fields))
        return (field, ("hdel", key, fields[field])) if kind == "digests" else (fields[field], ("hset", key, field))

    def put(self, where: Any, before: bytes, after: bytes) -> None:
        how, *rest = where
        if how == "hdel":
            self._client.hdel(rest[0], before)
            self._client.hset(rest[0], after, rest[1])
        else:
            self._client.execute_command(how, *rest, after)

    def close(self) -> None:
        self._client.close()


@pytest.mark.parametrize("mutations", [150, pytest.param(15_000, marks=DEEP)])
def test_no_flipped_bit_and_no_cut_is_taken_for_data(served: Served, mutations: int) -> None:
    """It is found, by a typed error or as a damaged run in a listing, or the bytes were not needed."""
    chance = random.Random(mutations)
    store = served.make(served.url)
    graph = preserved(store)
    graph.execute({}, run_id="r")
    sound = all_of(graph)
    found = 0
    with closing({"postgres": Rows, "redis": Keys}[served.name](served)) as kept:
        for _ in range(mutations):
            before, where = kept.pick(chance)
            after = bytearray(before)
            if chance.random() < 0.2:
                del after[chance.randrange(len(after)) :]
            else:
                after[chance.randrange(len(after))] ^= 1 << chance.randrange(8)
            kept.put(where, before, bytes(after))
            try:
                assert all_of(graph) == sound
            except CorruptCheckpointError:
                found += 1
            except AssertionError:
                assert [row.status for row in store.runs()] == ["damaged"]
                found += 1
            kept.put(where, bytes(after), before)
    assert found > mutations * 0.9
    assert all_of(graph) == sound
    store.close()


def text(template: str, *names: str) -> Any:
    return sql.SQL(template).format(*map(sql.Identifier, names))  # type: ignore[arg-type]


PIECES = (
    "'", '"', "\\", ";", "--", "/*", "*/", "$$", "$1", "%s", "%(key)b", "%%", "{0}", "\n", "\r", "\t", "`", "#", "|",
    "&", "e'\\x41'", "u&'\\0041'", "tau.runs", "drop schema tau cascade", "or 1=1", "union select", "null", "default",
    "true", "pg_sleep(9)", "current_user", "\u2019", "\u202e", "\ufeff", "\x01", "\x7f", "\U0001f30d", "e\u0301", " ",
    "\u00a0", "\r\n", "*1", "$-1", "flushall", "redis.call('del')", "ARGV[1]", "tau:run:r", "tau:runs", "{r}", "*",
    "[a-z]", "]]", "\\0", "-inf", "+inf", "(1", "deleted", "nan",
)  # fmt: skip


@pytest.mark.parametrize("names", [60, pytest.param(3000, marks=DEEP)])
def test_names_that_look_like_language_are_names(served: Served, names: int) -> None:
    """As run ids, graphs, tags, statuses and owners, in every call; each comes back exactly."""
    chance = random.Random(names)
    store = served.make(served.url)
    made = {"".join(chance.choices(PIECES, k=chance.randint(1, 6))) + str(n): n for n in range(names)}
    for name, number in made.items():
        first = batch(name, 0, graph=name, tags=(name,), node=name, blobs=[(name.encode(), b"x")])
        second = batch(name, 1, graph=name, tags=(name,), status="failed")
        assert store.commit([first]) == [1]
        assert store.lease(name) is None
        assert store.renew(name, name, 1.0) is False
        store.release(name, name)
        assert store.summary(name) == first.summary
        assert store.read(name) == [(1, first.records[0])]
        assert store.blobs(name, [name.encode()]) == {name.encode(): b"x"}
        assert store.commit([second]) == [2]
        assert store.select(Query(graph=name)) == [second.summary]
        assert store.select(Query(tag=name, status="failed")) == [second.summary]
        assert store.select(Query(status=name)) == []
        if number % 3 == 0:
            store.delete(name, expected=2)
            assert store.read(name) == []
    assert len(store.select(Query())) == sum(1 for number in made.values() if number % 3)
    store.close()
