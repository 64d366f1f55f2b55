"""Crash a graph at every point, in simulated time: `simulate` one history, `explore` them all.

The real engine and the real journal run on a real memory store; only time, processes and failures are simulated. After
each history everything that tau promises is checked: nothing finished ran again, no superseded owner wrote, the result
is that of the uninterrupted run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from tau.config import CheckpointConfig, GraphConfig
from tau.engine.effects import RunRequest
from tau.errors import ConfigError
from tau.graph.graph import Graph
from tau.node.typed import fitted_input
from tau.state import State, cells_of
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore
from tau.testing.simulation.process import Process
from tau.testing.simulation.promises import Expected, observed, violations
from tau.testing.simulation.result import SimulationError, SimulationResult
from tau.testing.simulation.world import (
    ANSWER,
    CALL_FAULTS,
    EFFECT_FAULTS,
    EPOCH,
    Fault,
    Faults,
    Moment,
    World,
    checked_kind,
)

__all__ = ["Fault", "Moment", "SimulationError", "SimulationResult", "explore", "simulate"]

StoreFactory = Callable[[Callable[[], float]], Store]
RUN_ID: Final = "simulated"
RESUMERS: Final = 16


class _Scenario(Struct, frozen=True):
    """What is the same in all histories of one exploration."""

    make: Callable[[], Graph]
    input: Mapping[str, Any] | State | None
    interval: int
    preserve: bool
    max_iterations: int
    max_crashes: int
    lease: float
    store: StoreFactory
    resources: Mapping[str, Any] | None
    resumers: int
    graphs: list[Graph]
    answers: Mapping[str, Any]

    def has_more(self, world: World) -> bool:
        return len(world.processes) <= self.resumers

    def graph(self, number: int) -> Graph:
        """The graph of that process: its own, but the same in all histories, for building one takes its time."""
        while len(self.graphs) <= number:
            self.graphs.append(self.make())
            self.graphs[-1].freeze()
        return self.graphs[number]

    def world(self, seed: Any, faults: Faults) -> World:
        world = World(RUN_ID, self.store, seed=seed, lease=self.lease)
        world.faults, world.people = faults, self.answers
        world.begin = lambda: self.process(world) if self.has_more(world) else None
        world.processes.append(self.process(world))
        return world

    def process(self, world: World, **how: Any) -> Process:
        """Another attempt: it admits the run where there is none, or else resumes it."""
        known = bool(world.history.entries)
        request = RunRequest(
            graph=self.graph(len(world.processes)),
            run_id=world.run_id,
            values={} if known else cells_of(self.input or {}),
            now=EPOCH + world.time,
            resuming=known,
            if_exists="resume",
            stored=True,
            preserve=self.preserve,
            max_iterations=self.max_iterations,
            max_crashes=self.max_crashes,
            seed=1,
            observed=True,
        )
        how.setdefault("wait", 2 * self.lease)
        return Process(world, request, interval=self.interval, resources=self.resources, **how)


def simulate(
    graph_factory: Callable[[], Graph],
    input: Mapping[str, Any] | State | None = None,
    *,
    faults: Sequence[Fault] | Faults = (),
    seed: int | None = None,
    interval: int | None = None,
    preserve: bool | None = None,
    lease: float = 2.0,
    store: StoreFactory | None = None,
    resources: Mapping[str, Any] | None = None,
    answers: Mapping[str, Any] | None = None,
    resumers: int = RESUMERS,
    check: bool = True,
) -> SimulationResult:
    """Run a graph in a simulated world in which these faults happen, until a process has the result.

    ``graph_factory`` makes a graph for every process. Its nodes must be deterministic and keep nothing outside the
    state. ``faults`` is a list of faults, or a function that is called at each `Moment` and returns the kind of fault,
    or ``None``. Whenever no process is left that can go on, another one resumes the run; at most ``resumers`` processes
    follow the first. With a ``seed``, processes take turns at random, resume early and have wrong clocks, and further
    faults of all kinds happen. ``interval`` and ``preserve`` are those of the graph's own configuration unless given;
    ``lease`` is in simulated seconds. ``store`` makes the store to be tested, given a clock. In a node,
    ``ctx.resources["store"]`` is the store as that process sees it, for ``state.checkpoint(store)``. ``answers`` are
    what people answer to the pauses of these names, whenever the run waits and nobody else can go on. Timeouts of sync
    nodes are not simulated. Do not call this inside an event loop.

    Raises `SimulationError` when a promise was broken, unless ``check`` is false (then the result lists the
    violations), and `ConfigError` for a fault that cannot happen, or in a list never did, for an input that is not a
    mapping, and for a ``graph_factory`` that makes no graph.

    >>> from tau import StateGraph
    >>> from tau.testing import Fault, simulate
    >>> def make():
    ...     graph = StateGraph("two", store="memory:")
    ...     graph.add_node("first", lambda state: {"n": state["n"] + 1})
    ...     graph.add_node("second", lambda state: {"n": state["n"] * 2})
    ...     graph.sequence("first", "second")
    ...     return graph
    >>> result = simulate(make, {"n": 1}, faults=[Fault(0, 3, "crash")])
    >>> len(result.errors), result.state["n"]  # a second process finished the work of the first
    (2, 4)
    """
    scenario = _scenario(
        graph_factory, input, interval, preserve, lease=lease, store=store, resources=resources, answers=answers,
        resumers=resumers,
    )  # fmt: skip
    listed = () if callable(faults) else _checked(faults)
    result = _judged(scenario, _uninterrupted(scenario), faults, seed, check)
    for fault in listed:
        reached = result.points[fault.process] if fault.process < len(result.points) else []
        if fault.point >= len(reached):
            raise ConfigError(
                f"{fault} never happened: {len(result.points)} processes took part, and process {fault.process} "
                f"reached {len(reached)} points; SimulationResult.points names them"
            )
    return result


def explore(
    graph_factory: Callable[[], Graph],
    input: Mapping[str, Any] | State | None = None,
    *,
    depth: int = 1,
    kinds: Sequence[str] | None = None,
    second_kinds: Sequence[str] | None = None,
    stride: int = 1,
    interval: int | None = None,
    preserve: bool | None = None,
    lease: float = 2.0,
    store: StoreFactory | None = None,
    resources: Mapping[str, Any] | None = None,
    answers: Mapping[str, Any] | None = None,
) -> int:
    """Simulate every fault at every point of a run, and with ``depth`` 2 a second fault at every point that follows.

    Each effect of the engine and each call to the store is a point. ``kinds`` are the kinds of `Fault` to try, by
    default all but ``answer``; ``second_kinds`` are those of the second fault. Only every ``stride``-th pair is tried.
    Returns the number of histories; see `simulate` for the rest. Raises `SimulationError` at the first broken promise,
    and `ConfigError` for a kind that there is none of, for an input that is not a mapping, and for a ``graph_factory``
    that makes no graph.

    >>> from tau import StateGraph
    >>> from tau.testing import explore
    >>> def make():
    ...     graph = StateGraph("two", store="memory:")
    ...     graph.add_node("first", lambda state: {"n": state["n"] + 1})
    ...     graph.add_node("second", lambda state: {"n": state["n"] * 2})
    ...     graph.sequence("first", "second")
    ...     return graph
    >>> explore(make, {"n": 1}, kinds=["crash"]) > 5  # so many histories, and every promise held in each
    True
    """
    for kind in (*(kinds or ()), *(second_kinds or ())):
        checked_kind(kind, sorted({*EFFECT_FAULTS, *CALL_FAULTS, ANSWER}), "of faults to explore")
    scenario = _scenario(
        graph_factory, input, interval, preserve, lease=lease, store=store, resources=resources, answers=answers
    )
    expected = _uninterrupted(scenario)
    plain = _judged(scenario, expected, (), None, True)
    count = 1
    pair = 0
    points = [point for number, each in enumerate(plain.points) for point in _every(number, each, kinds)]
    for first in points:  # of several processes, where the run waits for people
        result = _judged(scenario, expected, (first,), None, True)
        count += 1
        if depth < 2:
            continue
        for process in range(first.process + 1, len(result.points)):
            for second in _every(process, result.points[process], kinds if second_kinds is None else second_kinds):
                pair += 1
                if pair % stride == 0:
                    _judged(scenario, expected, (first, second), None, True)
                    count += 1
    return count


def _every(process: int, points: Sequence[str], kinds: Sequence[str] | None) -> Iterator[Fault]:
    for point, what in enumerate(points):
        known = CALL_FAULTS if what.startswith("store.") else EFFECT_FAULTS
        for kind in (*known, ANSWER):
            if (kinds is None and kind != ANSWER) or (kinds is not None and kind in kinds):
                yield Fault(process, point, kind)


def _scenario(
    make: Callable[[], Graph],
    input: Mapping[str, Any] | State | None,
    interval: int | None,
    preserve: bool | None,
    *,
    lease: float,
    store: StoreFactory | None,
    resources: Mapping[str, Any] | None,
    answers: Mapping[str, Any] | None,
    resumers: int = RESUMERS,
) -> _Scenario:
    if not (input is None or isinstance(input, Mapping)):
        raise ConfigError(f"the input must be a State or a mapping, found {type(input).__name__}")
    graph = make() if callable(make) else None
    if not isinstance(graph, Graph):
        found = f"one that makes {type(graph).__name__}" if callable(make) else type(make).__name__
        raise ConfigError(f"expected a function that makes a graph for each process, found {found}")
    config = getattr(graph, "config", None) or GraphConfig(graph.name, checkpoint=CheckpointConfig(interval=1))
    checkpoint = config.checkpoint
    return _Scenario(
        make=make,
        input=input if graph.schema is None else fitted_input(graph.schema, input),
        interval=interval or checkpoint.interval or 1,
        preserve=checkpoint.preserve if preserve is None else preserve,
        max_iterations=config.max_iterations,
        max_crashes=checkpoint.max_crashes,
        lease=lease,
        store=store or _memory,
        resources=resources,
        resumers=resumers,
        graphs=[],
        answers=answers or {},
    )


def _memory(clock: Callable[[], float]) -> Store:
    return MemoryStore(clock=clock)


def _uninterrupted(scenario: _Scenario) -> Expected:
    """What happens when nothing goes wrong, on a sound store. Raises what the run raises, but for a node's failure."""
    world = replace(scenario, store=_memory).world(None, lambda moment: None)
    world.run()
    last = world.processes[-1]  # the first, but where runs wait for people
    if last.error is not None and not last.has_failed:
        raise last.error
    return observed(world)


def _judged(
    scenario: _Scenario, expected: Expected, faults: Sequence[Fault] | Faults, seed: int | None, check: bool
) -> SimulationResult:
    """Let one history happen, and judge it."""
    wrong: list[ConfigError] = []
    ask = _possible(faults if callable(faults) else _listed(faults), wrong)
    world = scenario.world(seed, ask)
    if seed is not None:
        _shuffle(scenario, world, ask)
    world.run()
    if wrong:
        raise wrong[0]
    broken = violations(world, expected, scenario.interval)
    states = [process.state for process in world.processes if process.state is not None]
    result = SimulationResult(
        state=states[0] if states else None,
        errors=[process.error for process in world.processes],
        executions=world.executions,
        steps=world.step_calls,
        log=world.history.records,
        points=[process.trace for process in world.processes],
        seconds=world.time,
        violations=broken,
    )
    if broken and check:
        raise _failure(scenario, world, broken, faults, seed)
    return result


def _failure(
    scenario: _Scenario, world: World, broken: list[str], faults: Sequence[Fault] | Faults, seed: int | None
) -> SimulationError:
    struck = faults if callable(faults) else list(faults)
    call = f"simulate({getattr(scenario.make, '__qualname__', 'graph_factory')}, {scenario.input!r:.200}"
    how = f"interval={scenario.interval}, preserve={scenario.preserve}, lease={scenario.lease}"
    how += "" if scenario.store is _memory else ", store=..."
    how += "" if scenario.resources is None else ", resources=..."
    where = ", ".join(
        f"{fault.kind} of process {fault.process} at point {fault.point} ({_point(world, fault)})"
        for fault in ([] if callable(faults) else faults)
    )
    seeded = f"with seed {seed}" if seed is not None else ""
    return SimulationError(
        broken, f"{call}, faults={struck!r}, seed={seed}, {how})", " ".join(filter(None, [where, seeded]))
    )


def _point(world: World, fault: Fault) -> str:
    if fault.process >= len(world.processes):
        return "never reached"
    trace = world.processes[fault.process].trace
    return trace[fault.point] if fault.point < len(trace) else "never reached"


def _checked(faults: Any) -> Sequence[Fault]:
    if not isinstance(faults, (list, tuple)) or not all(isinstance(fault, Fault) for fault in faults):
        raise ConfigError(f"faults must be a list of Fault, or a function of a Moment, found {faults!r:.80}")
    return faults


def _possible(ask: Faults, wrong: list[ConfigError]) -> Faults:
    """The same faults without those that cannot happen where they are asked for; these are noted."""

    def possible(moment: Moment) -> str | None:
        kind = ask(moment)
        known = CALL_FAULTS if moment.what.startswith("store.") else EFFECT_FAULTS
        if kind is None or kind in known or kind == ANSWER:
            return kind
        where = f"of a fault at point {moment.point} ({moment.what}) of process {moment.process}"
        wrong.append(ConfigError(f"the kind {where} must be one of {', '.join(known)}, found {kind!r}"))
        return None

    return possible


def _listed(faults: Sequence[Fault]) -> Faults:
    table = {(fault.process, fault.point): fault.kind for fault in faults}
    return lambda moment: table.get((moment.process, moment.point))


# Chance: who takes the next turn, who comes when, and what goes wrong.

_MOST_FAULTS = 6
_EARLY = 4


def _shuffle(scenario: _Scenario, world: World, ask: Faults) -> None:
    random = Random(world.seed)
    rate = random.choice((0.0, 0.01, 0.03, 0.1))
    eager = random.choice((0.0, 0.002, 0.02))
    left = [_MOST_FAULTS]

    def faults(moment: Moment) -> str | None:
        asked = ask(moment)
        if asked is not None or not left[0] or random.random() >= rate:
            return asked
        left[0] -= 1
        return random.choice(CALL_FAULTS if moment.what.startswith("store.") else EFFECT_FAULTS)

    def begin() -> Process | None:
        if not scenario.has_more(world):
            return None
        machine = random.choice(("host", "host", "elsewhere"))
        wait = (
            random.choice((0.0, 0.5, 2.5)) * scenario.lease if len(world.processes) < _EARLY else 2.5 * scenario.lease
        )
        return scenario.process(world, machine=machine, watched=random.random() < 0.3, wait=wait)

    def pick(ready: list[Process]) -> Process:
        if eager and len(world.processes) < _EARLY and random.random() < eager:
            newcomer = begin()
            if newcomer is not None:
                world.processes.append(newcomer)
        world.advance(random.choice((0.0, 0.0, 0.01, 0.3)))
        return random.choice(ready)

    world.faults, world.begin, world.pick = faults, begin, pick
