"""Runs with routes that were stored by the version that brought them go on as they did, and older ones refuse them."""

from __future__ import annotations

import functools
import operator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from golden_routes import AFTER, judge, routed_graph

from exactness import same
from tau import State
from tau.log import records
from tau.log.encoding import unseal
from tau.observers import Recorder
from tau.stores.contract import Store

ARCHIVE = Path(__file__).with_name("routes.tar.xz")


def stored(store: Store, run_id: str) -> list[tuple[str, str | None]]:
    found = [unseal(run_id, position, data) for position, data in store.read(run_id)]
    return [
        (str(type(one).__struct_config__.tag), one.next)
        for one in found
        if isinstance(one, records.CheckpointRecord | records.Routed)
    ]


def test_the_answers_are_there(store: Store) -> None:
    ways: list[tuple[str, str | None]] = [
        ("checkpoint", None), ("routed", "draft"), ("checkpoint", None), ("routed", "sign"),
    ]  # fmt: skip
    assert stored(store, "failed") == ways
    assert stored(store, "finished") == [*ways, ("checkpoint", None)]
    assert stored(store, "asking") == [("checkpoint", None)]
    assert [entry.next for entry in routed_graph(store).history("finished")] == ["draft", "sign", None]


@pytest.mark.parametrize(("run_id", "asked"), [("failed", 0), ("asking", 2), ("finished", 0)])
def test_a_run_goes_on_and_asks_only_what_has_no_answer(store: Store, run_id: str, asked: int) -> None:
    recorder, calls = Recorder(), []

    async def counted(state: State) -> str:
        calls.append(state["drafts"])
        return await judge(state)

    final = routed_graph(store, recorder, route=counted).resume(run_id, wait=5.0)
    assert same(dict(final), AFTER)
    assert len(calls) == asked
    assert "graph.changed" not in recorder.types()


def test_a_version_that_does_not_know_the_kind_refuses_the_record(store: Store) -> None:
    """To pass over it would be to ask again, or to take the run for finished."""
    kinds = [kind for kind in get_args(records.AnyRecord) if kind is not records.Routed]
    older: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(functools.reduce(operator.or_, kinds))
    for _, data in store.read("failed"):
        body = data[21:]
        if b"routed" in body[:8]:
            with pytest.raises(msgspec.ValidationError, match="routed"):
                older.decode(body)
        elif data[4] == 0:
            older.decode(body)
    assert len(kinds) == len(get_args(records.AnyRecord)) - 1
