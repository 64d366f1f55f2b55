"""Typed graphs where they branch, crash, and run under the simulated driver."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pydantic
import pytest
from typed_models import AsDataclass, AsModel, Percent, Unknown, Words

from tau import END, Artifact, ExecutionError, GraphError, SchemaError, State, StateGraph, branches_node, not_
from tau.stores.contract import Store
from tau.testing import explore, simulate


def few(state: Words) -> bool:
    return len(state.words) < 3


def grow(state: AsModel) -> dict[str, Any]:
    return {"words": [*state.words, "w"]}


def verdict(state: AsModel) -> str:
    return "again" if state.count < 3 else "done"


async def verdict_later(state: AsDataclass) -> str:
    return "again" if state.count < 3 else "done"


def count(state: State[AsModel]) -> dict[str, Any]:
    return {"count": state["count"] + 1}


def test_predicates_and_routes_get_instances_where_they_ask_for_them(store: Store) -> None:
    graph: StateGraph[AsModel] = StateGraph("typed", schema=AsModel, store=store)
    for name, node in {"grow": grow, "count": count, "later": count}.items():
        graph.add_node(name, node)
    graph.add_edge("grow", "grow", few)
    graph.add_edge("grow", "count", not_(lambda state: state["count"] > 5))
    graph.add_conditional_edges("count", verdict, {"again": "count", "done": "later"})
    graph.add_conditional_edges("later", verdict_later, {"again": "later", "done": END})
    graph.set_entry_point("grow")
    for final in (graph.execute({"count": 1}), asyncio.run(graph.aexecute({"count": 1}))):
        assert final.typed == AsModel(count=4, words=["w", "w", "w"])


def test_a_predicate_whose_class_the_state_does_not_make_fails_the_run_and_says_so(store: Store) -> None:
    class Noted(pydantic.BaseModel):
        note: str

    def noted(state: Noted) -> bool:
        return bool(state.note)

    noted.__annotations__["state"] = Noted
    graph: StateGraph[AsModel] = StateGraph("typed", schema=AsModel, store=store)
    graph.add_node("count", count)
    graph.add_node("end", lambda state: None)
    graph.add_edge("count", "end", noted)
    graph.set_entry_point("count")
    graph.set_exit_point("end")
    with pytest.raises(ExecutionError, match=r"predicate of edge count -> end .*'note'") as raised:
        graph.execute({"count": 1})
    assert isinstance(raised.value.__cause__, SchemaError)


def test_a_class_with_other_fields_is_refused() -> None:
    def unknown(state: Unknown) -> bool:
        return True

    graph: StateGraph[AsModel] = StateGraph("typed", schema=AsModel)
    graph.add_node("count", count)
    with pytest.raises(GraphError, match=r"edge count -> count: .*'wrods'"):
        graph.add_edge("count", "count", unknown)
    with pytest.raises(GraphError, match=r"route of node count: .*'wrods'"):
        graph.add_conditional_edges("count", unknown, {True: "count"})


def test_files_that_a_node_makes_need_no_field(tmp_path: Path) -> None:
    def writes(state: AsModel, ctx: Any) -> AsModel:
        with ctx.artifact("clean.nc") as path:
            path.write_text("data")
        state.note = "written"
        return state

    def reads(state: State[AsModel]) -> dict[str, Any]:
        return {"words": [state["clean.nc"].path.read_text()]}

    graph: StateGraph[AsModel] = StateGraph("typed", schema=AsModel, store=tmp_path / "runs.db")
    graph.sequence(writes, reads)
    final = graph.execute({"count": 1})
    assert final.typed == AsModel(count=1, note="written", words=["data"])
    assert type(final["clean.nc"]) is Artifact


def test_every_crash_point_of_a_typed_run_leads_to_the_same_state() -> None:
    def appends(state: AsModel) -> None:
        state.words.append("x")

    def again(state: Words) -> None:
        state.words.append("x")

    def gives_back(state: AsDataclass) -> AsDataclass:
        state.level += 1
        return state

    def make() -> StateGraph[AsModel]:
        graph: StateGraph[AsModel] = StateGraph("typed", schema=AsModel)
        graph.sequence(appends, gives_back, again)
        return graph

    assert explore(make, {"count": 1, "level": 1}) > 100
    final = simulate(make, {"count": 1, "level": 1}).state
    assert final is not None
    assert dict(final) == {"count": 1, "words": ["x", "x"], "level": 2.0}


def test_functions_as_branches_have_the_schema_of_their_graph(store: Store) -> None:
    def words(state: Words) -> Words:
        return Words([*state.words, "w"])

    async def level(state: AsModel) -> dict[str, Any]:
        return {"level": state.count}

    def unknown(state: Unknown) -> None: ...

    graph: StateGraph[AsModel] = StateGraph("typed", schema=AsModel, store=store)
    graph.add_node("both", branches_node({"words": words, "level": level}))
    graph.sequence("both")
    final = graph.execute({"count": 2})
    assert final.typed == AsModel(count=2, words=["w"], level=2.0)
    assert type(final["level"]) is float
    other: StateGraph[AsModel] = StateGraph("typed", schema=AsModel)
    with pytest.raises(GraphError, match="'wrods'"):
        other.add_node("both", branches_node({"unknown": unknown}))


@pytest.mark.parametrize("location", [None, "memory:"])
def test_what_a_graph_inside_has_validated_is_not_validated_twice(location: Any) -> None:
    def share(state: Percent) -> dict[str, Any]:
        return {"share": 50}

    def total(state: Percent) -> Percent:
        state.total = 7
        return state

    inner = StateGraph("inner", schema=Percent)
    inner.sequence(share)
    graph = StateGraph("outer", schema=Percent, store=location)
    graph.add_node("inner", inner)
    graph.add_node("both", branches_node({"share": share, "total": total}))
    graph.sequence("inner", "both")
    assert dict(graph.execute({})) == {"share": 0.5, "total": 7}


def test_what_a_graph_inside_hands_up_fits_the_outer_schema(store: Store) -> None:
    inner = StateGraph("inner")
    inner.add_node("bad", lambda state: {"count": "many"})
    inner.sequence("bad")
    graph: StateGraph[AsModel] = StateGraph("outer", schema=AsModel, store=store)
    graph.add_node("inner", inner)
    graph.sequence("inner")
    with pytest.raises(ExecutionError) as raised:
        graph.execute({"count": 1})
    assert isinstance(raised.value.__cause__, SchemaError)
    assert raised.value.__cause__.keys == ("count",)
