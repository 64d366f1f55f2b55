"""What a journaled call of an agent costs that is answered from the run, beside a finished step."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from measure import Figure

from tau import Context, ExecutionError, State, StateGraph, agents

CALLS = 300
ROUNDS = 7
PROMPT = "x" * 2_000


def calls(root: Path) -> Iterator[Figure]:
    """In turns, in a resume of a run on SQLite in which all of them had finished."""
    requests: list[int] = []

    def reply(_: Any) -> str:
        requests.append(1)
        return "a short answer"

    agent = agents.function(reply)
    found = [turns(f"sqlite:///{root}/{number}.db", agent) for number in range(ROUNDS)]
    step, call = (statistics.median(column) for column in zip(*found, strict=True))
    sent = len(requests) - ROUNDS * CALLS
    note = f"{call * 1e6:.1f} us, a step {step * 1e6:.1f}; {sent} requests"
    yield Figure("a journaled call with a 2 kB prompt, a finished step = 1", call / step, 2.0, "x", note)


def turns(store: str, agent: agents.Agent) -> tuple[float, float]:
    """The median time of a finished step and of a call."""
    times: dict[str, list[float]] = {"step": [], "call": []}

    def timed(what: str, do: Callable[[], object]) -> None:
        begin = time.perf_counter()
        do()
        times[what].append(time.perf_counter() - begin)

    def node(state: State, ctx: Context) -> None:
        for number in range(CALLS):
            timed("step", lambda number=number: ctx.step(f"step {number}", str, number))  # type: ignore[misc]
            timed("call", lambda number=number: agent.chat(f"{number} {PROMPT}"))  # type: ignore[misc]
        if ctx.attempt == 1:
            raise OSError
        times.update({what: found[CALLS:] for what, found in times.items()})

    graph = StateGraph("calls", store=store)
    graph.add_node("node", node, version="1")
    graph.sequence("node")
    try:
        graph.execute({}, run_id="calls")
    except ExecutionError:
        graph.resume("calls")
    graph.store.close()
    return statistics.median(times["step"]), statistics.median(times["call"])
