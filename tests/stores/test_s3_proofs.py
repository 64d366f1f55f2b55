"""S3 under thousands of odd inputs: flipped and cut bytes in its objects, objects that are gone."""

from __future__ import annotations

import random
from typing import Any

import pytest

from s3_server import Server
from tau import CheckpointConfig, GraphConfig, StateGraph
from tau.errors import CorruptCheckpointError, UnsupportedFormatError
from tau.stores.contract import Query, Store
from tau.stores.s3 import S3Store
from tau.testing.store_contract.batches import batch, owner

DEEP = pytest.mark.deep


def preserved(store: Store) -> StateGraph:
    """A finished run ``r``, with values in records, in blobs and in an object of their own."""
    config = GraphConfig("g", checkpoint=CheckpointConfig(store=store, interval=1, preserve=True))
    graph = StateGraph(config)
    chance = random.Random(7)
    graph.add_node("a", lambda state: {"list": [1.5, "x", None] * 50, "text": "y" * 300}, version="1")
    graph.add_node("b", lambda state: {"large": chance.randbytes(200_000), "count": 2}, version="1")
    graph.add_node("c", lambda state: {"text": state["text"] + "z", "bytes": bytes(range(256)) * 30}, version="1")
    graph.sequence("a", "b", "c")
    return graph


def all_of(graph: StateGraph) -> Any:
    """Everything that is told of the run, its steps and values included."""
    assert graph.store is not None
    steps = [(entry.node, entry.position, sorted(entry.state.items())) for entry in graph.history("r")]
    (row,) = graph.store.runs()
    return steps, sorted(graph.store.load("r").items()), row


def is_found(graph: StateGraph, sound: Any) -> bool:
    """Whether damage is told. What is told otherwise must be what was stored."""
    try:
        assert all_of(graph) == sound
    except (CorruptCheckpointError, UnsupportedFormatError):
        return True
    except AssertionError:
        assert graph.store is not None
        assert [row.status for row in graph.store.runs()] == ["damaged"]
        return True
    return False


@pytest.mark.parametrize("mutations", [30, pytest.param(3000, marks=DEEP)])
def test_no_flipped_bit_and_no_cut_is_taken_for_data(s3: Server, s3_url: str, mutations: int) -> None:
    """It is found, by a typed error or as a damaged run in a listing, or the bytes were not needed."""
    chance = random.Random(mutations)
    with S3Store(s3_url) as store:
        graph = preserved(store)
        graph.execute({}, run_id="r")
        sound = all_of(graph)
        objects = s3.objects(s3_url)
        keys = sorted(key for key in objects if key.startswith(("log/", "blobs/")))
        assert any(key.startswith("blobs/") for key in keys)
        found = 0
        for _ in range(mutations):
            key = chance.choice(keys)
            after = bytearray(objects[key])
            if chance.random() < 0.2:
                del after[chance.randrange(len(after)) :]
            else:
                after[chance.randrange(len(after))] ^= 1 << chance.randrange(8)
            s3.put(s3_url, key, bytes(after))
            found += is_found(graph, sound)
            s3.put(s3_url, key, objects[key])
        assert found > mutations * 0.9
        assert all_of(graph) == sound


def test_an_object_that_is_gone_is_damage(s3: Server, s3_url: str) -> None:
    """As a rule of the bucket that expires objects takes them; the newest one is the exception, as no name tells it."""
    with S3Store(s3_url) as store:
        graph = preserved(store)
        graph.execute({}, run_id="r")
        sound = all_of(graph)
        objects = s3.objects(s3_url)
        keys = sorted(key for key in objects if key.startswith(("log/", "blobs/")))
        newest = min(key for key in keys if key.startswith("log/"))
        for key in keys:
            if key != newest:
                s3.put(s3_url, key, None)
                with pytest.raises(CorruptCheckpointError, match="restore"):
                    all_of(graph)
                s3.put(s3_url, key, objects[key])
        assert all_of(graph) == sound


def test_an_index_that_is_damaged_is_not_needed(s3: Server, s3_url: str) -> None:
    chance = random.Random(1)
    with S3Store(s3_url) as store:
        store.commit([batch(f"r{number}", 0, status="finished") for number in range(20)])
        sound = store.runs()
    objects = s3.objects(s3_url)
    for _ in range(20):
        after = bytearray(objects["index"])
        after[chance.randrange(len(after))] ^= 1 << chance.randrange(8)
        s3.put(s3_url, "index", bytes(after[: chance.choice([len(after), 10, 0])]))
        with S3Store(s3_url) as other:
            assert other.runs() == sound


PIECES = (
    "/", "//", "..", ".", "%", "%2f", "%2F", "+", " ", "&", "&amp;", "<Key>", "</Contents>", "]]>", "?list-type=2", "#",
    "\\", "'", '"', "\n", "\r", "\t", "\x01", "\x7f", "*", "~", "=", ":", ";", "r-", "h-", "p0000000000000001", "A",
    "a", "\u2019", "\u202e", "\ufeff", "\U0001f30d", "e\u0301", "\u00e9",
)  # fmt: skip


@pytest.mark.parametrize("names", [12, pytest.param(2000, marks=DEEP)])
def test_names_that_look_like_keys_are_names(s3_url: str, names: int) -> None:
    """As run ids, graphs, tags, statuses and owners, in every call; each comes back exactly."""
    chance = random.Random(names)
    made = ["".join(chance.choices(PIECES, k=chance.randint(1, 6))) + str(number) for number in range(names)]
    for place in range(0, names, 50):  # a listing takes a request for each of them
        with S3Store(s3_url.replace("some/place", f"some/place-{place}")) as store:
            check_names(store, made[place : place + 50])


def check_names(store: S3Store, names: list[str]) -> None:
    for number, name in enumerate(names):
        first = batch(name, 0, graph=name, tags=(name,), node=name, blobs=[(name.encode(), b"x" * 130_000)])
        second = batch(name, 1, graph=name, tags=(name,), owner=owner(name))
        assert store.commit([first]) == [1]
        assert store.lease(name) is None
        assert store.renew(name, name, 1.0) is False
        assert store.summary(name) == first.summary
        assert store.read(name) == [(1, first.records[0])]
        assert store.blobs(name, [name.encode()]) == dict(first.blobs)
        assert store.commit([second]) == [2]
        assert store.renew(name, name, 1.0) is True
        store.release(name, name)
        assert store.lease(name) is None
        assert store.select(Query(graph=name)) == store.select(Query(tag=name, status="running")) == [second.summary]
        if number % 3 == 0:
            store.delete(name, expected=2)
            assert store.read(name) == []
    assert len(store.select(Query())) == sum(1 for number in range(len(names)) if number % 3)
