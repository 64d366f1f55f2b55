"""A process of a simulated world: the real engine and journal, one effect at a time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from tau.engine.asking import answer_of
from tau.engine.driver import Driver
from tau.engine.effects import (
    AskRoute,
    Backoff,
    DeleteRecords,
    Effect,
    Emit,
    Load,
    Outcome,
    Release,
    RunRequest,
    RunTogether,
)
from tau.engine.stop import Stop, StopNow
from tau.errors import ExecutionError, RunFinishedError
from tau.events import STEP_START
from tau.log.append import Append
from tau.log.journal import Journal
from tau.log.loading import Known, LoadedRun, Watch
from tau.log.records import place_of
from tau.node.async_calls import with_timeout
from tau.node.calls import is_late
from tau.node.current import RunNode, run_scope
from tau.observers.recorder import Recorder
from tau.state import State
from tau.testing.simulation.history import Execution, RouteCall, StepCall
from tau.testing.simulation.loop import run_to_the_end
from tau.testing.simulation.store import SimulatedStore
from tau.testing.simulation.world import (
    ANSWER,
    INTERRUPTS,
    NODE_SECONDS,
    PAUSES,
    STORE_FAULTS,
    TICK,
    Crashed,
    Moment,
    SimulatedHost,
    World,
)


class Process:
    """One attempt at the run. ``status``: ready, paused, crashed or ended; ``trace`` names the points it reached."""

    def __init__(
        self,
        world: World,
        request: RunRequest,
        *,
        interval: int,
        machine: str = "host",
        watched: bool = False,
        wait: float = 0.0,
        resources: Mapping[str, Any] | None = None,
    ) -> None:
        self.world = world
        self.number = len(world.processes)
        self.request = request
        self.status = "ready"
        self.pause = ""
        self.succeeded = False
        self.inside = 0
        self.wake = 0.0
        self.muted = False
        self.renewal_due = 0.0
        self.trace: list[str] = []
        self.struck: list[tuple[str, str]] = []
        self.found_free = False
        self.state: State | None = None
        self.error: BaseException | None = None
        self.met_owner = False
        self.known_at_end = False
        self.superseded_at_end = False
        self.holds_lease = False
        self.host = SimulatedHost(world, self.number, machine)
        self.store = SimulatedStore(world, self, watched=watched)
        self.journal = Journal(self.store, request.run_id, self.host, self.host.owner(world.lease), interval)
        self.recorder = Recorder()
        self.driver = SimulatedDriver(self, wait, resources)
        self._seen: Counter[str] = Counter()
        self._effect: Effect | None = None
        self._passed = False

    @property
    def nonce(self) -> str:
        return self.journal.owner.nonce

    @property
    def renews(self) -> bool:
        return self.journal.claimed and self.status == "ready" and not self.muted

    @property
    def has_result(self) -> bool:
        return self.state is not None or isinstance(self.error, RunFinishedError) or self.has_failed

    @property
    def injected(self) -> set[str]:
        """The kinds of the faults that struck it."""
        return {kind for kind, _ in self.struck}

    @property
    def has_failed(self) -> bool:
        """Whether the run failed by itself, and would again."""
        return isinstance(self.error, ExecutionError) and not STORE_FAULTS & self.injected

    def renew(self) -> None:
        """As the thread does that gives the signs of life."""
        lease = self.world.lease
        self.renewal_due = self.world.time + lease / 4
        if not self.world.store.renew(self.world.run_id, self.nonce, lease):
            self.muted = True

    def step(self) -> None:
        """Do one effect, or stand still before it."""
        token = run_scope.set(self.driver.scope)
        try:
            self._step()
        except Crashed:
            self._effect = None
            self.driver.engine.close()
        except StopIteration as end:
            self._end(end.value, None)
        except KeyboardInterrupt as error:
            self._end(None, error)
            if not INTERRUPTS & self.injected:
                raise  # a person's Ctrl-C, who wants the simulation to stop
        except BaseException as error:
            self._end(None, error)
        finally:
            run_scope.reset(token)

    def _step(self) -> None:
        engine, effect = self.driver.engine, self._effect
        if effect is None:
            self._effect = engine.send(None)
            return
        fault = None
        if not self._passed:
            fault = self.reach(_name(effect), flat=True)
            if self.status == "paused":
                self._passed = True
                return
        self._passed = False
        try:
            if fault == "interrupt":
                raise KeyboardInterrupt
            reply = self.driver.handle(effect)
            if self.status == "crashed":
                raise Crashed
        except Crashed:
            raise
        except BaseException as error:
            if self.status == "crashed":
                raise Crashed from error
            self._effect = engine.throw(error)
            return
        if fault == "crash-after":
            self.die()
        self._effect = engine.send(reply)

    def reach(self, what: str, flat: bool = False) -> str | None:
        """Come to a point: what goes wrong there. Raises `Crashed`; stands still where it is told to."""
        if self.status == "crashed":
            raise Crashed
        word = what.partition(" ")[0]
        self._seen[word] += 1
        fault = self.world.faults(Moment(self.number, len(self.trace), what, self._seen[word]))
        self.trace.append(what)
        self.world.advance(TICK)
        if fault is None:
            return None
        self.struck.append((fault, what))
        if fault == "crash":
            self.die()
        if fault == "mute":
            self.muted = True
        if fault == "stop":
            assert self.driver.stop is not None
            self.driver.stop.set("simulated")
        if fault == "cancel":
            self.world.cancel()
        if fault == ANSWER:
            self.world.answer()
        if fault in PAUSES:
            self._stand_still(fault, flat)
        return fault

    def stand_still_until(self, time: float, flat: bool) -> None:
        """As a stopped process does, until others have used up so much time."""
        self.renewal_due = max(self.renewal_due, time)
        if flat:
            self.wake = time
        else:
            self.world.let_others_run(self, time)

    def _stand_still(self, kind: str, flat: bool) -> None:
        if kind == "nap":
            self.status = "paused"
            self.world.advance(1.25 * self.world.lease)
            self.status = "ready"
            return
        self.status, self.pause, self.succeeded = "paused", kind, False
        if not flat:
            self.world.let_others_run(self, self.world.time)

    def die(self) -> None:
        """Kill this process."""
        self.status = "crashed"
        raise Crashed

    def _end(self, state: State | None, error: BaseException | None) -> None:
        self.status, self.state, self.error = "ended", state, error
        self.known_at_end = bool(self.world.history.entries)
        lease = self.world.store.lease(self.world.run_id)
        self.holds_lease = lease is not None and lease.nonce == self.nonce
        self.superseded_at_end = self.world.history.owner != self.nonce


class SimulatedDriver(Driver):
    """Does each effect at once, in simulated time; async nodes run to their end in a loop of that time."""

    def __init__(self, process: Process, wait: float, resources: Mapping[str, Any] | None) -> None:
        super().__init__(
            process.request,
            process.host,
            journal=process.journal,
            observer=process.recorder,
            resources={"store": process.store, **(resources or {})},
            stop=Stop(),
            wait=wait,
        )
        self._process = process
        self._hurried = ""
        self._handlers: dict[type, Callable[[Any], Any]] = {
            RunNode: self.run_node,
            RunTogether: self.together,
            AskRoute: self.ask,
            Append: self.append,
            Emit: self.emit,
            Load: self.load,
            Backoff: self.pause,
            DeleteRecords: self.drop,
            Release: lambda _: self.release(),
        }

    def handle(self, effect: Effect) -> Any:
        return self._handlers[type(effect)](effect)

    def append(self, effect: Append) -> str:
        process, journal = self._process, self._process.journal
        batch = journal.prepare(effect)
        if batch is None:
            return ""
        claimed = journal.claimed
        while journal.goes_behind(result := process.store.committer.commit(batch)):
            again = journal.held()
            assert again is not None
            batch = again
        newest = journal.settle(batch, result)
        if not claimed:
            process.renewal_due = process.world.time + process.world.lease / 4
        return newest

    def look(self, watch: Watch | None, known: Known | None = None) -> LoadedRun | None:
        process, history = self._process, self._process.world.history
        owner, process.found_free = history.owner, False
        found = super().look(watch, known)
        taken = found is not None and watch is not None
        if taken and owner == history.owner and not process.found_free and process.world.is_owned(process):
            history.problems.append(f"process {process.number} was allowed to take the run from an owner that is alive")
        return found

    def tell(self, type_: str, data: dict[str, Any], effect: Emit | None = None) -> None:
        process, at = self._process, self.scope.effect
        if type_ == STEP_START and at is not None and not data["resumed"]:
            world = process.world
            current = world.history.owner == process.nonce
            scope = at.scope_of(data["step"])
            call = StepCall(process.number, at.node.name, at.visit, data["step"], world.turns, current, scope)
            world.step_calls.append(call)
        super().tell(type_, data, effect)

    def stopping(self) -> str:
        return self._hurried or super().stopping()

    def release(self) -> None:
        self._process.journal.release()

    def pause(self, effect: Backoff) -> str:
        process = self._process
        process.wake = process.world.time + self.time_until_retry(effect)
        return self.stopping()

    def run_node(self, effect: RunNode) -> Outcome:
        process, world = self._process, self._process.world
        began = self.host.now()
        self.scope.effect = effect
        if reason := self.stopping():
            return self.outcome(began, error=StopNow(reason))
        current = world.history.owner == process.nonce
        where = (effect.place, effect.visit, effect.attempt)
        execution = Execution(process.number, *where, world.turns, current)
        world.executions.append(execution)
        world.advance(NODE_SECONDS)
        try:
            result = self.call(effect)
            if effect.node.is_async or is_late(result):
                result = run_to_the_end(world, with_timeout(effect.node, result))
        except Crashed:
            raise
        except BaseException as error:
            execution.failed = True
            return self.outcome(began, error=error)
        return self.outcome(began, result)

    def together(self, effect: RunTogether) -> list[Outcome]:
        """Run branches in turns, an effect of each. An interrupt lets none begin another node."""
        process, interrupt = self._process, ""
        outcomes: dict[int, Outcome] = {}
        todo: dict[int, Effect | None] = dict.fromkeys(range(len(effect.branches)))
        while todo:
            for number in [*todo]:
                branch, given, reply = effect.branches[number], todo[number], None
                step: Callable[[Any], Effect] = branch.send
                process.world.turns += 1
                if given is not None:
                    fault = process.reach(_name(given))
                    if fault == "interrupt":
                        interrupt = self._hurried = "interrupted"
                    try:
                        reply = self.handle(given)
                    except Crashed:
                        raise
                    except BaseException as error:
                        step, reply = branch.throw, error
                    if process.status == "crashed" or fault == "crash-after":
                        process.die()
                try:
                    todo[number] = step(reply)
                except StopIteration as end:
                    outcomes[number] = end.value
                    del todo[number]
        if interrupt:
            self._hurried = ""
            raise KeyboardInterrupt
        return [outcomes[number] for number in range(len(effect.branches))]

    def ask(self, effect: AskRoute) -> Outcome:
        process, world = self._process, self._process.world
        began = self.host.now()
        if reason := self.stopping():
            return self.answered(began, error=StopNow(reason))
        current = world.history.owner == process.nonce
        where = (place_of(effect.scope, effect.route.source), effect.visit)
        world.route_calls.append(RouteCall(process.number, *where, world.turns, current))
        try:
            return self.answered(
                began, run_to_the_end(world, answer_of(effect.route, effect.state, self.stopping, self.journal))
            )
        except Crashed:
            raise
        except BaseException as error:
            return self.answered(began, error=error)


def _name(effect: Effect) -> str:
    if isinstance(effect, RunNode):
        return f"run {effect.node.name}"
    if isinstance(effect, Emit):
        return f"emit {effect.type}"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(effect).__name__).lower()
