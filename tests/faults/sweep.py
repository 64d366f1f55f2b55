"""One fault at every point of a run: start, go wrong, resume, judge."""

from __future__ import annotations

import gc
import importlib
import json
import shutil
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from children import End, descriptors, in_child
from injection import Rule
from preload import WRITE
from subjects import Place, Subject

from tau.errors import TauError


class Finding(NamedTuple):
    """What was wrong at a point (and at a second one, in the recovery from the first)."""

    point: int
    second: int | None
    where: str
    problem: str


class Leg(NamedTuple):
    """One process on the way from start to end: how it ended and which nodes it ran."""

    end: End
    nodes: list[str]


def outcome(work: Any, place: Place) -> dict[str, Any]:
    """The result of starting or resuming, or its error, as data."""
    try:
        return {"ok": work(place)}
    except BaseException as error:
        names = [kind.__name__ for kind in type(error).__mro__]
        helpful = not isinstance(error, TauError) or len(str(error)) > 10
        return {"error": type(error).__name__, "kinds": names, "text": str(error)[:2000], "helpful": helpful}


class Sweep:
    """A subject, a fault and a directory to work in."""

    second_stride = 1
    """The distance between the points of a recovery that are struck."""

    def __init__(self, subject: Subject, fault: Any, rule: Rule, base: Path) -> None:
        self.subject = subject
        self.fault = fault
        self.rule = rule
        self.base = base
        subject.warm(Place(base / "warm"))
        self.serial = 0
        self.expected = ""
        self.runs = self.crashes = 0

    def load_all(self) -> None:
        """Load what a run loads on its way: the compiler of CPython itself breaks when its memory runs out."""
        place = self.new_place()

        def modules() -> list[str]:
            outcome(self.subject.start, place)
            self.subject.close(place)
            return [name for name in sys.modules if name.startswith("tau.")]

        for name in in_child(modules).value:
            importlib.import_module(name)

    # ---- places and legs

    def new_place(self) -> Place:
        self.serial += 1
        return Place(self.base / str(self.serial))

    def copy(self, place: Place) -> Place:
        self.serial += 1
        target = self.base / str(self.serial)
        shutil.copytree(place.directory, target)
        return Place(target)

    def leg(self, place: Place, verb: str, at: int | None = None) -> Leg:
        """One child that does ``start``, ``resume`` or ``carry_on``; ``at`` arms the fault."""
        self.runs += 1
        before = len(place.effects())
        end = in_child(lambda: self._inside(place, verb, at))
        return Leg(end, place.effects()[before:])

    def _inside(self, place: Place, verb: str, at: int | None) -> dict[str, Any]:
        opened = set(descriptors())
        if at is not None:
            self.subject.die_in = self.subject.nodes[-1] if self.rule.wrong else None
            self.fault.arm(place, at)
        try:
            found = outcome(getattr(self.subject, verb), place)
        finally:
            reached = self.fault.disarm() if at is not None else 0
        found["missed"] = at is not None and reached < at
        found["leftovers"] = self.subject.leftovers(place)
        if self.rule.interrupts and at is not None and "error" in found:
            found["again"] = self._again(place)
        self.subject.close(place)
        gc.collect()
        mine = str(place.effects_file)  # the node's own file, which it may not get to close when memory runs out
        found["leaks"] = sorted(name for name in set(descriptors()) - opened if not name.endswith(mine))
        return found

    def _again(self, place: Place) -> dict[str, Any]:
        """What the same process gets when it carries on after an interrupt, as one does in a notebook."""
        before = len(place.effects())
        again = outcome(self.subject.resume if before else self.subject.carry_on, place)
        return {**again, "nodes": place.effects()[before:]}

    # ---- points

    def points(self) -> dict[int, str]:
        """The points of an undisturbed run and what happens at each; also learns the expected result."""
        place = self.new_place()
        trace = place.directory / "trace"

        def counted() -> dict[str, Any]:
            self.fault.arm(place, 0, trace)
            try:
                found = outcome(self.subject.start, place)
            finally:
                found["reached"] = self.fault.disarm()
            self.subject.close(place)
            return found

        found = in_child(counted).value
        plain = self.leg(self.new_place(), "start").end.value
        if "ok" not in plain or found.get("ok") != plain["ok"]:
            raise RuntimeError(f"the undisturbed run failed: {json.dumps(found)} {json.dumps(plain)}")
        self.expected = plain["ok"]
        lines = trace.read_text().splitlines() if trace.exists() else []
        named = {int(number): rest for number, _, rest in (line.partition(" ") for line in lines)}
        return {n: named.get(n, "").replace(str(place.store), "") for n in range(1, found["reached"] + 1)}

    def sweep(self, points: Iterable[tuple[int, str]], twice: bool = False) -> Iterator[Finding]:
        """The findings of all points; ``twice`` also strikes at every point of each recovery."""
        for point, where in points:
            place = self.new_place()
            first = self.leg(place, "start", at=point)
            problems = self.judge_leg(first, where)
            if twice and first.end.killed:
                yield from self.strike_again(place, [first], point, where)
            problems += self.judge([first, *self.recover(place, [first])], place)
            for problem in problems:
                yield Finding(point, None, where, problem)
            shutil.rmtree(place.directory)

    def strike_again(self, place: Place, legs: list[Leg], point: int, where: str, only: int = 0) -> Iterator[Finding]:
        second = only or 1
        while True:
            copy = self.copy(place)
            leg = self.leg(copy, "carry_on", at=second)
            problems = self.judge_leg(leg)
            problems += self.judge([*legs, leg, *self.recover(copy, [*legs, leg])], copy)
            for problem in problems:
                yield Finding(point, second, where, problem)
            shutil.rmtree(copy.directory)
            if only or not leg.end.killed:
                return
            second += self.second_stride

    def strike_only(self, point: int, second: int) -> Iterator[Finding]:
        """One point, and one point of its recovery."""
        place = self.new_place()
        first = self.leg(place, "start", at=point)
        yield from self.strike_again(place, [first], point, "", second)

    def recover(self, place: Place, legs: list[Leg]) -> list[Leg]:
        """Resume in a new process, or start where nothing was admitted."""
        leg = self.leg(place, "resume")
        unknown = leg.end.value is not None and leg.end.value.get("error") == "CheckpointNotFoundError"
        if unknown and not any(earlier.nodes for earlier in legs):
            return [self.leg(place, "start")]
        return [leg]

    # ---- judging

    def judge_leg(self, leg: Leg, where: str = "") -> list[str]:
        """A disturbed leg that lived must end well, or with the error that the fault calls for, and clean."""
        if leg.end.signal:
            crashed = self.rule.crashes and leg.end.signal == signal.SIGSEGV
            self.crashes += crashed
            dead = leg.end.killed or crashed or (self.rule.wrong and leg.end.signal != signal.SIGALRM)
            return [] if dead else [f"ended by {signal.Signals(leg.end.signal).name} (SIGALRM: it hung)"]
        found = leg.end.value
        if "crashed" in found:
            return [found["crashed"]]
        problems = []
        if "ok" in found and found["ok"] != self.expected:
            problems.append(f"silent wrong result: {found['ok'][:300]}")
        if "error" in found and not set(self.rule.raises) & set(found["kinds"]):
            problems.append(f"another error came out: {found['error']}: {found['text']}")
        if not found.get("helpful", True):
            problems.append(f"the error says nothing: {found['error']}: {found['text']}")
        if found["leaks"]:
            problems.append(f"descriptors leaked: {found['leaks']}")
        # A rollback journal belongs to its database: whoever opens it next needs it, and must have removed it then.
        left = [name for name in found["leftovers"] if not name.endswith("-journal")]
        if left and not (self.rule.dirty or " unlink " in f" {where}"):
            problems.append(f"files left behind: {left}")
        if self.rule.interrupts:
            problems += self.judge_interrupt(leg)
        return problems

    def judge_interrupt(self, leg: Leg) -> list[str]:
        found = leg.end.value
        if "ok" in found:  # a run that waited less for its commits may end before the last points
            return [] if found["missed"] else ["the interrupt was swallowed"]
        again = found["again"]
        if again.get("ok") != self.expected:
            if self.subject.is_gone(again) and sorted(set(leg.nodes)) == sorted(self.subject.nodes):
                return []
            return [f"the same process could not carry on: {again.get('error')}: {again.get('text')}"]
        return []

    def judge(self, legs: list[Leg], place: Place) -> list[str]:
        """Nothing lost, nothing repeated that was finished, the exact result, nothing left behind."""
        last = legs[-1].end
        if last.signal:
            return [f"the recovery ended by {signal.Signals(last.signal).name}"]
        found, problems = last.value, []
        if "crashed" in found:
            return [found["crashed"]]
        if self.rule.wrong and "TauError" in found.get("kinds", ()):
            return []
        if found.get("ok") != self.expected and not self.subject.is_gone(found):
            problems.append(
                f"not recovered: {found.get('error', 'a wrong result')}: {found.get('text', found.get('ok'))}"
            )
        if not self.rule.wrong and (found["leaks"] or found["leftovers"]):
            problems.append(f"the recovery left behind: {found['leaks']} {found['leftovers']}")
        if not self.rule.wrong:
            problems += self.judge_effects(split(legs))
        return problems

    def judge_effects(self, parts: list[list[str]]) -> list[str]:
        nodes, reached = list(self.subject.nodes), 0
        for part in parts:
            starts = range(max(0, reached - self.subject.held_back), reached + 1)
            fitting = [start for start in starts if nodes[start : start + len(part)] == part]
            if not fitting:
                return [f"lost or repeated: the nodes ran as {parts}"]
            reached = max(reached, fitting[-1] + len(part))
        return [] if reached == len(nodes) else [f"lost: the nodes ran as {parts}"]


def split(legs: list[Leg]) -> list[list[str]]:
    """The nodes that ran, by the attempt that ran them; an interrupted leg holds two attempts."""
    parts = []
    for leg in legs:
        again = (leg.end.value or {}).get("again")
        if again is None:
            parts.append(leg.nodes)
        else:
            count = len(leg.nodes) - len(again["nodes"])
            parts += [leg.nodes[:count], leg.nodes[count:]]
    return parts


def tearable(points: dict[int, str]) -> dict[int, str]:
    """The points that can be torn: the others are the same as under ``before``."""
    return {n: where for n, where in points.items() if where.startswith(f"{WRITE} ")}


def first_and_last(points: dict[int, str]) -> dict[int, str]:
    """The first and the last point at each place: what lies between them is more of the same."""
    first = {where: n for n, where in reversed(points.items())}
    last = {where: n for n, where in points.items()}
    return {n: where for n, where in points.items() if n in (first[where], last[where])}
