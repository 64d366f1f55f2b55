"""Several owners of one run: many at once, and one that is frozen while another takes over."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from children import End, fork, in_child, join
from faulted_pipeline import RUN, Pipeline, render
from preload import CrashPoints
from subjects import Place
from sweep import Finding, outcome

LEASE_SECONDS = 0.5


class Race:
    """A run that was killed in its last node, and ``count`` processes that resume it at the same moment."""

    def __init__(self, subject: Pipeline, base: Path, count: int) -> None:
        self.subject = subject
        self.base = base
        subject.warm(Place(base / "warm"))
        self.count = count
        self.expected = in_child(lambda: outcome(subject.start, Place(base / "whole"))).value["ok"]
        self.golden = Place(base / "golden")
        subject.die_in = subject.nodes[-1]
        in_child(lambda: outcome(subject.start, self.golden))
        subject.die_in = None

    def points(self, rounds: int) -> dict[int, str]:
        return dict.fromkeys(range(rounds), "race")

    def round(self, number: int) -> Iterator[Finding]:
        directory = self.base / f"race-{number}"
        shutil.copytree(self.golden.directory, directory)
        place = Place(directory)
        gate, opener = os.pipe()

        def contend() -> dict[str, Any]:
            os.close(opener)
            os.read(gate, 1)
            return outcome(self.subject.resume, place)

        children = [fork(contend) for _ in range(self.count)]
        os.close(gate)
        os.close(opener)
        ends = [join(*child) for child in children]
        ran = place.effects()[len(self.subject.nodes) :]
        for problem in self.judge(ends, ran):
            yield Finding(number, None, "race", problem)
        shutil.rmtree(directory)

    def judge(self, ends: list[End], ran: list[str]) -> Iterator[str]:
        if ran != [self.subject.nodes[-1]]:
            yield f"the node in flight ran {len(ran)} times: {ran}"
        if not any(end.value and end.value.get("ok") == self.expected for end in ends):
            yield "nobody finished the run"
        for end in ends:
            found = end.value or {"error": f"signal {end.signal}", "text": ""}
            name = found.get("error", found.get("crashed"))
            late = name == "RunFinishedError" and not self.subject.preserve
            if found.get("ok", self.expected) != self.expected:
                yield f"a wrong result: {found['ok']}"
            if name and name != "RunOwnedError" and not late:
                yield f"a loser got {name}: {found.get('text')}"


class Zombie:
    """An owner frozen by SIGSTOP, in a node or at a libc call, until another has finished its run."""

    def __init__(self, subject: Pipeline, base: Path) -> None:
        self.subject = subject
        self.base = base
        subject.warm(Place(base / "warm"))
        self.library: Any = CrashPoints() if "LD_PRELOAD" in os.environ else None
        self.calls = in_child(self._count).value if self.library else 0
        self.expected = in_child(lambda: outcome(subject.start, Place(base / "whole"))).value["ok"]

    def _count(self) -> int:
        place = Place(self.base / "counted")
        self.library.arm(place.store, "count")
        outcome(self.subject.start, place)
        return self.library.count()

    def points(self, rounds: int) -> dict[int, str]:
        """The frozen nodes, or without ``rounds`` the frozen calls; a call has a positive number, a node a negative."""
        if not rounds:
            return {at: f"call {at}" for at in range(1, self.calls + 1)}
        return {-at: f"node {self.subject.nodes[at % len(self.subject.nodes)]}" for at in range(1, rounds + 1)}

    def owner(self, place: Place, at: int) -> dict[str, Any]:
        """The run of the owner that is frozen."""
        graph = self.subject.graph(place, lease=LEASE_SECONDS)
        if at > 0:
            self.library.arm(place.store, "stop", at)
        else:
            self.subject.freeze_in = self.subject.nodes[-at % len(self.subject.nodes)]
        return outcome(lambda _: render(graph.execute({"dataset": "mauna-loa"}, run_id=RUN)), place)

    def heir(self, place: Place) -> dict[str, Any]:
        """What another process gets that waits for longer than the lease lasts."""
        graph = self.subject.graph(place, lease=LEASE_SECONDS)
        found = outcome(lambda _: render(graph.resume(RUN, wait=20 * LEASE_SECONDS)), place)
        if found.get("error") == "CheckpointNotFoundError":
            return outcome(lambda _: render(graph.execute({"dataset": "mauna-loa"}, run_id=RUN)), place)
        return found

    def log(self, place: Place) -> str:
        graph = self.subject.graph(place)
        return str([(entry.position, entry.node, entry.next, render(entry.state)) for entry in graph.history(RUN)])

    def round(self, at: int) -> Iterator[Finding]:
        place = Place(self.base / f"zombie{at}")
        pid, receive = fork(lambda: self.owner(place, at))
        _, status = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            raise RuntimeError(f"the owner did not stop at point {at}: it ended with {status}")
        try:
            heir = in_child(lambda: self.heir(place)).value
            effects = place.effects()
            before = in_child(lambda: self.log(place)).value
        finally:
            os.kill(pid, signal.SIGCONT)
        owner = join(pid, receive).value
        after = in_child(lambda: self.log(place)).value
        for problem in self.judge(heir, owner, before == after, place.effects()[len(effects) :]):
            yield Finding(at, None, "frozen", problem)
        shutil.rmtree(place.directory)

    def judge(self, heir: dict[str, Any], owner: dict[str, Any], same: bool, late: list[str]) -> Iterator[str]:
        if heir.get("ok") != self.expected:
            yield f"the heir could not finish: {heir}"
        if not same:
            yield "the zombie changed the history of the run"
        if len(late) > 1:  # one, if what it was frozen in was a commit that stood: only the next one tells it
            yield f"the zombie went on to run {late}"
        done = owner.get("ok") == self.expected and not late  # it was frozen after the commit that finished the run
        if not done and owner.get("error") not in ("LeaseLostError", "RunExistsError"):
            yield f"the zombie was not told: {owner}"
