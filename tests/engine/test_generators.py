"""Steps draw the same numbers after a resume: a generator that two of them share is refused, before it is used."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tau import ConfigError, Context, ExecutionError, State, StateGraph, current, process_chain
from tau.stores.memory import MemoryStore


def draw(rng: Any, size: int = 1) -> float:
    return float(rng.normal() if hasattr(rng, "normal") else rng.gauss())


async def draw_async(rng: Any) -> float:
    return draw(rng)


def run(node: Callable[..., Any], store: Any = None) -> State:
    graph = StateGraph("draws", store=MemoryStore() if store is None else store)
    graph.add_node("a", node)
    graph.sequence("a")
    return graph.execute({})


GENERATORS: dict[str, Callable[[], Any]] = {
    "Generator": lambda: np.random.default_rng(1),
    "RandomState": lambda: np.random.RandomState(1),
    "Random": lambda: random.Random(1),
}
GIVEN: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "as an argument": lambda rng: (draw, rng),
    "as bound self": lambda rng: (rng.normal if hasattr(rng, "normal") else rng.gauss, 0.0, 1.0),
    "in a partial": lambda rng: (functools.partial(draw, rng),),
    "by keyword in a partial": lambda rng: (functools.partial(draw, rng=rng),),
    "as a method in a partial": lambda rng: (
        functools.partial(rng.normal if hasattr(rng, "normal") else rng.gauss, 0.0, 1.0),
    ),
    "in a closure": lambda rng: (lambda: draw(rng),),
    "as a default": lambda rng: (lambda rng=rng: draw(rng),),
}


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("kind", GENERATORS)
def test_a_generator_that_a_second_step_is_given_is_refused(kind: str, given: str) -> None:
    def node(state: State, ctx: Context) -> Any:
        rng = GENERATORS[kind]()
        return {f"b{number}": ctx.step(f"b{number}", *GIVEN[given](rng)) for number in range(3)}

    with pytest.raises(
        ExecutionError, match="step 'b1' is given the random generator that step 'b0' was given"
    ) as caught:
        run(node)
    assert isinstance(caught.value.__cause__, ConfigError)
    assert "numpy.random.default_rng(ctx.seed(name, number))" in str(caught.value)


def test_two_generators_over_one_source_are_one() -> None:
    def node(state: State, ctx: Context) -> Any:
        bits = np.random.PCG64(1)
        ctx.step("a", draw, np.random.Generator(bits))
        ctx.step("b", draw, rng=np.random.Generator(bits))

    with pytest.raises(ExecutionError, match="step 'b' is given the random generator"):
        run(node)


def test_async_steps_are_judged_too() -> None:
    async def node(state: State, ctx: Context) -> Any:
        rng = np.random.default_rng(1)
        async with asyncio.TaskGroup() as group:
            for number in range(2):
                group.create_task(ctx.step(f"b{number}", draw_async, rng))

    with pytest.raises(ExecutionError, match="random generator"):
        run(node)


@pytest.mark.parametrize(
    "in_module", [random.random, random.gauss, np.random.normal], ids=["random", "gauss", "normal"]
)
def test_functions_of_a_module_may_be_called_by_any_number_of_steps(in_module: Callable[[], float]) -> None:
    final = run(lambda state, ctx: {f"b{number}": ctx.step(f"b{number}", in_module) for number in range(3)})
    assert len({*final.values()}) == 3


def test_each_step_may_have_its_own_and_one_may_be_tried_again() -> None:
    def node(state: State, ctx: Context) -> Any:
        children = np.random.SeedSequence(7).spawn(3)
        drawn = {f"b{n}": ctx.step(f"b{n}", draw, np.random.default_rng(seed)) for n, seed in enumerate(children)}
        rng, system = np.random.default_rng(1), random.SystemRandom()
        with pytest.raises(ZeroDivisionError):
            ctx.step("again", lambda: draw(rng) / 0)
        ctx.step("again", lambda: draw(rng))
        return {**drawn, "s": [ctx.step(name, draw, system) for name in "xy"]}

    assert len(run(node)) == 4


def test_without_a_store_nothing_is_resumed_and_nothing_refused() -> None:
    def node(state: State, ctx: Context) -> Any:
        rng = np.random.default_rng(1)
        return {name: ctx.step(name, draw, rng) for name in "ab"}

    graph = StateGraph("draws")
    graph.add_node("a", node)
    graph.sequence("a")
    assert len(graph.execute({})) == 2


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_a_map_or_chain_whose_items_would_share_one_is_refused(make: Callable[[], Any]) -> None:
    rng = make()
    nodes: list[Callable[[State, Context], Any]] = [
        lambda state, ctx: ctx.map("m", functools.partial(draw, rng), [1, 2]),
        lambda state, ctx: ctx.map("m", lambda size: draw(rng, size), [1, 2]),
        lambda state, ctx: process_chain([1, 2], 0.0, lambda size, total: total + draw(rng, size)),
    ]
    for node in nodes:
        with pytest.raises(ExecutionError, match="has one random generator for all its items"):
            run(lambda state, ctx, node=node: {"r": node(state, ctx)})


def test_each_item_may_make_its_own() -> None:
    def drawn(number: int) -> float:
        return draw(np.random.default_rng(current().seed("item", number)))

    final = run(lambda state, ctx: {"r": list(ctx.map("m", drawn, range(3)))})
    assert len({*final["r"]}) == 3
