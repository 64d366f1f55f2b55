"""How far the graphs are that a node consists of: what the log says of the visits inside a visit."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from tau.log.items import FinishedItems
from tau.log.pauses import PauseState
from tau.log.planned import Plans
from tau.log.records import (
    Admitted,
    CheckpointRecord,
    Claimed,
    Failed,
    Finished,
    InsideManifest,
    Interrupted,
    Item,
    Manifest,
    Pause,
    Planned,
    Progress,
    Record,
    Routed,
    Scope,
    advance,
    follow,
    path_of,
)
from tau.values.stored import Fetch, StoredValue, apply


class Subgraph(Struct):
    """A graph inside the node in flight: how far it is, and what it has changed and removed in the node's state.

    ``progress.status`` is ``finished`` once it has come to an exit point. Its ``crashes`` count the attempts at the
    node that comes next in it.
    """

    progress: Progress
    changed: dict[str, StoredValue] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)


Subgraphs = dict[Scope, Subgraph]


def manifest_inside(
    progress: Progress, values: Mapping[str, StoredValue], subgraphs: Subgraphs, items: int
) -> Manifest:
    """Everything at once, in the middle of a node: the state of the run, and what the graphs inside have done;
    ``items`` counts what is finished in the node."""
    inside = [
        InsideManifest(scope, one.progress, {key: cell.whole for key, cell in one.changed.items()}, sorted(one.removed))
        for scope, one in subgraphs.items()
    ]
    progress = replace(progress, inside=inside, items=items, stuck=0)
    return Manifest(progress, {key: cell.whole for key, cell in values.items()})


def subgraphs_of(progress: Progress, fetch: Fetch) -> Subgraphs:
    """What the progress of a manifest says of the graphs inside, which is taken out of it."""
    found = {
        one.scope: Subgraph(
            one.progress, {key: apply(stored, None, fetch) for key, stored in one.changed.items()}, set(one.removed)
        )
        for one in progress.inside
    }
    progress.inside = []
    return found


def once_claimed(subgraphs: Subgraphs, *, crashed: bool) -> Subgraphs:
    """How far they are once the run has another owner, apart from these; see `claim_inside`."""
    found = {}
    for scope, one in subgraphs.items():
        progress = one.progress
        own = {"visits": progress.visits.copy(), "path": progress.path.copy(), "taken": progress.taken.copy()}
        found[scope] = Subgraph(replace(progress, **own), one.changed.copy(), one.removed.copy())
    claim_inside(found, crashed)
    return found


def cells_inside(
    subgraphs: Subgraphs, record: CheckpointRecord, values: Mapping[str, StoredValue], fetch: Fetch
) -> dict[str, StoredValue]:
    """What a visit inside a node has set, as its record tells it; ``values`` are the state of the run."""
    scope = record.scope
    return {key: apply(stored, _before(subgraphs, scope, key, values), fetch) for key, stored in record.changed.items()}


def note_inside(subgraphs: Subgraphs, record: Record, cells: Mapping[str, StoredValue], *, crashes: int) -> None:
    """What a record tells of the graphs inside the node in flight; ``cells`` are at least those that it sets, if it is
    a checkpoint. ``crashes`` are the earlier attempts at that node, which are those at the first node of a graph of
    which nothing is known."""
    _begin(subgraphs, record, crashes)
    if isinstance(record, CheckpointRecord):
        one = subgraphs[record.scope]
        for key in record.changed:
            one.changed[key] = cells[key]
            one.removed.discard(key)
        for key in record.removed:
            one.changed.pop(key, None)
            one.removed.add(key)
        advance(one.progress, record.node, record.visit, record.next)
        one.progress.updated = record.time
        drop_subgraphs(subgraphs, record.scope, record.node, record.visit)
    elif isinstance(record, Routed):
        follow(subgraphs[record.scope].progress, record.node, record.next)
    elif isinstance(record, Finished):
        subgraphs[record.scope].progress.status = "finished"
    elif isinstance(record, Failed | Interrupted):
        progress = subgraphs[record.scope].progress
        progress.crashes, progress.status = record.attempt, "failed"
    elif isinstance(record, Item | Planned | Pause):
        depth = _depth(record.scope)
        if depth:
            progress = subgraphs[record.scope[:depth]].progress
            if isinstance(record, Pause):
                progress.crashes, progress.status = record.attempt, "waiting"
            elif isinstance(record, Item):
                progress.items += 1


def after(subgraphs: Subgraphs | None, record: Record, crashes: int) -> Subgraphs | None:
    """How far they are after a record that is no checkpoint; ``None`` where that is not known. That a run was
    claimed is counted by `once_claimed`."""
    if isinstance(record, Admitted):
        return {}
    if subgraphs is not None and record.scope and is_inside(record):
        note_inside(subgraphs, record, {}, crashes=crashes)
    elif subgraphs and isinstance(record, Claimed) and record.on_change == "redo":
        redo_inside(subgraphs)
    return subgraphs


def after_items(subgraphs: Subgraphs | None, finished: Sequence[tuple[Item, object]], crashes: int) -> Subgraphs | None:
    """The same after the records of these items."""
    for record, _ in finished:
        if len(record.scope) > 1:  # else it is in no graph inside a node
            after(subgraphs, record, crashes)
    return subgraphs


def _begin(subgraphs: Subgraphs, record: Record, crashes: int) -> None:
    if isinstance(record, CheckpointRecord | Routed | Finished | Failed | Interrupted):
        scope, node = record.scope, record.node
    else:
        depth = _depth(record.scope)
        scope, node = record.scope[:depth], record.scope[depth][0]
    if scope and scope not in subgraphs:
        subgraphs[scope] = Subgraph(Progress(graph="", next=node, crashes=crashes))


def redo_inside(subgraphs: Subgraphs) -> None:
    """Drop what is known of the node in flight, if all that it consists of has come to its end: it is the whole that
    is to be done anew."""
    if all(one.progress.status == "finished" for scope, one in subgraphs.items() if len(scope) == 1):
        subgraphs.clear()


def is_inside(record: Record) -> bool:
    """Whether it tells of a graph inside a node: of the visits of its nodes, or of what one of these does."""
    if isinstance(record, CheckpointRecord | Routed | Finished | Failed | Interrupted):
        return bool(record.scope)
    return _depth(record.scope) > 0


def node_of(record: Record) -> str:
    """What people are told the node is called that a record is about; empty where it is about none."""
    node = getattr(record, "node", "")
    if isinstance(node, str) and node:
        return path_of(record.scope, node)
    return node_of_scope(record.scope)


def node_of_scope(scope: Scope) -> str:
    """The same of something that belongs there."""
    depth = _depth(scope)
    return path_of(scope[:depth], scope[depth][0]) if scope else ""


def names_in(scope: Scope) -> list[str]:
    """The names of what belongs there, from its node on: the path of that node, if it is inside another one, and the
    names of steps, maps and items."""
    depth = _depth(scope)
    names = [name for *_, name in scope[depth:]]
    return [node_of_scope(scope), *names] if depth else names


def claim_inside(subgraphs: Subgraphs, crashed: bool) -> None:
    """The run has another owner; ``crashed``: the one before was killed in the middle of what had not ended."""
    for one in subgraphs.values():
        progress = one.progress
        progress.crashes += crashed and progress.status == "running"
        progress.status = "finished" if progress.status == "finished" else "running"


def drop_visit(
    record: CheckpointRecord,
    items: FinishedItems,
    pauses: MutableMapping[str, PauseState],
    plans: Plans,
) -> None:
    """Drop what belongs to a visit inside a node, which is finished by that record."""
    visited = (*record.scope, (record.node, record.visit))
    items.drop(lambda scope: _belongs(scope, visited))
    for name in [name for name, state in pauses.items() if _belongs(state.scope, visited)]:
        del pauses[name]
    for plan in [one for one in plans if _belongs(one, visited)]:
        del plans[plan]


def drop_subgraphs(subgraphs: Subgraphs, scope: Scope, node: str, visit: int) -> None:
    """Drop what is known of the graphs inside a visit that is finished."""
    for inner in [one for one in subgraphs if _belongs(one, (*scope, (node, visit)))]:
        subgraphs.pop(inner, None)


def _belongs(place: Scope, visited: tuple[tuple[Any, ...], ...]) -> bool:
    """Whether something that lies there belongs to a visit: what is around it, its node and number."""
    depth = len(visited) - 1
    return len(place) > depth and place[:depth] == visited[:depth] and place[depth][:2] == visited[depth]


def _depth(scope: Scope) -> int:
    """How many of its first parts name graphs inside nodes: each is followed by a visit, whose number is not 0.

    2 in (("prepare", 1, "co2"), ("fit", 3, ""), ("window", 1, "map"), ("item 7", 0, "step")), a step of an item of a
    map of the node ``window``.
    """
    depth = 0
    while depth + 1 < len(scope) and scope[depth + 1][1] > 0:
        depth += 1
    return depth


def _before(subgraphs: Subgraphs, scope: Scope, key: str, values: Mapping[str, StoredValue]) -> StoredValue | None:
    for depth in range(len(scope), 0, -1):
        if (one := subgraphs.get(scope[:depth])) is not None:
            if key in one.changed:
                return one.changed[key]
            if key in one.removed:
                return None
    return values.get(key)
