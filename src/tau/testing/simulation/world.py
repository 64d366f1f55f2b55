"""A simulated world: one clock, one store, and processes that take turns on it.

Nothing here waits, starts a thread or reads a real clock, so the same seed and faults give the same run again, step by
step. A process stops only at numbered *points*: before each effect of its engine and at each call to the store.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from random import Random
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec import Struct

from tau.errors import AnswerError, ConfigError
from tau.host import Host, Work
from tau.log.answers import answer as give
from tau.log.answers import open_pauses
from tau.log.cancellation import cancel_run
from tau.stores.contract import Owner, Store
from tau.testing.simulation.history import Execution, History, RouteCall, StepCall
from tau.testing.simulation.store import SimulatedStore
from tau.waiting import Flag

if TYPE_CHECKING:
    from tau.testing.simulation.process import Process

EPOCH: Final = 1_700_000_000.0
TICK: Final = 0.001
STRANGER: Final = 255
NODE_SECONDS: Final = 0.1

EFFECT_FAULTS: Final = ("crash", "crash-after", "pause", "freeze", "nap", "mute", "stop", "cancel", "interrupt")
CALL_FAULTS: Final = (
    "crash", "crash-after", "error", "lost", "blind", "outage", "pause", "freeze", "nap", "mute",
    "cancel", "interrupt", "interrupt-after",
)  # fmt: skip
STORE_FAULTS: Final = frozenset({"error", "lost", "blind", "outage"})
ANSWER: Final = "answer"
INTERRUPTS: Final = frozenset({"interrupt", "interrupt-after"})
PAUSES: Final = frozenset({"pause", "freeze", "nap"})


class Fault(Struct, frozen=True):
    """What goes wrong at one point of one process; both are numbered from 0, in the order in which they begin.

    ``crash``: the process dies before it does what it was about to do; ``crash-after``: it dies after that, before it
    gets the reply. ``error``: the call to the store is not carried out and fails; ``lost``: it is carried out, but
    fails; ``blind``: as ``lost``, and the next call fails too, so that reading back is impossible; ``outage``: the next
    four calls fail. ``pause``: the process stops for longer than its lease, another one takes over, and it goes on when
    the other has ended or is itself paused; ``freeze``: it goes on only when the run is over; ``nap``: it goes on
    before another process has taken over. ``mute``: its lease is no longer renewed. ``stop``: it is asked to stop;
    ``cancel``: the run is ended for good from outside; ``answer``: people answer what waits at that moment;
    ``interrupt`` and ``interrupt-after``: Ctrl-C.

    Raises `ConfigError` for a kind that is none of these, and for numbers below 0.

    >>> from tau.testing import Fault
    >>> Fault(process=0, point=3, kind="crash")
    Fault(process=0, point=3, kind='crash')
    """

    process: int
    point: int
    kind: str

    def __post_init__(self) -> None:
        for name in ("process", "point"):
            number = getattr(self, name)
            if type(number) is not int or number < 0:
                raise ConfigError(f"the {name} of a fault must be a number from 0, found {number!r}")
        checked_kind(self.kind, sorted({*EFFECT_FAULTS, *CALL_FAULTS, ANSWER}), "of a fault")


def checked_kind(kind: Any, known: Sequence[str], where: str) -> str:
    """``kind`` if it is one of the known ones. Raises `ConfigError`."""
    if kind not in known:
        raise ConfigError(f"the kind {where} must be one of {', '.join(known)}, found {kind!r}")
    return cast(str, kind)


class Moment(Struct, frozen=True):
    """A point that is being reached: ``what`` names it (``run work``, ``append``, ``store.commit``); ``nth`` counts,
    from 1, the points of that process whose names have the same first word. Reading it raises nothing.

    >>> from tau.testing import Moment
    >>> def faults(moment):  # given to simulate(make, input, faults=faults)
    ...     return "crash" if moment.what == "store.commit" and moment.nth == 2 else None
    >>> faults(Moment(process=0, point=7, what="store.commit", nth=2))
    'crash'
    """

    process: int
    point: int
    what: str
    nth: int


class Crashed(BaseException):
    """The process is dead. Only the simulation raises and catches it."""


Faults = Callable[[Moment], str | None]


class SimulatedHost(Host):
    """The machine of one simulated process: its clocks, its randomness and what it knows about others."""

    def __init__(self, world: World, number: int, machine: str) -> None:
        self._world = world
        self._number = number
        self._random = Random(f"{world.seed}/{number}")
        self.machine = machine
        self.skew = self._random.uniform(-3600.0, 3600.0) if world.seed is not None else 0.0

    def now(self) -> float:
        return EPOCH + self._world.time + self.skew

    def monotonic(self) -> float:
        return self._world.time - self.skew

    def sleep(self, seconds: float, wake: Flag | None = None) -> None:
        self._world.let_others_run(self._world.processes[self._number], self._world.time + seconds)

    def random(self) -> float:
        return self._random.random()

    def token(self) -> bytes:
        return self._random.randbytes(8)

    def owner(self, lease: float) -> Owner:
        number = self._number
        nonce = f"{number:02x}{self._random.randbytes(5).hex()}"
        return Owner(
            nonce=nonce, host=self.machine, boot="1", pid=1000 + number, started=1, lease=lease, since=self.now()
        )

    def is_dead(self, owner: Owner) -> bool:
        return owner.host == self.machine and self._world.processes[owner.pid - 1000].status in ("crashed", "ended")

    def hold(self, owner: Owner) -> Work:
        return Work()


class World:
    """Everything there is. `run` lets it come to rest."""

    def __init__(self, run_id: str, store: Callable[[Callable[[], float]], Store], *, seed: Any, lease: float) -> None:
        self.run_id = run_id
        self.seed = seed
        self.lease = lease
        self.time = 0.0
        self.turns = 0
        self.store = store(lambda: self.time)
        self.history = History(self.store, run_id)
        self.processes: list[Process] = []
        self.executions: list[Execution] = []
        self.step_calls: list[StepCall] = []
        self.route_calls: list[RouteCall] = []
        self._inside: list[Process] = []
        self.faults: Faults = lambda moment: None
        self.begin: Callable[[], Process | None] = lambda: None
        self.people: Mapping[str, Any] = {}
        self.pick: Callable[[list[Process]], Process] = lambda ready: ready[0]

    @property
    def is_over(self) -> bool:
        """Whether a process was given the result, or the run was cancelled."""
        return self.history.cancelled or any(process.has_result for process in self.processes)

    def is_owned(self, asking: Process) -> bool:
        """Whether another process than the one that asks owns the run, may be alive, and has given signs of life."""
        lease = self.store.lease(self.run_id)
        if lease is None or (lease.expires_in or 0.0) <= 0:
            return False
        owner = next((one for one in self.processes if one.nonce == lease.nonce), None)
        return owner is not None and owner is not asking and not asking.host.is_dead(owner.journal.owner)

    def advance(self, seconds: float) -> None:
        """Let time pass; who is alive and not standing still renews its lease meanwhile."""
        target = self.time + seconds
        while True:
            due = [process for process in self.processes if process.renews and process.renewal_due <= target]
            if not due:
                break
            process = min(due, key=lambda one: one.renewal_due)
            self.time = max(self.time, process.renewal_due)
            process.renew()
        self.time = target

    def cancel(self) -> None:
        """End the run from outside, whatever process owns it; nothing happens where there is none, or it has ended."""
        cancel_run(SimulatedStore(self, None), self.run_id, SimulatedHost(self, STRANGER, "elsewhere"))

    def answer(self) -> None:
        """Let people answer what waits, and others answer the same; of two answers one counts."""
        store, host = SimulatedStore(self, None), SimulatedHost(self, STRANGER, "elsewhere")
        summary = store.summary(self.run_id)
        if summary is None or not summary.pauses or not self.people:
            return
        for one in open_pauses(store, host, run_id=self.run_id):
            if one.name in self.people:
                give(store, self.run_id, {one.name: self.people[one.name]}, host, by="first")
                try:
                    give(store, self.run_id, {one.name: "another"}, host, by="second")
                except AnswerError as error:
                    if getattr(error, "by", "first") != "first":
                        self.history.problems.append(f"two answers to {one.name!r}: {error}")
                else:
                    self.history.problems.append(f"two answers to {one.name!r} were both taken")

    def run(self) -> None:
        """Take turns until no process can or need do anything any more. What tau would warn of is not logged."""
        with _without_warnings():
            while self.turn():
                pass

    def turn(self) -> bool:
        """Let one process take one step, or make one able to; ``False`` when all is done."""
        self.turns += 1
        waiting = [process for process in self.processes if process.status == "ready" and not process.inside]
        ready = [process for process in waiting if process.wake <= self.time]
        if ready:
            self.pick(ready).step()
            return True
        if waiting:
            self.advance(min(process.wake for process in waiting) - self.time)
            return True
        return self._succeed() or self._release("pause") or self._begin() or self._release("freeze")

    def let_others_run(self, process: Process, until: float) -> None:
        """Inside a call of ``process``: others take turns until that time, or while it stands still."""
        process.inside += 1
        self._inside.append(process)
        try:
            while process.status == "paused" or self.time < until:
                others = [one for one in self.processes if one.status == "ready" and not one.inside]
                if process.status != "paused" and not any(one.wake <= self.time for one in others):
                    self.advance(min([until, *(one.wake for one in others)]) - self.time)
                elif not self.turn():
                    process.status = "ready"
        finally:
            process.inside -= 1
            self._inside.pop()

    def _succeed(self) -> bool:
        """Give each process that stands still one successor."""
        for process in self.processes:
            if process.status == "paused" and not process.succeeded:
                process.succeeded = True
                self.advance(1.25 * self.lease)
                return self._begin()
        return False

    def _begin(self) -> bool:
        if self.is_over:
            return False
        self.answer()
        process = self.begin()
        if process is not None:
            self.processes.append(process)
        return process is not None

    def _release(self, kind: str) -> bool:
        for process in self.processes:
            # Of those that stand still inside of a call only the innermost can go on.
            able = not process.inside or process is self._inside[-1]
            if process.status == "paused" and process.pause == kind and able:
                process.status = "ready"
                return True
        return False


_simulated: ContextVar[bool] = ContextVar("tau_simulated", default=False)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Of thousands of simulated runs, warnings of attempts that failed would bury what somebody looks for."""

    def is_real(record: logging.LogRecord) -> bool:
        return not _simulated.get()

    log, before = logging.getLogger("tau"), _simulated.set(True)
    log.addFilter(is_real)
    try:
        yield
    finally:
        log.removeFilter(is_real)
        _simulated.reset(before)
