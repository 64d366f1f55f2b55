"""A run that is broken off and resumed between all nodes ends as an uninterrupted one, whatever the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tau import (
    CheckpointConfig,
    Context,
    ExecutionError,
    GraphConfig,
    Retry,
    RunInterruptedError,
    State,
    StateGraph,
    Stop,
)
from tau.stores.memory import MemoryStore
from tau.testing import Moment, simulate
from tau.values import encode

MAX_ITERATIONS = 25


class Unlucky(Exception):
    """What the service that a node calls says now and then."""


@dataclass(frozen=True)
class NodePlan:
    """``jumps``: (target, divisor, rest), taken when the count of visits divided so leaves that rest; then the next
    node, or, for a node with ``stuck``, none. ``flaky``: fails every first attempt. ``fails``: so many visits fail for
    good when first run."""

    jumps: tuple[tuple[int, int, int], ...]
    stuck: bool
    flaky: bool
    fails: int


@st.composite
def plans(draw: st.DrawFn) -> list[NodePlan]:
    size = draw(st.integers(1, 6))
    jump = st.tuples(st.integers(0, size - 1), st.integers(1, 4), st.integers(0, 3))
    return [
        NodePlan(
            jumps=tuple(draw(st.lists(jump, max_size=3))),
            stuck=draw(st.integers(0, 9)) == 0,
            flaky=draw(st.booleans()),
            fails=draw(st.integers(0, 2)),
        )
        for _ in range(size)
    ]


class World:
    """What lies outside of the runs: services that fail, and somebody who stops the run after each node."""

    def __init__(self, plans: list[NodePlan], *, stops: bool) -> None:
        self.failures_left = {f"n{number}": plan.fails for number, plan in enumerate(plans)}
        self.stop = Stop() if stops else None

    def call(self, name: str) -> None:
        if self.failures_left[name]:
            self.failures_left[name] -= 1
            raise Unlucky(name)


def build(plans: list[NodePlan], world: World | None, **checkpoint: Any) -> StateGraph:
    """The graph of these plans; without a ``world`` nothing outside fails."""
    config = CheckpointConfig(preserve=True, **checkpoint)
    graph = StateGraph(GraphConfig("fuzz", observer=None, max_iterations=MAX_ITERATIONS, checkpoint=config))
    names = [f"n{number}" for number in range(len(plans))]
    for number, (name, plan) in enumerate(zip(names, plans, strict=True)):
        retry = Retry(attempts=3, delay=0.0, on=ValueError) if plan.flaky else None
        graph.add_node(name, node(name, plan, world), retry=retry)
        for target, divisor, rest in plan.jumps:
            graph.add_edge(name, names[target], divides(divisor, rest % divisor))
        if number + 1 < len(names):
            graph.add_edge(name, names[number + 1], divides(2, 0) if plan.stuck else None)
    graph.set_entry_point(names[0])
    graph.set_exit_point(names[-1])
    return graph


def node(name: str, plan: NodePlan, world: World | None) -> Any:
    def run(state: State, ctx: Context) -> dict[str, Any]:
        if plan.flaky and ctx.attempt % 2:
            raise ValueError("flaky")
        if world is not None:
            world.call(name)
            if world.stop is not None:
                world.stop.set("after each node")
        state["trace"].append((name, ctx.visit))
        state["counts"][name] = ctx.visit
        return {"total": state["total"] * 31 + ctx.visit, name: {"seen": frozenset(state["counts"])}}

    return run


def divides(divisor: int, rest: int) -> Any:
    return lambda state: len(state["trace"]) % divisor == rest


def start() -> dict[str, Any]:
    return {"trace": [], "counts": {}, "total": 1}


Ending = tuple[str, dict[str, bytes], list[tuple[str, int, str | None]]]


def ending(graph: StateGraph, state: State | None, error: ExecutionError | None) -> Ending:
    """How a run ended, and the visits in its log."""
    last = error.state if error is not None else state
    visits = [(checkpoint.node, checkpoint.visit, checkpoint.next) for checkpoint in graph.history("run")]
    return str(error or "finished"), {key: encode(last[key]) for key in sorted(last)}, visits


def run_to_the_end(plans: list[NodePlan], *, stops: bool, interval: int) -> tuple[Ending, int]:
    """Resume until it finishes or fails for a reason that stays; also how many attempts that took."""
    world = World(plans, stops=stops)
    graph = build(plans, world, store=MemoryStore(), interval=interval)
    for attempts in range(1, 100):
        if stops:
            world.stop = Stop()
        try:
            if attempts == 1:
                state = graph.execute(start(), run_id="run", stop=world.stop)
            else:
                state = graph.resume("run", stop=world.stop)
        except RunInterruptedError:
            continue
        except ExecutionError as error:
            if isinstance(error.__cause__, Unlucky):
                continue
            return ending(graph, None, error), attempts
        return ending(graph, state, None), attempts
    raise AssertionError("the run does not end")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plans(), st.integers(1, 4))
def test_a_run_stopped_after_each_node_and_resumed_ends_as_an_uninterrupted_one(
    plans: list[NodePlan], interval: int
) -> None:
    """Nodes also fail for good and are run again by ``resume``; stored values, visits, edges and errors are equal."""
    expected, _ = run_to_the_end(plans, stops=False, interval=1)
    found, attempts = run_to_the_end(plans, stops=True, interval=interval)
    assert found == expected
    assert attempts >= len(expected[2])


def after_each_node(moment: Moment) -> str | None:
    """Kills every process as soon as it has committed a visit."""
    return "crash" if moment.what == "emit checkpoint.save" else None


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plans())
def test_a_run_killed_after_each_node_and_resumed_ends_as_an_uninterrupted_one(plans: list[NodePlan]) -> None:
    """The simulation compares all that it checks; every visit is run exactly once, each by a process of its own."""
    result = simulate(lambda: build(plans, None, interval=1), start(), faults=after_each_node, resumers=60)
    done = [(e.node, e.visit) for e in result.executions if not e.failed]
    assert len(done) == len(set(done))
    assert len(result.points) >= len(done)
