"""`crash_test`: a graph is killed for real around its commits, resumed, and compared with a run that was left alone."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from tau.checks import checked_name
from tau.engine.stop import Stop
from tau.errors import ConfigError
from tau.spelling import did_you_mean, names_keywords
from tau.state_graph import StateGraph
from tau.testing.crashes import children, effects, judging
from tau.testing.crashes.children import End, Start
from tau.testing.crashes.judging import Finding
from tau.testing.crashes.points import CTRL_C, Point, count, every, parsed, spread
from tau.testing.crashes.work import STORES, Job, Report, StoreFactory, do

LEAST_LIMIT = 30.0
"""Seconds that a process has at least, however fast the graph is."""
TIMES_SLOWER = 20.0
"""A resumed process that takes so many times as long as a whole run counts as one that never ends."""


class CrashPlan(Struct, frozen=True):
    """What is going to be tried: a run has so many ``commits`` and lasts ``seconds``; ``points`` are those to try,
    which takes about ``points_seconds``; there are ``all_points`` kills, which would take ``all_seconds``."""

    commits: int
    seconds: float
    points: list[Point]
    points_seconds: float
    all_points: int
    all_seconds: float


class CrashTestResult(Struct, frozen=True):
    """What a crash test did and found.

    ``struck`` counts the points that were tried by kind: before, inside, after, ctrl-c; ``left`` those for which there
    was no time. ``keys`` are those of the final state that were compared, ``findings`` the promises that did not hold,
    ``seconds`` how long all took. Reading it raises nothing.

    >>> from tau import StateGraph
    >>> from tau.testing import crash_test
    >>> graph = StateGraph("one")
    >>> graph.add_node("work", lambda state: {"n": state["n"] + 1})
    >>> graph.sequence("work")
    >>> result = crash_test(graph, {"n": 1}, points=1)
    >>> result.findings, result.keys
    ([], ['n'])
    """

    plan: CrashPlan
    struck: Mapping[str, int]
    left: int
    keys: list[str]
    findings: list[Finding]
    seconds: float


class CrashTestError(AssertionError):
    """A graph does not survive every kill. ``result`` says what was found."""

    def __init__(self, result: CrashTestResult) -> None:
        found = [f"{parsed(one.point).told}: {one.what}" for one in result.findings]
        again = f"again: crash_test(..., at=[{result.findings[0].point!r}])"
        super().__init__(
            "\n  ".join([f"{len(found)} broken promises", *found[:20], *["..."][: len(found) > 20], again])
        )
        self.result = result


Watch = Callable[[CrashPlan, int], object]
"""Told of the plan and of how many of its points are done."""


@names_keywords
def crash_test(
    graph: StateGraph | str,
    input: Mapping[str, Any] | None = None,
    *,
    points: int | None = 30,
    at: Iterable[str] = (),
    seed: int = 0,
    ignore: Iterable[str] = (),
    effects: str | os.PathLike[str] | None = None,
    answers: Mapping[str, Any] | None = None,
    store: str | StoreFactory = "sqlite",
    resources: Mapping[str, Any] | None = None,
    max_time: float = 600.0,
    check: bool = True,
    stop: Stop | None = None,
    watch: Watch | None = None,
) -> CrashTestResult:
    """Kill a graph for real, before, inside and after its commits, resume it, and compare.

    ``graph`` is a graph, whose processes are forks of this one, or ``FILE.py:GRAPH`` or ``package.module:GRAPH``, for
    each of which a new interpreter imports it, as after a real kill. Two undisturbed runs come first: they count the
    commits, and their final states must be equal but for the keys to ``ignore``. Then a run is struck at each point: by
    SIGKILL before, inside and after so many commits as ``points`` says (``None``: all, inside at every call that
    changes something), drawn by ``seed`` from all parts of the run, and by Ctrl-C in each node. Then another process
    resumes it. ``at`` are points to try instead, as findings name them.

    What must hold: the final state is the same; no node or item that was finished runs again; what the store
    acknowledged is there; no line of the effects of what was finished comes again. Effects are lines that nodes append
    to a file, each with ``ctx.key``, or inside of steps and items with ``f"{ctx.key}/{name}"``; the file is the one
    that the environment variable ``TAU_EFFECTS`` names, or that of ``effects``.

    Runs are kept in a temporary directory, artifacts too: by ``store`` in SQLite ("sqlite"), files ("file"), or what a
    function makes of that directory. Stores that the graph or its nodes open by a URL lie there as well. ``answers``
    are given to the pauses of these names, ``resources`` to the nodes. After ``max_time`` seconds no further point is
    begun; ``stop`` ends the test at once. ``watch`` is told of the plan, and then of every point that is done.

    Raises `CrashTestError` if something does not hold, unless ``check`` is false (then the result lists it), and
    `ConfigError` for what cannot be tested: a graph that fails, waits for people or differs from run to run by itself,
    or does not end in ``max_time``, and for a wrong argument; `RunInterruptedError` for ``stop``.

    >>> from tau import StateGraph
    >>> from tau.testing import crash_test
    >>> graph = StateGraph("one")
    >>> graph.add_node("work", lambda state: {"n": state["n"] + 1})
    >>> graph.sequence("work")
    >>> result = crash_test(graph, {"n": 1}, points=1)  # killed, resumed, compared
    >>> sum(result.struck.values()) > 0, result.findings
    (True, [])
    """
    attempts = _Attempts(
        graph, dict(input or {}), store=store, effects=None if effects is None else os.path.abspath(effects),
        answers=dict(answers or {}), resources=resources, stop=stop,
        until=time.monotonic() + _positive("max_time", max_time),
    )  # fmt: skip
    began, ignored = time.monotonic(), frozenset(checked_name("a key to ignore", key) for key in ignore)
    with tempfile.TemporaryDirectory(prefix="tau-crash-test-", ignore_cleanup_errors=True) as directory:
        attempts.place = os.path.join(os.path.realpath(directory), "run")
        plain, expected = attempts.undisturbed(ignored, max_time)
        plan = _plan(plain, expected, [parsed(point) for point in at] or points, seed)
        found, struck = attempts.strike(plan, expected.keys, ignored, watch)
    compared = sorted(expected.keys.keys() - ignored)
    result = CrashTestResult(
        plan, count(struck), len(plan.points) - attempts.tried, compared, found, time.monotonic() - began
    )
    if found and check:
        raise CrashTestError(result)
    return result


def _positive(name: str, seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise ConfigError(f"{name}: a number of seconds above 0, found {seconds!r}")
    return float(seconds)


def _plan(plain: End, report: Report, points: int | list[Point] | None, seed: int) -> CrashPlan:
    calls = report.calls
    possible = list(every(calls))
    nodes = [name for name in report.nodes if any(ran.path == name for ran in report.ran)]
    if isinstance(points, list):
        chosen = points
    elif points is None:
        chosen = [*possible, *(Point(CTRL_C, node=name) for name in nodes)]
    else:
        if isinstance(points, bool) or not isinstance(points, int) or points < 1:
            raise ConfigError(f"points: a whole number of commits from 1 on, or None for all, found {points!r}")
        some = nodes[:: -(-len(nodes) // points) or 1]
        chosen = [*spread(calls, points, seed), *(Point(CTRL_C, node=name) for name in some)]
    for point in chosen:
        _check_there(point, calls, report.nodes)
    each = 2 * max(0.0, plain.seconds - report.seconds) + report.seconds
    return CrashPlan(len(calls), report.seconds, chosen, each * len(chosen), len(possible), each * len(possible))


def _check_there(point: Point, calls: Sequence[int], nodes: Sequence[str]) -> None:
    if point.kind == CTRL_C and point.node not in nodes:
        raise ConfigError(f"there is no node {point.node!r} in the graph{did_you_mean(point.node, nodes)}")
    if point.commit > len(calls):
        raise ConfigError(f"{point}: a run of this graph has {len(calls)} commits")


class _Attempts:
    """Attempts at the run, each in a process and a directory of its own, until the time is up."""

    def __init__(
        self, graph: StateGraph | str, input: dict[str, Any], *, store: str | StoreFactory, effects: str | None,
        answers: dict[str, Any], resources: Mapping[str, Any] | None, stop: Stop | None, until: float,
    ) -> None:  # fmt: skip
        self.start = _starter(graph, store, resources)
        self.job = Job("", 1, store if isinstance(store, str) else "", input, answers, effects=effects or "")
        self.until, self.stop = until, stop
        self.place = ""
        self.limit = float("inf")
        self.tried = 0

    def run(self, number: int = 1, point: Point | None = None) -> End:
        """An attempt; the first begins with an empty directory."""
        if number == 1:
            children.clear(self.place)
            Path(self.place).mkdir(mode=0o700)
        job = replace(self.job, place=self.place, number=number, point=point)
        return children.run(self.start, job, min(self.limit, max(0.0, self.until - time.monotonic())), self.stop)

    def undisturbed(self, ignored: frozenset[str], max_time: float) -> tuple[End, Report]:
        """Two runs that nothing happens to, the second with what it reported. Raises `ConfigError`."""
        reports: list[Report] = []
        for _ in range(2):
            end = self.run()
            if end.hung:
                raise ConfigError(
                    f"the graph did not come to its end within {max_time:g} s, so nothing was killed; give it a "
                    "smaller input, or more time (--max-time, max_time=)"
                )
            if why := judging.problem(end, end.report):
                raise ConfigError(
                    f"an undisturbed run of the graph has no final state: {why}; nothing was killed{_hint(why)}"
                )
            assert end.report is not None
            reports.append(end.report)
        first, second = reports
        if unknown := ignored - first.keys.keys() - second.keys.keys():
            raise ConfigError(
                f"there is no key {min(unknown)!r} in the final state{did_you_mean(min(unknown), first.keys)}"
            )
        if found := judging.different(first.keys, second.keys, ignored):
            options = " ".join(f"--ignore {key}" for key in found)
            raise ConfigError(
                f"two undisturbed runs differ in {', '.join(found)}, so a resumed one cannot be compared; nothing was "
                f"killed. Take time and chance out of it (ctx.seed), or leave it out: {options} (ignore=[...])"
            )
        self.limit = max(LEAST_LIMIT, TIMES_SLOWER * end.seconds)
        second.calls = min(first.calls, second.calls, key=len)  # what each run can be counted on to have
        return end, second

    def strike(
        self, plan: CrashPlan, expected: Mapping[str, str], ignored: frozenset[str], watch: Watch | None
    ) -> tuple[list[Finding], list[Point]]:
        """Try the points, as long as there is time: what was found, and those at which something was struck."""
        found: list[Finding] = []
        struck: list[Point] = []
        for done, point in enumerate(plan.points):
            if watch is not None:
                watch(plan, done)
            problems = self._strike(point, expected, ignored)
            if problems is None and time.monotonic() >= self.until:
                break
            self.tried += 1
            if problems is not None:
                struck.append(point)
                found += problems
        else:
            if watch is not None:
                watch(plan, len(plan.points))
        return found, struck

    def _strike(self, point: Point, expected: Mapping[str, str], ignored: frozenset[str]) -> list[Finding] | None:
        """What is wrong; ``None`` where nothing was struck, or the time was over."""
        first = self.run(1, point)
        if first.hung and time.monotonic() >= self.until:
            return None
        if point.kind == CTRL_C and first.report is not None and not first.report.struck and not first.hung:
            return None  # a node that runs in another thread or process, or none of whose code is in Python
        if first.report is not None and not first.report.error and len(first.report.calls) < point.commit:
            return None  # work that runs at once shares commits, one time more than another
        problems = list(judging.of_struck(point, first))
        if first.hung:
            return problems
        told = self.job.effects or os.path.join(self.place, "effects")
        size = effects.size_of(told)
        second = self.run(2)
        if second.hung and time.monotonic() >= self.until:
            return None
        problems += judging.of_resumed(point, second, expected, ignored)
        if second.report is not None:
            lines = effects.lines_of(told, size)
            problems += [Finding(str(point), "effect", what) for what in effects.doubled(lines, second.report.before)]
        return problems


def _hint(why: str) -> str:
    if why.startswith("it waits"):
        return "; give the answers (--answer NAME=VALUE, answers=)"
    return "" if "--" in why else "; it must succeed by itself first"


def _starter(graph: Any, store: Any, resources: Mapping[str, Any] | None) -> Start:
    if not (callable(store) or store in STORES):
        raise ConfigError(
            f"the store of a crash test is {' or '.join(STORES)}, or a function of a directory, found {store!r:.80}"
        )
    if isinstance(graph, str):
        if callable(store) or resources is not None:
            raise ConfigError(
                "a store function and resources need the graph itself, not its name: they cannot be handed over"
            )
        return children.in_new_interpreter(graph)
    if not isinstance(graph, StateGraph):
        raise ConfigError(f"a crash test takes a StateGraph or FILE.py:GRAPH, found {type(graph).__name__}")
    factory = store if callable(store) else None
    return children.in_fork(partial(_do, graph, factory, resources))


def _do(graph: StateGraph, factory: StoreFactory | None, resources: Mapping[str, Any] | None, job: Job) -> None:
    do(job, lambda: graph, factory, resources)
