"""`tau show`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from msgspec.structs import asdict

from tau.cli import options
from tau.cli.attempt import resume_command
from tau.cli.call_counts import CallCount, together
from tau.cli.commands.runs import document
from tau.cli.exits import Exit
from tau.cli.finished import Piece
from tau.cli.outcome import Session, complain, note_left_out, reporting
from tau.cli.output import contents, screen
from tau.cli.output.contents import Key
from tau.cli.output.paths import Step, steps_of
from tau.cli.places import find, note_emptied, reading
from tau.cli.prompts import prompts_of
from tau.cli.reading import Account, Move, Unfinished, Visit, read_run
from tau.cli.targets import read_project
from tau.log.pauses import PauseState
from tau.log.records import Failure
from tau.state_names import check_run_id

VISITS_SHOWN = 50


@click.command()
@options.run_id
@options.store
@options.values
@options.as_json
@reporting
def show(session: Session, *, run_id: str, store: str | None, values: bool) -> int:
    """Show a run: its status, path, state and error.

    Of the state, only names, types and sizes are shown; --values shows the values too, and what models were asked
    where an agent keeps that (journal_prompts).

    \b
    Examples:
      tau show climate-2024
      tau show climate-2024 --values --json
    """
    place, summary = find(reading(store, read_project(), session), check_run_id(run_id), session)
    account = read_run(place, summary, prompts=values)
    keys = list(contents.keys_of(account.values))
    if session.as_json:
        screen.document(_document(account, keys, values, session.store))
        return Exit.DONE
    _show(session, account, store)
    if account.moves:
        screen.line()
        heads = ("resume", "entry", "changed", "before", "now")
        screen.table(heads, (row for one in account.moves for row in _changed(one)))
    if steps := list(steps_of(account)):
        screen.line()
        _show_path(steps)
    if account.items:
        screen.line()
        heads = ("item", "kind", "took", "size", "finished")
        screen.table(heads, (_item(one) for one in account.items))
    if account.calls:
        screen.line()
        _show_calls(account.calls)
    if prompts := list(prompts_of(account.asked or ())):
        screen.line()
        screen.table(
            ("asked in", "name", "role", "content"), ([one.node, one.name, one.role, one.content] for one in prompts)
        )
    if keys:
        screen.line()
        contents.show_keys(keys, values)
    _show_artifacts(contents.artifacts(keys))
    if account.failure is not None:
        screen.line()
        _show_failure(account.failure)
    return Exit.DONE


def _show(session: Session, account: Account, store: str | None) -> None:
    summary, made = account.summary, account.provenance
    if account.damage:
        complain(f"{account.damage}; what can be read is shown")
    note_emptied(summary)
    revision = made.get("git_revision", "")[:12] + (
        " with uncommitted changes" if made.get("git_dirty") == "yes" else ""
    )
    screen.fields(
        {
            "run": summary.run_id,
            "graph": summary.graph,
            "status": account.status,
            "owner": summary.owner,
            "failed at": account.failed
            + (f" (attempt {account.attempt})" if account.failed and account.attempt > 1 else ""),
            "stopped": account.reason,
            "waits for": "; ".join(map(_waiting, account.pauses)),
            "next": account.pending or _undecided(account),
            "visits": summary.iterations,
            "resumed": _times(account.claims - 1),
            "parent": account.parent,
            "tags": ", ".join(summary.tags),
            "created": screen.moment_and_ago(summary.created),
            "updated": screen.moment_and_ago(summary.updated),
            "python": made.get("python"),
            "host": made.get("host"),
            "revision": revision,
            "resume": (goes_on := _goes_on(account, store)),
        }
    )
    note_left_out(session, goes_on)


def _goes_on(account: Account, store: str | None) -> str:
    """The command line that goes on with a run that ended before its end; empty for any other."""
    if account.status not in ("failed", "interrupted", "dead"):
        return ""
    named = account.summary.graph in read_project().graphs
    return resume_command(account.summary.run_id, None if named else "FILE.py:GRAPH", store)


def _undecided(account: Account) -> str:
    over = account.status in ("finished", "cancelled")
    return "" if over or not account.visits else "not decided yet"


def _waiting(pause: PauseState) -> str:
    until = "" if pause.deadline is None else f", until {screen.moment_and_ago(pause.deadline)}"
    asked = f" ({pause.prompt})" if pause.prompt else ""
    return f"{pause.name}{asked}{until}"


def _changed(move: Move) -> Iterator[list[str]]:
    for fact, values in move.changes.items():
        short = [value[:12] if fact == "git_revision" else value for value in values]
        yield [str(move.resume), str(move.position), fact.removeprefix("package."), *short]


def _times(count: int) -> str:
    return "" if count < 1 else "once" if count == 1 else f"{count} times"


def _show_path(steps: list[Step]) -> None:
    if len(steps) > VISITS_SHOWN:
        complain(f"the first {len(steps) - VISITS_SHOWN} visits are left out; tau history has them all")
    screen.table(("node", "visit", "attempt", "took", "finished"), map(_step, steps[-VISITS_SHOWN:]))


def _step(one: Step) -> list[str]:
    if isinstance(one, Unfinished):
        return [one.node, str(one.visit), str(one.attempts or ""), "", "not finished" if one.begun else "next"]
    return [one.node, str(one.visit), str(one.attempt), screen.duration(one.seconds), screen.moment(one.ended)]


def _item(one: Piece) -> list[str]:
    took = screen.duration(one.seconds) if one.kind != "artifact" else ""
    of = f" of {one.planned:,}" if one.planned not in (None, one.count) else ""
    kind = f"{one.count:,}{of} item{'s' * (bool(of) or one.count > 1)}" if one.kind == "items" else one.kind
    return [one.name, kind, took, screen.size(one.size), screen.moment(one.ended)]


def _show_calls(calls: list[CallCount]) -> None:
    has_costs = any(one.cost is not None for one in calls)
    heads = ("calls in", "name", "model", "made", "replayed", "tokens in", "tokens out", "took")
    shown = [*calls, together(calls)] if len(calls) > 1 else calls
    screen.table((*heads, "cost") if has_costs else heads, (_call(one, has_costs) for one in shown))


def _call(one: CallCount, has_costs: bool) -> list[str]:
    numbers = (one.calls - one.replayed, one.replayed, one.input_tokens, one.output_tokens)
    cost = [("" if one.cost is None else f"{one.cost:.6g}")] * has_costs
    return [one.node, one.name, one.model, *(f"{n:,}" for n in numbers), screen.duration(one.seconds), *cost]


def _show_artifacts(found: list[dict[str, Any]]) -> None:
    if not found:
        return
    screen.line()
    rows = [[one["key"], screen.size(one["size_bytes"]), one["sha256"][:12], one["path"]] for one in found]
    screen.table(("artifact", "size", "sha256", "path"), rows)
    for one in found:
        if one["problem"]:
            complain(one["problem"])


def _show_failure(failure: Failure, indent: str = "", what: str = "", told: str = "") -> None:
    text = "" if failure.text in told else f": {failure.text}"
    screen.line(indent, what, (failure.type, "bold red"), text)
    for note in failure.notes:
        screen.line(f"{indent}  {note}")
    for file, number, name in contents.frames_of(failure):
        screen.line(f"{indent}  {file}:{number} in {name}")
    for one in failure.errors:
        _show_failure(one, indent + "  ", "one of them: ")
    if failure.cause is not None:
        _show_failure(failure.cause, indent, "raised from: ", failure.text)


def _visit(visit: Visit) -> dict[str, Any]:
    return {
        "node": visit.node,
        "visit": visit.visit,
        "attempt": visit.attempt,
        "duration_seconds": visit.seconds,
        "finished": screen.stamp(visit.ended),
    }


def _document(account: Account, keys: list[Key], values: bool, store: str) -> dict[str, Any]:
    failure = account.failure
    return {
        **document(account.summary),
        "status": account.status,
        "store": store,
        "next": account.pending,
        "resumed": max(0, account.claims - 1),
        "path": [_visit(one) for one in account.visits],
        "inside": [_visit(one) for one in account.inside],
        "unfinished": [
            {"node": one.node, "visit": one.visit, "attempts": one.attempts, "begun": one.begun}
            for one in account.unfinished
        ],
        "items": [
            {
                "name": one.name,
                "kind": one.kind,
                "count": one.count,
                "planned": one.planned,
                "duration_seconds": one.seconds,
                "size_bytes": one.size,
                "finished": screen.stamp(one.ended),
            }
            for one in account.items
        ],
        "calls": [
            {
                "node": one.node,
                "name": one.name,
                "model": one.model,
                "calls": one.calls,
                "replayed": one.replayed,
                "input_tokens": one.input_tokens,
                "output_tokens": one.output_tokens,
                "duration_seconds": one.seconds,
                "cost": one.cost,
            }
            for one in account.calls
        ],
        "prompts": [asdict(one) for one in prompts_of(account.asked or ())],
        "keys": contents.documents(keys, values),
        "artifacts": contents.artifacts(keys),
        "failure": None
        if failure is None
        else {"node": account.failed, "attempt": account.attempt, **contents.failure(failure)},
        "stopped_by": account.reason or None,
        "waits_for": [one.name for one in account.pauses],
        "seed": account.seed,
        "parent": account.parent or None,
        "provenance": account.provenance,
        "provenance_changes": [
            {"resume": one.resume, "seq": one.position, "time": screen.stamp(one.at), "changes": one.changes}
            for one in account.moves
        ],
        "damage": account.damage or None,
    }
