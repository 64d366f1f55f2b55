"""Many runs at once: inputs as lines of JSON become runs that are admitted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from msgspec import Struct

from tau.engine.admitting import admission, taken_at
from tau.engine.effects import RunRequest
from tau.engine.provenance import provenance
from tau.errors import ConfigError, RunExistsError, TauError
from tau.log.tickets import Ticket
from tau.state import cells_of
from tau.state_graph import StateGraph
from tau.stores.contract import PositionConflict
from tau.values.stored import digest

GROUP: Final = 256
"""So many runs are admitted in one commit."""

RUN_ID: Final = "run_id"
"""The name in a line that is no part of the input."""


class Line(Struct, frozen=True):
    """An input, and the ``number`` of its line, from 1."""

    number: int
    run_id: str
    values: dict[str, Any]


class BadLine(Struct, frozen=True):
    """A line that cannot be a run, and why."""

    number: int
    why: str


class Submitted(Struct):
    """How many were ``admitted``, and how many had been (``known``); ``refused`` are those whose id is in use with
    another input."""

    admitted: int = 0
    known: int = 0
    refused: list[BadLine] = []


def read_lines(texts: Iterable[str], graph: str, parse: Callable[[str], Any]) -> tuple[list[Line], list[BadLine]]:
    """The inputs in these lines of JSON, each an object, and what is wrong with others.

    Empty lines are passed over, and of lines that say the same the first one stands for all."""
    lines: dict[str, Line] = {}
    bad: list[BadLine] = []
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        try:
            found = parse(text)
        except (ConfigError, ValueError, RecursionError) as error:
            bad.append(BadLine(number, f"it is not JSON: {error}"))
            continue
        if not isinstance(found, dict):
            bad.append(BadLine(number, f"it holds {type(found).__name__}; a line is an object, {{'name': value}}"))
            continue
        run_id = found.pop(RUN_ID, None)
        if run_id is not None and not (isinstance(run_id, str) and run_id):
            bad.append(BadLine(number, f"its run_id must be a string that is not empty, found {run_id!r:.80}"))
            continue
        line = Line(number, run_id or digest_of(graph, found), found)
        first = lines.setdefault(line.run_id, line)
        if first is not line and digest_of(graph, first.values) != digest_of(graph, found):  # 1 is another than true
            bad.append(BadLine(number, f"line {first.number} has the same run_id {line.run_id!r} and another input"))
    return list(lines.values()), bad


def digest_of(graph: str, values: dict[str, Any]) -> str:
    """The id of a run with this input, where none is given: the same for the same input of the same graph."""
    text = json.dumps([graph, values], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return digest(text.encode()).hex()


def requests_of(graph: StateGraph[Any], lines: Sequence[Line], tags: Iterable[str] = ()) -> list[RunRequest | BadLine]:
    """What is to be admitted; of an input that the graph cannot take, why."""
    found: list[RunRequest | BadLine] = []
    here = provenance()
    for line in lines:
        try:
            request, given = graph._admission(line.values, line.run_id, "error", tags, None)
            request.values, request.provenance = cells_of(given), here
            found.append(request)
        except TauError as error:
            found.append(BadLine(line.number, str(error)))
    return found


def send(graph: StateGraph[Any], lines: Sequence[Line], requests: Sequence[RunRequest], done: Submitted) -> None:
    """Admit these, counting in ``done`` as it goes. Raises `StoreError`; what is counted is stored by then."""
    for group in _grouped(zip(lines, requests, strict=True)):
        committer, host = graph.store.committer, graph.host
        tickets = [committer.submit(Ticket(admission(graph.store, host, request, 0, None))) for _, request in group]
        for ticket in tickets:  # all of them, so that what is counted is what is stored
            while not ticket.over:
                ticket.wait()
        done.admitted += sum(isinstance(ticket.result, int) for ticket in tickets)
        for (line, request), ticket in zip(group, tickets, strict=True):
            if isinstance(ticket.result, PositionConflict):
                _again(graph, line, request, done)
            elif isinstance(ticket.result, Exception):
                raise ticket.result


def _again(graph: StateGraph[Any], line: Line, request: RunRequest, done: Submitted) -> None:
    """The id is, or was, in use."""
    while True:
        try:
            position = taken_at(graph.store, request)
        except RunExistsError as error:
            done.refused.append(BadLine(line.number, str(error)))
            return
        if position is None:
            done.known += 1
            return
        result = graph.store.committer.commit(admission(graph.store, graph.host, request, position, None))
        if isinstance(result, int):
            done.admitted += 1
            return
        if not isinstance(result, PositionConflict):
            raise result


def _grouped(pairs: Iterable[tuple[Line, RunRequest]]) -> Iterator[list[tuple[Line, RunRequest]]]:
    left = iter(pairs)
    while group := list(islice(left, GROUP)):
        yield group
