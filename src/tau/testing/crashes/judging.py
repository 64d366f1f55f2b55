"""What a crash test finds wrong, by comparing an attempt that went on after a kill with one that was left alone."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping

from msgspec import Struct

from tau.log.records import path_of
from tau.testing.crashes.children import End
from tau.testing.crashes.finished import Finished
from tau.testing.crashes.points import CTRL_C, Point
from tau.testing.crashes.work import Ran, Report


class Finding(Struct, frozen=True):
    """A promise that does not hold when a process is struck at ``point``: ``kind`` is state, lost, again, effect,
    resume, hang, kept (of Ctrl-C) or ended."""

    point: str
    kind: str
    what: str


def of_struck(point: Point, end: End) -> Iterator[Finding]:
    """What is wrong with how the process ended that was struck."""
    if end.hung:
        yield Finding(str(point), "hang", "the process that was to be struck did not end in time")
    elif point.kind != CTRL_C and end.signal != signal.SIGKILL:
        yield Finding(str(point), "ended", f"the process ended before it was killed{_because(end)}")
    elif point.kind == CTRL_C and end.report is not None and end.report.error_type != "KeyboardInterrupt":
        how = f"raised {end.report.error_type}" if end.report.error_type else "went on to its end"
        yield Finding(str(point), "kept", f"node {point.node} kept Ctrl-C to itself: the run {how}")


def of_resumed(point: Point, end: End, expected: Mapping[str, str], ignored: frozenset[str]) -> Iterator[Finding]:
    """What is wrong with the attempt that went on, whose final state is to be the ``expected`` one."""
    report, at = end.report, str(point)
    if end.hung:
        yield Finding(at, "hang", "the resumed process did not end in time")
        return
    if report is None:
        yield Finding(at, "resume", f"the resumed process was gone{_because(end)}")
        return
    if report.lost:
        positions = ", ".join(map(str, report.lost[:10]))
        yield Finding(at, "lost", f"the store had acknowledged what it does not hold: positions {positions}")
    for ran in report.ran:
        if _was_finished(ran, report.before):
            yield Finding(at, "again", f"node {ran.path}, visit {ran.visit}, was finished and ran again")
    for what in report.again:
        yield Finding(at, "again", f"{what} is in the log twice")
    if report.error:
        yield Finding(at, "resume", f"the resumed run raised {report.error_type}: {report.error}")
    elif report.waits:
        yield Finding(at, "resume", f"the resumed run waits for {', '.join(report.waits)}")
    else:
        yield from _differences(at, report.keys, expected, ignored)


def different(one: Mapping[str, str], other: Mapping[str, str], ignored: frozenset[str]) -> list[str]:
    """The keys by which two final states differ."""
    return sorted(key for key in one.keys() | other.keys() if key not in ignored and one.get(key) != other.get(key))


def _differences(
    at: str, keys: Mapping[str, str], expected: Mapping[str, str], ignored: frozenset[str]
) -> Iterator[Finding]:
    found = different(keys, expected, ignored)
    if found:
        told = [
            f"{key} is {'missing' if key not in keys else 'new' if key not in expected else 'another'}" for key in found
        ]
        yield Finding(at, "state", f"the final state differs: {', '.join(told)}")


def _was_finished(ran: Ran, before: Finished) -> bool:
    if ran.path == ran.outer[0]:
        return any(not one.scope and (one.node, one.visit) == (ran.path, ran.visit) for one in before.visits)
    # Deeper down the same path and number may be in several scopes: the log tells of these.
    return any(
        len(one.scope) == 1
        and one.scope[0][:2] == ran.outer
        and (path_of(one.scope, one.node), one.visit) == (ran.path, ran.visit)
        for one in before.visits
    )


def _because(end: End) -> str:
    report = end.report
    if report is not None and report.error:
        return f": it raised {report.error_type}: {report.error}"
    said = f"; it said: {end.said[-500:]}" if end.said else ""
    return f" (signal {end.signal}, exit code {end.code}){said}"


def problem(end: End, report: Report | None) -> str:
    """Why an attempt that was left alone gave no final state; empty where it did."""
    if end.hung:
        return "it did not come to its end"
    if report is None:
        return f"its process was gone{_because(end)}"
    if report.waits:
        return f"it waits for people: {', '.join(report.waits)}"
    return f"it raised {report.error_type}: {report.error}" if report.error else ""
