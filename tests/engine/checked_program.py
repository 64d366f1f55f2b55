"""What users write, as type checkers see it: it is checked, never run; pyright, too, has nothing to say to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, NotRequired, TypedDict, TypeVar, assert_type

import msgspec
import pydantic

from tau import Context, Event, GraphConfig, State, StateGraph, open_store


class Model(pydantic.BaseModel):
    count: int


@dataclass
class Data:
    count: int


class Record(msgspec.Struct):
    count: int


class Keys(TypedDict):
    count: int
    note: NotRequired[str]


T = TypeVar("T")


@dataclass
class Box(Generic[T]):
    content: T


typed = StateGraph("typed", schema=Model, store="memory:")
assert_type(typed, StateGraph[Model])
assert_type(typed.execute({"count": 1}), State[Model])
assert_type(typed.execute(Model(count=1)).typed, Model)
assert_type(typed.resume("r").typed.count, int)
assert_type(typed.execute({"count": 1})["count"], Any)
assert_type(StateGraph("d", schema=Data).execute(Data(1)).typed, Data)
assert_type(StateGraph("r", schema=Record).execute({}).typed, Record)
assert_type(StateGraph("k", schema=Keys).execute({"count": 1}).typed, Keys)
assert_type(StateGraph("k", schema=Keys).execute(Keys(count=1)).typed["count"], int)
assert_type(StateGraph("b", schema=Box[int]).execute({"content": 1}).typed.content, int)


@typed.node
def step(state: Model, ctx: Context) -> dict[str, Any]:
    return {"count": state.count + 1}


@typed.node
async def other(state: State[Model]) -> State[Model]:
    return state.set("count", 2)


async def asynchronous() -> None:
    assert_type(await typed.aexecute({"count": 1}), State[Model])
    assert_type((await typed.aresume("r")).typed, Model)
    async for item in typed.astream({"count": 1}):
        assert_type(item, Event | State[Model])


plain = StateGraph("plain", store=open_store("memory:"))
configured = StateGraph(GraphConfig("plain"))


@plain.node
def untyped(state: State) -> Mapping[str, Any]:
    return {"seen": state["count"]}


def takes_graph(graph: StateGraph) -> State:
    graph.sequence("untyped")
    return graph.execute({})


def keeps(state: State) -> State:
    return state.merge({"a": 1}).drop("a").clone()


takes_graph(plain)
takes_graph(typed)
final: State = typed.execute({"count": 1})
made: StateGraph = StateGraph("made")
given = State({"count": 1}, run_id="r")
typed.execute(given)
plain.execute(State.from_bytes(given.to_bytes()))
