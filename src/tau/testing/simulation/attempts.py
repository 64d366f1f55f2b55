"""The numbers of attempts in a simulated run, held against what its log says."""

from __future__ import annotations

from collections.abc import Iterator

from tau.log.records import (
    Answer,
    CheckpointRecord,
    Claimed,
    Failed,
    Interrupted,
    Item,
    Pause,
    Planned,
    Routed,
)
from tau.testing.simulation.world import World


def attempts(world: World) -> Iterator[str]:
    """The first attempt of a visit by an owner counts those of earlier ones; of a node that consists of graphs, each
    node inside has a count of its own."""
    if any(node.inside for node in world.processes[0].request.graph.nodes.values()):
        return
    crashes = _earlier(world)
    for process in world.processes:
        seen: dict[tuple[str, int], int] = {}
        for execution in world.executions:
            if execution.process != process.number:
                continue
            visit = (execution.node, execution.visit)
            if process.number not in crashes:
                yield f"process {process.number} ran {visit} without owning the run"
                break
            before = seen.get(visit, 0 if seen else crashes[process.number])
            if execution.attempt != before + 1:
                yield f"process {process.number} ran {visit} as attempt {execution.attempt}, it is attempt {before + 1}"
            seen[visit] = execution.attempt


def _earlier(world: World) -> dict[int, int]:
    """How many attempts had been made at the visit in flight when each process claimed the run."""
    crashes, running, before = 0, False, False  # before: nothing was written since the claim
    found: dict[int, int] = {}
    for entry in world.history.entries:
        if isinstance(entry.record, Claimed):
            crashes += running
            found[entry.process] = crashes
            running = before = True
        elif not isinstance(entry.record, Item | Answer | Planned):
            running = isinstance(entry.record, CheckpointRecord | Routed)
            crashes = entry.record.attempt if isinstance(entry.record, Failed | Interrupted | Pause) else 0
            if isinstance(entry.record, Routed) and before:  # these are no crashes of the node that comes next
                found[entry.process] = 0
            before = False
    return found
