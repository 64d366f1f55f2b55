"""What "changed" means for a run: how the fingerprints of two graphs compare."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from msgspec import Struct

from tau.graph.changed_code import cannot_be_known, inner_changes, same_code, same_node, what_changed
from tau.graph.edges import ANYWHERE, END
from tau.graph.fingerprint import CodeFingerprint, EdgeFingerprint, GraphFingerprint, NodeFingerprint


class Comparison(Struct):
    """What differs: ``notes`` do not stand in the way of a resume, ``blocking`` differences do; each is a sentence.
    ``ways`` are what can be done about the blocking ones, each once. Of a ``foreign`` run nothing else is said, and no
    ``on_change`` makes it this graph's, nor where the node that comes next is ``lost``."""

    notes: list[str]
    blocking: list[str]
    foreign: bool = False
    lost: bool = False
    ways: list[str] = []


def compare(
    *,
    current: GraphFingerprint,
    graph_name: str,
    admitted: GraphFingerprint,
    finished: Mapping[str, NodeFingerprint],
    edges_taken: Collection[tuple[str, str]] = (),
    pending: str | None = None,
    has_items: bool = False,
    misfits: Mapping[str, str] = MappingProxyType({}),
) -> Comparison:
    """How the graph ``current`` differs from the one that made a run, for that run.

    ``graph_name`` and ``admitted`` are as stored with the last accepted claim, ``finished`` maps each node with a
    committed visit to its fingerprint of then, ``edges_taken`` are (source, target) pairs, ``pending`` is the node that
    comes next, ``has_items`` says whether finished items lie inside it, ``misfits`` why stored values do not fit the
    schema. A pure function.
    """
    global _latest  # noqa: PLW0603
    edges = frozenset(map(_pair, edges_taken))
    asked = _Asked(current, admitted, graph_name, dict(finished), edges, pending, has_items, dict(misfits))
    latest = _latest
    if latest is None or latest[0] != asked:  # of the runs that a worker takes, one is mostly as the other
        latest = _latest = (asked, _compared(asked))
    found = latest[1]
    return Comparison([*found.notes], [*found.blocking], foreign=found.foreign, lost=found.lost, ways=[*found.ways])


class _Asked(NamedTuple):
    current: GraphFingerprint
    admitted: GraphFingerprint
    graph_name: str
    finished: Mapping[str, NodeFingerprint]
    edges_taken: frozenset[tuple[str, str]]
    pending: str | None
    has_items: bool
    misfits: Mapping[str, str]


_latest: tuple[_Asked, Comparison] | None = None


def _compared(asked: _Asked) -> Comparison:
    current, admitted, graph_name, finished, edges_taken, pending, has_items, misfits = asked
    found = _Findings(current, admitted)
    if graph_name != current.name:
        other = _not_of(current, admitted, finished, pending)
        whose = f"the run belongs to graph {graph_name!r}, this graph is {current.name!r}"
        if other:
            sentence = (
                f"{whose}, in which {', '.join(map(repr, other))} {'is' if len(other) == 1 else 'are'} not what the "
                "run went through"
            )
            renamed = f"give a graph that was renamed and edited its old name back, GraphConfig({graph_name!r})"
            return Comparison(notes=[], blocking=[sentence], foreign=True, ways=[_THAT_GRAPH, renamed])
        found.block(whose, _THAT_GRAPH, _RENAMED)
    for name in sorted(finished):
        found.finished(name, finished[name])
    if pending is not None and (pending not in finished or (has_items and pending in current.nodes)):
        found.pending(pending, has_items, again=pending in finished)
    for source, target in sorted(edges_taken):
        found.taken(source, target)
    found.schema(misfits)
    found.rest(set(finished) | ({pending} if pending is not None else set()))
    return Comparison(notes=found.notes, blocking=found.blocking, ways=list(found.ways))


def only_misfits(misfits: Mapping[str, str]) -> Comparison:
    """What stands in the way of a run of which nothing else is known."""
    nothing = GraphFingerprint("", {}, (), None, ())
    found = _Findings(nothing, nothing)
    found.schema(misfits)
    return Comparison(notes=found.notes, blocking=found.blocking, ways=list(found.ways))


def _not_of(
    current: GraphFingerprint,
    admitted: GraphFingerprint,
    finished: Mapping[str, NodeFingerprint],
    pending: str | None,
) -> list[str]:
    """The nodes for which a run is not one of this graph under another name: a finished one that is gone or changed,
    or the next one where it is gone, or changed and nothing is finished."""
    judged = dict(finished)
    if pending is not None and pending in admitted.nodes and (pending not in current.nodes or not finished):
        judged[pending] = admitted.nodes[pending]
    now = current.nodes
    return sorted(name for name, then in judged.items() if name not in now or same_node(then, now[name]) is False)


def _pair(edge: Collection[str]) -> tuple[str, str]:
    source, target = edge
    return source, target


_THAT_GRAPH = "use the graph of that name"
_RENAMED = "on_change='continue' takes it for this one, renamed, as its nodes are those that the run went through"
_RESTORE = "restore what was changed"
_ANEW = "start a new run id"
_KEEP = "on_change='continue' keeps what is stored and goes on"


class _Findings:
    """Collects the differences, node by node and edge by edge."""

    def __init__(self, current: GraphFingerprint, admitted: GraphFingerprint) -> None:
        self.current = current
        self.admitted = admitted
        self.ends = {(edge.source, edge.target) for edge in current.edges}
        self.notes: list[str] = []
        self.blocking: list[str] = []
        self.ways: dict[str, None] = {}

    def block(self, sentence: str, *ways: str) -> None:
        self.blocking.append(sentence)
        self.ways.update(dict.fromkeys(ways))

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)

    def finished(self, name: str, then: NodeFingerprint) -> None:
        """A node with a committed visit: it must be there, be the same, and not have become an exit."""
        now = self.current.nodes.get(name)
        if now is None:
            self.block(f"finished node {name!r} is gone{self._renamed(then)}", _RESTORE, _ANEW, _KEEP)
            return
        same = same_node(then, now)
        if same is False:
            self.block(f"finished node {name!r} changed ({what_changed(then, now)})", _RESTORE, _ANEW, _KEEP)
        elif same is None and then.opaque and now.opaque:
            self.block(
                f"finished node {name!r} has no Python code, so it cannot be known whether it changed",
                "give such a node version= before the next run",
                _KEEP,
            )
        elif same is None:
            self.note(cannot_be_known(f"finished node {name!r}", then, now))
        elif changes := self._inner(name, then, now):
            self.block(f"finished node {name!r} changed ({'; '.join(changes)})", _RESTORE, _ANEW, _KEEP)
        if name in self.current.exits and name not in self.admitted.exits:
            self.block(
                f"finished node {name!r} became an exit point, which would have ended the run", _RESTORE, _ANEW, _KEEP
            )

    def pending(self, name: str, has_items: bool, again: bool = False) -> None:
        """The node that comes next, or was in flight: it must be there; with finished items inside it, be the same.
        ``again``: an earlier visit of it is finished."""
        then, now = self.admitted.nodes.get(name), self.current.nodes.get(name)
        if now is None:
            self.block(
                f"the node to run next, {name!r}, is gone{self._renamed(then)}, and no on_change= can replace it",
                "add a node of that name",
                _ANEW,
            )
            return
        same = False if then is None else same_node(then, now)
        if same is True and then is not None:
            changes = self._inner(name, then, now, began=has_items)
            if changes and has_items:
                self.block(
                    f"node {name!r}, of which a part is finished, changed ({'; '.join(changes)})", _RESTORE, _ANEW
                )
            elif changes:
                self.note(f"node {name!r}, which comes next, changed ({'; '.join(changes)})")
            return
        what = f"node {name!r}, which comes next,"
        if not has_items:
            self.note(f"{what} changed" if same is False else cannot_be_known(what, then or now, now))
        elif same is False or now.opaque:
            what = f"changed ({what_changed(then, now)})" if then is not None and same is False else "changed"
            self.block(
                f"node {name!r}, in which {'this time ' if again else ''}steps or files are finished already, {what}",
                _RESTORE,
                _ANEW,
                _KEEP,
                "on_change='redo' also drops those steps and files, and does them anew",
            )
        elif not again:
            self.note(cannot_be_known(what, then or now, now))

    def taken(self, source: str, target: str) -> None:
        anywhere = (source, ANYWHERE) in self.ends and target in self.current.nodes
        if (source, target) not in self.ends and not anywhere:
            self.block(f"edge {source!r} -> {target!r}, which this run has taken, is gone", _RESTORE, _ANEW, _KEEP)

    def schema(self, misfits: Mapping[str, str]) -> None:
        """What the state must be: another schema does no harm where what is stored fits."""
        before, now = self.admitted.schema, self.current.schema
        if before is None or now is None:
            if before is not now:
                self.note("the graph has a schema now" if before is None else "the graph has no schema any more")
        else:
            names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
            self._each("the field {!r} of the schema changed", names)
        for key in sorted(misfits):
            self.block(f"the state does not fit the schema: {key!r}: {misfits[key]}", _RESTORE, _ANEW, _KEEP)

    def rest(self, judged: Collection[str]) -> None:
        """All that this run has not reached yet, and what decides where it goes from here."""
        old, new = self.admitted.nodes, self.current.nodes
        self._each("node {!r} is new", new.keys() - old.keys() - set(judged))
        self._each("node {!r}, not run yet, is gone", old.keys() - new.keys() - set(judged))
        common = (old.keys() & new.keys()) - set(judged)
        changed = {n for n in common if same_node(old[n], new[n]) is False or self._inner(n, old[n], new[n])}
        self._each("node {!r}, not run yet, changed", changed)
        self._edges()
        if self.admitted.entry != self.current.entry:
            self.note(f"the entry point is now {self.current.entry!r}, this run began at {self.admitted.entry!r}")
        was, now = set(self.admitted.exits), set(self.current.exits)
        self._each("node {!r} became an exit point", (now - was) & old.keys())
        self._each("node {!r} is not an exit point any more", (was - now) & new.keys())

    def _inner(self, name: str, then: NodeFingerprint, now: NodeFingerprint, *, began: bool = False) -> list[str]:
        """What differs in the graphs that a node consists of, unless its versions decide."""
        if then.version is not None and now.version is not None:
            return []
        return inner_changes(self.admitted.inner.get(name), self.current.inner.get(name), began=began)

    def _each(self, sentence: str, names: Iterable[str]) -> None:
        self.notes += [sentence.format(name) for name in sorted(names)]

    def _edges(self) -> None:
        before, now = _grouped(self.admitted.edges, "source"), _grouped(self.current.edges, "source")
        for source in sorted(before.keys() | now.keys()):
            leaving, leaves = before.get(source, []), now.get(source, [])
            if any(edge.route is not None for edge in (*leaving, *leaves)):
                self._route(source, leaving, leaves)
                continue
            old, new = _grouped(leaving, "target"), _grouped(leaves, "target")
            for target in old | new:
                self._edge(source, target, old.get(target, []), new.get(target, []))
            were, are = [edge.target for edge in leaving], [edge.target for edge in leaves]
            if are != were and sorted(are) == sorted(were):
                self.note(f"the edges from {source!r} are tried in another order")

    def _route(self, source: str, old: list[EdgeFingerprint], new: list[EdgeFingerprint]) -> None:
        """A route asks once for all of its edges."""
        then, now, where = old[0].route if old else None, new[0].route if new else None, f"the route of node {source!r}"
        if then is None or now is None:
            self.note(f"{where} is new" if then is None else f"{where} is gone")
            return
        if same_node(then, now) is False:
            self.note(f"{where} changed ({what_changed(then, now)})")
        were, are = {edge.name: edge.target for edge in old}, {edge.name: edge.target for edge in new}
        if ANYWHERE in (*were.values(), *are.values()):
            answers = "an answer for each way it may go" if ANYWHERE in were.values() else "the names of nodes"
            if were != are:
                self.note(f"{where} answers with {answers} now")
            return
        for answer in [name for name in were | are if were.get(name) != are.get(name)]:
            end = {END: "to the end of the run", None: "nowhere"}
            ways = [end.get(to, f"to {to!r}") for to in (were.get(answer), are.get(answer))]
            self.note(f"the answer {answer!r} of {where} leads {ways[1]} now, and led {ways[0]}")

    def _edge(self, source: str, target: str, old: list[EdgeFingerprint], new: list[EdgeFingerprint]) -> None:
        edge = f"edge {source!r} -> {target!r}"
        if len(old) != len(new):
            self.note(f"{edge} is {'gone' if not new else 'new' if not old else 'there another number of times'}")
        elif any(_same_predicate(a.predicate, b.predicate) is False for a, b in zip(old, new, strict=True)):
            self.note(f"the predicate of {edge} changed")

    def _renamed(self, then: NodeFingerprint | None) -> str:
        if then is None or then.opaque:
            return ""
        fresh = sorted(self.current.nodes.keys() - self.admitted.nodes.keys())
        names = [repr(name) for name in fresh if same_code(then.code, self.current.nodes[name].code)]
        return f" (the new node {' or '.join(names)} has the same code: renamed?)" if names else ""


def _grouped(edges: Iterable[EdgeFingerprint], by: str) -> dict[str, list[EdgeFingerprint]]:
    found: dict[str, list[EdgeFingerprint]] = {}
    for edge in edges:
        found.setdefault(getattr(edge, by), []).append(edge)
    return found


def _same_predicate(old: CodeFingerprint | None, new: CodeFingerprint | None) -> bool | None:
    if old is None or new is None:
        return old is new
    return same_code(old, new)
