"""`Context.seed`: the same numbers in every attempt and process, others for any other name, visit, node or run."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy
import pytest
from engine_steps import config
from hypothesis import given
from hypothesis import strategies as st

from tau import ConfigError, Context, ExecutionError, RunExistsError, State, StateGraph, key_equals
from tau.log.encoding import unseal
from tau.node.seeds import BITS, checked_seed, derive, of_run
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore

names = st.lists(st.text(max_size=5) | st.integers(-1000, 1000), max_size=4).map(tuple)


def graph_of(store: Store | None, node: Any, **options: Any) -> StateGraph:
    graph = StateGraph(config(store, **options) if store is not None else "g")
    graph.add_node("draw", node, version="1")
    graph.sequence("draw")
    return graph


def test_what_they_are_is_fixed_for_ever() -> None:
    """A later version that resumes a run goes on with the same numbers."""
    assert derive(7, "fit", 1, ("window", 3)) == 2312313478342080135
    assert derive(0, "", 0, ()) == 8403876153415988069
    assert of_run("climate-2024") == 2643737375079798508


@given(names, names)
def test_other_names_have_another_seed(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    assert (derive(1, "n", 1, one) == derive(1, "n", 1, other)) is (one == other)
    assert 0 <= derive(1, "n", 1, one) < 1 << BITS


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b"), ("as1:b",)),
        (("ab",), ("a", "b")),
        ((1,), ("1",)),
        ((12,), (1, 2)),
        ((), ("",)),
        ((0,), (False or "",)),
    ],
)
def test_names_that_look_alike_when_joined_are_apart(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    assert derive(1, "n", 1, one) != derive(1, "n", 1, other)


def test_runs_nodes_and_visits_are_apart() -> None:
    found = {derive(seed, node, visit, ("x",)) for seed, node, visit in product(range(20), "abcd", range(1, 20))}
    assert len(found) == 20 * 4 * 19


@pytest.mark.parametrize("wrong", [1.0, None, True, b"x", ("a",), float("nan")])
def test_a_name_is_text_or_a_whole_number(wrong: Any) -> None:
    def node(state: State, ctx: Context) -> None:
        ctx.seed("window", wrong)

    with pytest.raises(ExecutionError, match="a seed is named by text and whole numbers") as caught:
        graph_of(None, node).execute({})
    assert isinstance(caught.value.__cause__, ConfigError)


@pytest.mark.parametrize("wrong", [-1, 1 << 63, True, 1.0, "7", [7]])
def test_the_seed_of_a_run_is_a_number_of_63_bits(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="seed: expected a number from 0 to 2"):
        graph_of(MemoryStore(), lambda state: None).execute({}, seed=wrong)
    assert (checked_seed(0), checked_seed((1 << 63) - 1), checked_seed(None)) == (0, (1 << 63) - 1, None)


def test_numpys_whole_numbers_are_numbers() -> None:
    assert derive(1, "n", 1, (numpy.int64(3),)) == derive(1, "n", 1, (3,))
    assert checked_seed(numpy.uint64(3)) == 3


def test_runs_with_one_seed_draw_the_same_and_others_do_not() -> None:
    def node(state: State, ctx: Context) -> dict[str, int]:
        return {"seed": ctx.seed("x")}

    for graph in (graph_of(None, node), graph_of(MemoryStore(), node)):
        assert graph.execute({}, seed=7)["seed"] == graph.execute({}, seed=7)["seed"] == derive(7, "draw", 1, ("x",))
        assert len({graph.execute({})["seed"] for _ in range(20)}) == 20
        assert asyncio.run(graph.aexecute({}, seed=7))["seed"] == derive(7, "draw", 1, ("x",))


@pytest.mark.parametrize("chosen", [None, 7])
def test_every_attempt_and_resume_of_a_visit_draws_the_same(store: Store, chosen: int | None) -> None:
    seen: list[tuple[int, int]] = []

    def node(state: State, ctx: Context) -> dict[str, int]:
        seen.append((ctx.visit, ctx.seed("x")))
        if len(seen) in (1, 3):
            raise ValueError("broke")
        return {"visits": ctx.visit}

    def graph() -> StateGraph:
        made = StateGraph(config(store))
        made.add_node("draw", node, version="1")
        made.add_node("end", lambda state: None, version="1")
        made.add_edge("draw", "draw", key_equals("visits", 1))
        made.add_edge("draw", "end")
        made.set_entry_point("draw")
        made.set_exit_point("end")
        return made

    with pytest.raises(ExecutionError):
        graph().execute({}, run_id="r", seed=chosen)
    with pytest.raises(ExecutionError):
        graph().resume("r")
    graph().resume("r")
    assert [visit for visit, _ in seen] == [1, 1, 2, 2]
    assert (seen[0], seen[2]) == (seen[1], seen[3])
    assert seen[0] != seen[2]


def test_it_is_in_every_manifest(store: Store) -> None:
    """So that a long run goes on with it, and a version that does not know it refuses the run."""

    def node(state: State, ctx: Context) -> dict[str, Any]:
        return {"n": state["n"] + 1, "seed": ctx.seed()}

    graph = StateGraph(config(store))
    graph.add_node("draw", node, version="1")
    graph.add_node("end", lambda state: None, version="1")
    graph.add_edge("draw", "end", key_equals("n", 200))
    graph.add_edge("draw", "draw")
    graph.set_entry_point("draw")
    graph.set_exit_point("end")
    graph.execute({"n": 0}, run_id="r", seed=7)
    records = [(data[3], unseal("r", position, data)) for position, data in store.read("r")]
    manifests = [(form, record.manifest) for form, record in records if getattr(record, "manifest", None) is not None]
    assert len(manifests) > 2
    assert {(form, manifest.progress.seed) for form, manifest in manifests} == {(2, 7)}
    assert {form for form, record in records if getattr(record, "manifest", None) is None} == {1}


def test_another_seed_for_a_run_that_exists_is_refused_as_another_input_is(store: Store) -> None:
    graph = graph_of(store, lambda state: {"x": 1})
    graph.execute({"a": 1}, run_id="r", seed=7)
    for given_, input_, differs in [
        (8, {"a": 1}, ("the seed differs",)),
        (8, {"a": 2}, ("the seed differs", "'a' differs")),
    ]:
        with pytest.raises(RunExistsError) as caught:
            graph.execute(input_, run_id="r", if_exists="resume", seed=given_)
        assert caught.value.differs == differs
    with pytest.raises(RunExistsError):
        graph.execute({"a": 1}, run_id="r", seed=7)
    assert graph.execute({"a": 1}, run_id="r", if_exists="resume", seed=7)["x"] == 1
    assert graph.execute({"a": 1}, run_id="r", if_exists="resume")["x"] == 1


def test_a_run_that_was_saved_by_hand_has_a_seed(store: Store) -> None:
    def node(state: State, ctx: Context) -> dict[str, int]:
        return {"seed": ctx.seed("x")}

    State({}, run_id="hand").checkpoint(store)
    assert graph_of(store, node).resume("hand")["seed"] == derive(of_run("hand"), "draw", 1, ("x",))


def test_steps_threads_and_tasks_of_a_node_draw_alike() -> None:
    async def node(state: State, ctx: Context) -> dict[str, Any]:
        async def one(number: int) -> int:
            return ctx.seed("step", number)

        steps = await asyncio.gather(*[ctx.step(f"s{number}", one, number) for number in range(3)])
        return {"steps": steps, "threads": await asyncio.to_thread(lambda: [ctx.seed("step", n) for n in range(3)])}

    final = graph_of(MemoryStore(), node).execute({}, seed=3)
    assert final["steps"] == final["threads"] == [derive(3, "draw", 1, ("step", number)) for number in range(3)]


PROGRAM = """
import json, sys
from tau import StateGraph
graph = StateGraph("g", store=sys.argv[1])
def draw(state, ctx):
    return {"seed": ctx.seed("x", 1)}
graph.add_node("draw", draw)
graph.sequence("draw")
print(json.dumps(graph.execute({}, seed=11)["seed"]))
"""


def test_another_process_draws_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, f"sqlite:///{tmp_path}/r.db"], capture_output=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == derive(11, "draw", 1, ("x", 1))
