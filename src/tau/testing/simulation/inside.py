"""What must hold of the graphs inside the nodes of a simulated run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from tau.log.records import CheckpointRecord, Scope
from tau.log.replay import Replay
from tau.testing.simulation.world import World

Step = tuple[str, int, int, str | None]
Inside = Mapping[Scope, tuple[Step, ...]]


def inside(world: World) -> dict[Scope, tuple[Step, ...]]:
    """The finished visits of each graph inside a node, in the order of the log."""
    found: dict[Scope, tuple[Step, ...]] = {}
    for record in world.history.records:
        if isinstance(record, CheckpointRecord) and record.scope:
            step = (record.node, record.visit, record.iteration, record.next)
            found[record.scope] = (*found.get(record.scope, ()), step)
    return found


def wrong_inside(world: World, expected: Inside, *, has_failed: bool) -> Iterator[str]:
    """What is inside a node goes its way, too: no visit twice, none left out before its node is finished.
    ``has_failed``: the uninterrupted run does."""
    done = inside(world)
    for scope, steps in done.items():
        wanted = expected.get(scope, ())
        if steps != wanted[: len(steps)]:
            yield f"the graph inside {scope} went {steps}, in the uninterrupted run {wanted}"
    if world.is_over and not world.history.cancelled and not has_failed and done != expected:
        missing = [scope for scope, steps in expected.items() if done.get(scope) != steps]
        yield f"the run is finished, and the graphs inside {missing} are not"


def width(expected: Inside) -> int:
    """How many nodes are in flight at once where most branches are."""
    most = Counter((*scope[:-1], scope[-1][:2]) for scope in expected)
    return max(most.values(), default=1)


def in_flight(replay: Replay) -> tuple[Any, ...]:
    """What a log adds up to of the node that is in flight."""
    graphs = {
        scope: (one.progress, {key: cell.whole for key, cell in one.changed.items()}, one.removed)
        for scope, one in replay.subgraphs.items()
    }
    return graphs, sorted(replay.items.scopes()), replay.pauses, replay.plans
