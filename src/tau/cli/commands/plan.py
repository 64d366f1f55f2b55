"""What `tau resume --plan` says: what a resume would skip, run and refuse, and why. Nothing is claimed or changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Set

from msgspec import Struct

from tau.cli.exits import Exit
from tau.cli.outcome import Session, complain, exit_code, message, remedy
from tau.cli.output import screen
from tau.cli.places import find_in
from tau.cli.reading import Account, Visit, read_run
from tau.engine.plan import ResumePlan
from tau.errors import GraphChangedError, LimitExceededError
from tau.graph.edges import END
from tau.graph.graph import Graph
from tau.state_graph import StateGraph
from tau.verbs.running import OnChange


class Line(Struct, frozen=True):
    """One node or obstacle: ``what`` is skip, run, then or refuse."""

    what: str
    node: str
    why: str


def show_plan(session: Session, graph: StateGraph, run_id: str, on_change: OnChange) -> int:
    """Print the plan; the exit code is that of the resume where it would be refused, 0 otherwise."""
    place, summary = find_in(graph, run_id, session)
    account = read_run(place, summary)
    plan = graph.plan(run_id, on_change=on_change)
    lines = [*_skipped(account.visits)]
    is_redone = account.is_joined and on_change == "redo"  # all that is inside
    if not (is_redone or isinstance(plan.refusal, GraphChangedError)):
        lines += _skipped(account.inside)
    lines += _to_run(plan, account, graph, on_change) if plan.can_resume else ()
    lines += _refusals(plan, {*graph.nodes, *(visit.node for visit in account.visits)})
    notes = [*plan.notes, *(text for text in plan.blocking if text not in plan.obstacles)]
    code = Exit.DONE if plan.refusal is None else exit_code(plan.refusal)
    if session.as_json:
        named = {"run_id": run_id, "graph": graph.name, "status": account.status, "store": session.store}
        rows = [{"what": line.what, "node": line.node or None, "why": line.why} for line in lines]
        screen.document({**named, "can_resume": plan.can_resume, "plan": rows, "notes": notes, "exit_code": int(code)})
        return code
    for note in notes:
        complain(f"the graph has changed: {note}")
    if account.damage:
        complain(f"{account.damage}; a resume continues from the newest undamaged checkpoint")
    screen.fields({"run": run_id, "graph": graph.name, "status": account.status, "resume": _verdict(plan, graph)})
    screen.line()
    screen.table(("what", "node", "why"), ([line.what, line.node, line.why] for line in lines))
    if plan.refusal is not None and (way_out := remedy(plan.refusal, session)):
        screen.note("remedy", way_out, error=False)
    return code


def _verdict(plan: ResumePlan, graph: StateGraph) -> str:
    if not plan.can_resume:
        return "refused"
    if plan.status == "finished":
        return "returns the stored result"
    if plan.pending is not None:
        return f"continues at {plan.pending}"
    asks = any(node in graph.routes for node in plan.finished[-1:])
    return f"asks the route of {plan.finished[-1]}" if asks else "continues where the edges lead"


def _refusals(plan: ResumePlan, nodes: Set[str]) -> Iterator[Line]:
    """What stands in the way, each with the node that it is about."""
    refusal, pending = plan.refusal, plan.pending
    if isinstance(refusal, GraphChangedError):
        for why in refusal.changes:
            places = {name: why.find(f"node {name!r}") for name in nodes}
            named = min((name for name, place in places.items() if place >= 0), key=places.__getitem__, default="")
            yield Line("refuse", named or (pending if pending and f"next, {pending!r}" in why else ""), why)
    elif refusal is not None:
        about = pending if isinstance(refusal, LimitExceededError) else getattr(refusal, "node", None)
        yield Line("refuse", about or "", message(refusal))


def _skipped(finished: Sequence[Visit]) -> Iterator[Line]:
    """The finished nodes, in the order in which they finished first."""
    found: dict[str, list[Visit]] = {}
    for visit in finished:
        found.setdefault(visit.node, []).append(visit)
    for name, visits in found.items():
        times = f"{len(visits)} visits" if len(visits) > 1 else "finished"
        took = screen.duration(sum(visit.seconds for visit in visits))
        yield Line("skip", name, f"{times}, {took}, {'last ' * (len(visits) > 1)}at {screen.moment(visits[-1].ended)}")


def _to_run(plan: ResumePlan, account: Account, graph: StateGraph, on_change: OnChange) -> Iterator[Line]:
    """The node that comes next, then all that the edges may lead to."""
    finished = {visit.node for visit in account.visits}
    if plan.status == "finished" or plan.pending is None:
        undecided = plan.finished[-1:] if plan.status != "finished" else ()
        for name in (name for node in undecided for name in reachable(graph, node)):
            yield Line("then", name, "may be visited again" if name in finished else "not reached yet")
        return
    yield Line("run", plan.pending, "; ".join(filter(None, (_why(account, plan.pending), _pieces(account, on_change)))))
    around = {(*one.scope[:-1], one.scope[-1][:2]) for one in account.unfinished if one.scope}
    for one in account.unfinished[1:]:
        if (*one.scope, (one.name, one.visit)) not in around:
            yield Line("run", one.node, "was begun" if one.begun else "comes next")
    if not (account.is_joined and on_change == "redo"):
        for name in _untold(graph, account):
            yield Line("run", name, "nothing of it is stored")
    for name in reachable(graph, plan.pending):
        yield Line("then", name, "may be visited again" if name in finished | {plan.pending} else "not reached yet")


def _untold(graph: StateGraph, account: Account) -> Iterator[str]:
    """The branches of what is not finished that the log tells nothing of: they may have begun or not."""
    for one in account.unfinished:
        inner: Graph | None = graph
        for outer, _, branch in one.scope:
            inner = _branches(inner, outer).get(branch)
        depth, here = len(one.scope), (*one.scope, (one.name, one.visit))
        seen = [*(found.scope for found in account.inside), *(found.scope for found in account.unfinished)]
        told = {at[depth][2] for at in seen if len(at) > depth and (*at[:depth], at[depth][:2]) == here}
        yield from (f"{one.node}/{name}" for name in _branches(inner, one.name) if name and name not in told)


def _branches(graph: Graph | None, node: str) -> dict[str, Graph]:
    """The graphs that a node consists of, by the names of its branches; none of another node."""
    found = graph.nodes.get(node) if graph is not None else None
    return {} if found is None or found.inside is None else {one.name: one.graph for one in found.inside.branches}


def _why(account: Account, pending: str) -> str:
    if account.failure is not None and account.failed == pending:
        return f"failed: {account.failure.type}: {account.failure.text}"
    if account.status == "dead":
        return "its process ended before it did"
    if not account.reason:
        return "comes next"
    return f"stopped {'before it had finished' if account.begun else 'before it'} ({account.reason})"


def _pieces(account: Account, on_change: OnChange) -> str:
    """What becomes of the finished items of the node in flight; empty if there are none."""
    found = Counter[str]()
    for item in account.items:
        found[item.kind.removesuffix("s")] += item.count
    counts = [f"{count:,} finished {kind}{'s' * (count > 1)}" for kind, count in found.items()]
    verb = "are" if found.total() > 1 else "is"
    return f"{' and '.join(counts)} {verb} {'dropped' if on_change == 'redo' else 'kept'}" if counts else ""


def reachable(graph: StateGraph, start: str) -> list[str]:
    """The nodes that edges lead to from ``start``, nearest first; ``start`` itself only where a loop leads back to it.

    Nothing follows an exit point.
    """
    found: dict[str, None] = {}
    nearest = [start]
    for name in nearest:
        for edge in graph.edges.get(name, ()) if name not in graph.exit_points else ():
            if edge.target not in found and edge.target != END:
                found[edge.target] = None
                nearest.append(edge.target)
    return list(found)
