"""What `tau resume --plan` says: what a resume would skip, run and refuse, and why. Nothing is claimed or changed."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from tau.cli import screen
from tau.cli.outcome import Exit, Session, complain
from tau.cli.places import find, is_there
from tau.cli.reading import Account, read_run
from tau.history import ResumePlan
from tau.ownership import load
from tau.run import StateGraph


class Line(Struct, frozen=True):
    """One node or obstacle: ``what`` is skip, run, then or refuse."""

    what: str
    node: str
    why: str


def show_plan(session: Session, graph: StateGraph, run_id: str, on_change: str) -> int:
    """Print the plan; the exit code is that of the resume where it would be refused, 0 otherwise."""
    place, summary = find(graph.store if is_there(graph.store) else None, run_id, session)
    account = read_run(place, summary)
    plan = graph.plan(run_id)
    refused = list(_obstacles(plan, account, graph, on_change))
    lines = [*_skipped(account), *([] if refused else _to_run(plan, account, graph))]
    lines += [Line("refuse", plan.pending or "", why) for why in refused]
    notes = [*plan.notes, *([] if refused else plan.blocking)]
    code = Exit.REFUSED if refused else Exit.DONE
    if session.as_json:
        named = {"run_id": run_id, "graph": graph.name, "status": account.status, "store": session.store}
        rows = [{"what": line.what, "node": line.node or None, "why": line.why} for line in lines]
        screen.document({**named, "can_resume": not refused, "plan": rows, "notes": notes, "exit_code": int(code)})
        return code
    for note in notes:
        complain(f"the graph has changed: {note}")
    if account.damage:
        complain(f"{account.damage}; a resume goes on from the newest sound checkpoint")
    screen.fields({"run": run_id, "graph": graph.name, "status": account.status, "resume": _verdict(plan, refused)})
    screen.line()
    screen.table(("what", "node", "why"), ([line.what, line.node, line.why] for line in lines))
    return code


def _verdict(plan: ResumePlan, refused: list[str]) -> str:
    if refused:
        return "refused"
    if plan.status == "finished":
        return "gives the stored result"
    return f"goes on at {plan.pending}" if plan.pending is not None else "goes on where the edges lead"


def _obstacles(plan: ResumePlan, account: Account, graph: StateGraph, on_change: str) -> Iterator[str]:
    """Why a resume would be refused."""
    summary = account.summary
    if plan.status == "cancelled":
        yield "the run was cancelled; start a new run"
    elif plan.status == "waiting":
        yield "the run waits for an answer; give it, then resume"
    if account.status == "running":
        yield f"it is owned by {summary.owner}; --wait SECONDS waits for it, tau cancel ends the run"
    lost = plan.pending is not None and plan.pending not in graph.nodes
    if on_change == "error" or lost or summary.base == 0:
        yield from plan.blocking
    crashes = _crashes(graph, plan.run_id)
    most = graph.config.checkpoint.max_crashes
    if crashes > most:
        yield f"it was killed {crashes} times in a row at {plan.pending}, the limit is {most}; find out what kills it"


def _crashes(graph: StateGraph, run_id: str) -> int:
    """How many times in a row the run was killed, that which a resume would take it over from included."""
    found, _ = load(graph.store, run_id)
    return found.progress.stuck + 1 if found.progress is not None and found.status == "running" else 0


def _skipped(account: Account) -> Iterator[Line]:
    """The finished nodes, in the order in which they finished first."""
    for name in dict.fromkeys(visit.node for visit in account.visits):
        visits = [visit for visit in account.visits if visit.node == name]
        times = f"{len(visits)} visits" if len(visits) > 1 else "finished"
        took = screen.duration(sum(visit.seconds for visit in visits))
        yield Line("skip", name, f"{times}, {took}, until {screen.moment(visits[-1].ended)}")


def _to_run(plan: ResumePlan, account: Account, graph: StateGraph) -> Iterator[Line]:
    """The node that comes next, then all that the edges may lead to."""
    if plan.status == "finished" or plan.pending is None:
        return
    finished = {visit.node for visit in account.visits}
    yield Line("run", plan.pending, _why(account, plan.pending))
    for name in reachable(graph, plan.pending):
        yield Line("then", name, "may be visited again" if name in finished | {plan.pending} else "not reached yet")


def _why(account: Account, pending: str) -> str:
    if account.failure is not None and account.failed == pending:
        return f"failed: {account.failure.type}: {account.failure.text}"
    if account.status == "dead":
        return "its process ended before it did"
    return f"stopped before it ({account.reason})" if account.reason else "comes next"


def reachable(graph: StateGraph, start: str) -> list[str]:
    """The nodes that edges lead to from ``start``, nearest first; ``start`` itself only where a loop leads back to it.

    Nothing follows an exit point.
    """
    found: dict[str, None] = {}
    nearest = [start]
    for name in nearest:
        for edge in graph.edges.get(name, ()) if name not in graph.exit_points else ():
            if edge.target not in found:
                found[edge.target] = None
                nearest.append(edge.target)
    return list(found)
