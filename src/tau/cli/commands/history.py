"""`tau history`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

import click

from tau.cli import options
from tau.cli.exits import Exit
from tau.cli.outcome import Session, complain, reporting
from tau.cli.output import contents, screen
from tau.cli.places import find, note_emptied, reading
from tau.cli.reading import Account, read_run
from tau.cli.targets import read_project
from tau.errors import ConfigError
from tau.log.digests import CALL
from tau.log.json_schema import summary_of
from tau.log.planned import planned_count
from tau.log.records import (
    Admitted,
    Answer,
    AnyRecord,
    Cancelled,
    CheckpointRecord,
    Claimed,
    Failed,
    Finished,
    Interrupted,
    Item,
    Pause,
    Planned,
    Routed,
)
from tau.log.subgraphs import node_of
from tau.state_names import check_run_id


@click.command()
@options.run_id
@click.option("--at", type=options.Count(), metavar="SEQ", help="Show the state as it was after entry SEQ.")
@click.option("--limit", type=options.Count(), metavar="N", help="Show only the N newest entries.")
@options.store
@options.values
@options.as_json
@reporting
def history(
    session: Session, *, run_id: str, at: int | None, limit: int | None, store: str | None, values: bool
) -> int:
    """Show the log of a run, oldest entry first.

    The entries say which process claimed the run and when, what each node changed, how long it took and which node came
    next, and why the run failed or stopped. With --at, show the state as it was after one entry: the names, types and
    sizes of its keys, and with --values their values.

    \b
    Examples:
      tau history climate-2024
      tau history climate-2024 --at 4 --values
    """
    place, summary = find(reading(store, read_project(), session), check_run_id(run_id), session)
    run_id = summary.run_id
    account = read_run(place, summary, at, records=True)
    if account.damage:
        complain(f"{account.damage}; what can be read is shown")
    note_emptied(summary)
    if account.records and not isinstance(account.records[0][1], Admitted):
        complain(f"the history begins at entry {account.records[0][0]}: what lay before was dropped (tau gc --trim)")
    if values and at is None:
        complain("--values has no effect without --at")
    if at is not None:
        return _show_state(session, account, at, values)
    shown = account.records[-limit:] if limit is not None else account.records
    nodes = _nodes(account.records)
    if session.as_json:
        entries = [_document(position, record, nodes.get(position, "")) for position, record in shown]
        head = {"run_id": run_id, "graph": summary.graph, "status": account.status, "store": session.store}
        screen.document({**head, "entries": entries, "damage": account.damage or None})
        return Exit.DONE
    screen.table(("seq", "time", "what", "node", "detail"), _rows(shown, nodes))
    return Exit.DONE


def _show_state(session: Session, account: Account, at: int, values: bool) -> int:
    """The state as of the entry ``at``."""
    if not account.records or account.records[-1][0] != at:
        positions = [position for position, _ in account.records]
        have = f"the entries before it are {positions[0]} to {positions[-1]}" if positions else "it has no entries"
        raise ConfigError(f"run {session.run_id!r} has no readable entry {at}; {have}: see tau history without --at")
    record = account.records[-1][1]
    keys = list(contents.keys_of(account.values))
    node = account.visits[-1].node if account.visits else None
    if session.as_json:
        found = {"run_id": session.run_id, "seq": at, "kind": kind_of(record), "time": screen.stamp(record.time)}
        screen.document({**found, "checkpoint_node": node, "keys": contents.documents(keys, values)})
        return Exit.DONE
    when = {"run": session.run_id, "entry": f"{at} ({kind_of(record)})", "time": screen.moment(record.time)}
    screen.fields({**when, "after": node or "the input"})
    contents.show_keys(keys, values)
    return Exit.DONE


def kind_of(record: AnyRecord) -> str:
    """The kind of a record, by its name in the log."""
    return str(type(record).__struct_config__.tag)


def _nodes(records: Iterable[tuple[int, AnyRecord]]) -> dict[int, str]:
    """The node of each entry that is about one; of a pause and its answer, which may not name it, the one that was
    next."""
    found: dict[int, str] = {}
    following: str | None = None
    for position, record in records:
        if isinstance(record, Admitted | CheckpointRecord) and record.manifest is not None and not record.scope:
            following = record.manifest.progress.next
        elif isinstance(record, CheckpointRecord | Routed) and not record.scope:
            following = record.next
        name = node_of(record)
        found[position] = following or "" if isinstance(record, Pause | Answer) and not name else name
    return found


def _rows(records: Sequence[tuple[int, AnyRecord]], nodes: Mapping[int, str]) -> Iterator[list[str]]:
    """The entries as rows; items that follow each other in one node share a row."""
    last = {position for (position, _), (_, after) in pairwise(records) if isinstance(after, Finished)}
    for (kind, node), group in groupby(records, key=lambda entry: (_group(*entry), nodes[entry[0]])):
        entries = list(group)
        position, record = entries[-1]
        numbers = str(position) if len(entries) == 1 else f"{entries[0][0]}-{position}"
        seconds = sum(one.seconds for _, one in entries if isinstance(one, Item))
        detail = (
            _detail(record, position in last)
            if len(entries) == 1
            else f"{len(entries)} finished, {screen.duration(seconds)}"
        )
        yield [numbers, screen.moment(record.time), kind.partition(" ")[0], node, detail]


def _group(position: int, record: AnyRecord) -> str:
    kind = kind_of(record)
    return kind if isinstance(record, Item) else f"{kind} {position}"


def _detail(record: AnyRecord, is_last: bool) -> str:
    """A record in a few words; ``is_last``: nothing follows but the end of the run."""
    match record:
        case Admitted():
            return _admission(record)
        case Claimed():
            return _claim(record)
        case CheckpointRecord() | Routed():
            return _way(record, is_last)
        case Cancelled(reason="cancelled"):
            return "it cannot be resumed"
    if isinstance(record, Item) and record.key.startswith(CALL):
        return _called(record)
    return _asked(record) if isinstance(record, Pause | Answer) else _ended(record)


def _called(record: Item) -> str:
    """A journaled call: who was asked, the model, the tokens, and whether it was paid for."""
    body = record.body
    said = [f"call {record.name}"]
    said += [str(body["model"])] if "model" in body else []
    said += [f"{body['input_tokens']} + {body['output_tokens']} tokens"] if "input_tokens" in body else []
    return ", ".join([*said, "replayed" if body.get("replayed") else screen.duration(record.seconds)])


def _ended(record: AnyRecord) -> str:
    if isinstance(record, Failed) and record.failure is not None:
        return f"{record.failure.type}: {record.failure.text}"
    return str(getattr(record, "reason", getattr(record, "name", "")))


def _admission(record: Admitted) -> str:
    manifest = record.manifest
    named = f"graph {manifest.progress.graph}, {_names('input', manifest.values)}" if manifest is not None else ""
    return named if record.provenance else f"saved by hand: {named}"


def _claim(record: Claimed) -> str:
    how = [f"by {record.owner}"] if record.owner is not None else []
    how += [f"continues after entry {record.rewind}"] if record.rewind is not None else []
    how += [f"on_change={record.on_change}"] if record.on_change != "error" else []
    return "; ".join([*how, *record.changes])


def _asked(record: Pause | Answer) -> str:
    if isinstance(record, Answer):
        return f"{record.name}, by {record.by}" + (f", {_names('set', record.changed)}" if record.changed else "")
    asked = record.prompt or summary_of(record.form)
    return record.name + (f": {asked}" if asked else "") + (f"; {record.refused}" if record.refused else "")


def _way(record: CheckpointRecord | Routed, is_last: bool) -> str:
    if isinstance(record, Routed):
        said = [f"answered {record.answer}", screen.duration(record.seconds)]
    else:
        said = _checkpoint(record)
    following = f"{_whole(record)} ends" if is_last else "next not decided yet"
    return ", ".join([*said, following if record.next is None else f"next {record.next}"])


def _whole(record: CheckpointRecord | Routed) -> str:
    """What ends with its last node."""
    if not record.scope:
        return "the run"
    is_function = record.node == record.scope[-1][2]  # as `path_of` takes it
    return f"branch {record.node}" if is_function else "the graph inside"


def _checkpoint(record: CheckpointRecord) -> list[str]:
    counts = [f"visit {record.visit}"] if record.visit > 1 else []
    counts += [f"attempt {record.attempt}"] if record.attempt > 1 else []
    changes = [_names("set", record.changed)] + ([_names("removed", record.removed)] if record.removed else [])
    return [*counts, screen.duration(record.seconds), *changes]


def _names(what: str, names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - 8} more" if len(listed) > 8 else ""
    return f"{what} {', '.join(listed[:8]) or 'nothing'}{more}"


def _document(position: int, record: AnyRecord, node: str) -> dict[str, Any]:
    """An entry for JSON."""
    found: dict[str, Any] = {"seq": position, "kind": kind_of(record), "time": screen.stamp(record.time)}
    if node:
        found["node"] = node
    match record:
        case Admitted():
            found["keys"] = sorted(record.manifest.values) if record.manifest is not None else []
            found["provenance"] = record.provenance
        case Claimed():
            owner = str(record.owner) if record.owner is not None else None
            found |= {"owner": owner, "on_change": record.on_change, "changes": list(record.changes)}
            found |= {"rewind": record.rewind, "provenance": record.provenance}
        case CheckpointRecord():
            found |= {"visit": record.visit, "attempt": record.attempt, "iteration": record.iteration}
            found |= {"duration_seconds": record.seconds, "next": record.next}
            found |= {"changed": list(record.changed), "removed": list(record.removed)}
        case Routed():
            found |= {"visit": record.visit, "answer": record.answer, "next": record.next}
            found |= {"duration_seconds": record.seconds}
        case Failed(failure=failure):
            found |= {"attempt": record.attempt, "failure": contents.failure(failure)}
        case Interrupted() | Cancelled():
            found["reason"] = record.reason
        case Item():
            found |= {"name": record.name, "key": record.key, "duration_seconds": record.seconds}
        case Planned():
            found |= {"name": record.name, "items": planned_count(record)}
        case Pause():
            until = None if record.deadline is None else screen.stamp(record.deadline)
            found |= {"name": record.name, "prompt": record.prompt, "deadline": until}
        case Answer():
            found |= {"name": record.name, "by": record.by, "changed": list(record.changed)}
        case Finished():
            pass
    return found
