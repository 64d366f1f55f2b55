"""What came of a simulated history."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from tau.log.records import Record
from tau.state import State
from tau.testing.simulation.history import Execution, StepCall


class SimulationError(AssertionError):
    """A promise was broken. ``violations`` says which; ``replay`` is the call that shows it again."""

    def __init__(self, violations: Sequence[str], replay: str, where: str) -> None:
        super().__init__("\n  ".join([f"{len(violations)} broken promises {where}", *violations, f"again: {replay}"]))
        self.violations = list(violations)
        self.replay = replay


class SimulationResult(Struct, frozen=True):
    """One history.

    ``state`` is the final state, ``None`` where no process got one. For each process, ``errors`` says what it raised,
    ``points`` the names of the points it reached. ``executions`` lists every call of a node by (process, node, visit,
    attempt), ``steps`` every call of a step's function, ``log`` every record that got into the store; ``seconds`` is
    the simulated time.

    >>> from tau import StateGraph
    >>> from tau.testing import simulate
    >>> def make():
    ...     graph = StateGraph("two", store="memory:")
    ...     graph.add_node("first", lambda state: {"n": state["n"] + 1})
    ...     graph.add_node("second", lambda state: {"n": state["n"] * 2})
    ...     graph.sequence("first", "second")
    ...     return graph
    >>> result = simulate(make, {"n": 1})
    >>> result.state["n"], result.errors, result.violations
    (4, [None], [])
    """

    state: State | None
    errors: list[BaseException | None]
    executions: list[Execution]
    steps: list[StepCall]
    log: list[Record]
    points: list[list[str]]
    seconds: float
    violations: list[str]
