"""A worker whose runs are in child processes, one in each, so that one that crashes costs no other run.

A child is a fork of the worker, so it has the graph whatever that is made of. The worker itself runs no node and begins
no thread; it finds runs, hands each to a child that has nothing to do, and starts another child where one has died. The
kernel ends children with their worker.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from typing import Any, Final, NoReturn

from tau import forks
from tau.engine.stop import Stop, StopNow
from tau.engine.sync_driver import SyncDriver
from tau.errors import StoreUnavailableError
from tau.executors.worker import end_with
from tau.log.records import DRAIN
from tau.operations.exits import end_copy
from tau.operations.finding import Candidate
from tau.operations.report import why_of, word_for
from tau.operations.serving import Worker
from tau.stores.summaries import pack, unpack
from tau.waiting import LOOK

STARTS: Final = 5
"""How many children may die one after the other before they have run anything; then the worker ends."""

IGNORED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""What the worker alone decides on: a terminal or batch system signals every process."""

LAST: Final = 5.0
"""Seconds after the grace in which what was broken off may still be saved."""


class _Child:
    """A child process, as the worker knows it."""

    def __init__(self, pid: int, pipe: Connection, life: int) -> None:
        self.pid = pid
        self.pipe = pipe
        self.life = life
        self.at: Candidate | None = None

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def let_go(self) -> None:
        """It ends when it is done."""
        with suppress(OSError):
            self.pipe.close()

    def end(self) -> None:
        """Wait until it has ended; what it left running ends, too."""
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.let_go()
        with suppress(OSError):
            os.close(self.life)


def serve(work: Worker) -> None:
    """Serve until it is over. Raises what `tau.worker` raises, and `StoreUnavailableError` where no child lives long
    enough to run anything."""
    children = _Children(work)
    try:
        children.serve()
    finally:
        children.close()


class _Children:
    def __init__(self, work: Worker) -> None:
        self._work = work
        self._all: list[_Child] = []
        self._early = 0
        self._hurried = False
        self._woken, self._wakes = os.pipe()

    def serve(self) -> None:
        work = self._work
        work.stop.event.then(self._wake)
        work.stop.hurry = self._hurry
        while not work.is_over:
            idle = [one for one in self._all if one.at is None]
            room = work.options.concurrency - len(self._all) + len(idle)
            if room > 0:
                at = {one.at.run_id for one in self._all if one.at is not None}
                found = [one for one in work.look(room) if one.run_id not in at][:room]
                for candidate in found:
                    self._give(candidate)
                if not found and not at and work.is_done():
                    break
            is_full = len(self._busy) >= work.options.concurrency
            self._wait(0.01 if work.collect() else None if is_full else work.pause)
        self._drain()

    @property
    def _busy(self) -> list[_Child]:
        return [one for one in self._all if one.at is not None]

    def _give(self, candidate: Candidate) -> None:
        child = next((one for one in self._all if one.at is None), None) or self._start()
        child.at = candidate
        sign = None if candidate.sign is None else list(candidate.sign)
        head = json.dumps(sign).encode()
        with suppress(OSError):  # it has died: that is noticed next
            child.pipe.send_bytes(head + b"\n" + pack(candidate.row))

    def _start(self) -> _Child:
        ours, theirs = socket.socketpair()
        life, ends = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            for one in self._all:
                os.close(one.life)
                one.pipe.close()
            ours.close()
            os.close(ends)
            _run_child(self._work, Connection(theirs.detach()), life)
        theirs.close()
        os.close(life)
        child = _Child(pid, Connection(ours.detach()), ends)
        self._all.append(child)
        return child

    def _wake(self) -> None:
        with suppress(OSError):
            os.write(self._wakes, b"x")

    def _wait(self, seconds: float | None) -> None:
        """Until a child has ended a run or died, it is time to look again, or the worker is told to end."""
        ends = None if seconds is None else time.monotonic() + seconds
        while not self._work.is_over:
            left = LOOK if ends is None else ends - time.monotonic()
            if left <= 0 or self._heard(min(left, LOOK)):
                return
            news = self._work.news
            if news is not None and ends is not None and news.wait(0.0):
                return

    def _heard(self, seconds: float) -> bool:
        """Whether a child has said something, or died, within that time."""
        pipes: dict[Any, _Child] = {one.pipe: one for one in self._all}
        ready = wait_for([*pipes, self._woken], timeout=max(0.0, seconds))
        for pipe in ready:
            if pipe == self._woken:
                os.read(self._woken, 100)
                continue
            child = pipes[pipe]
            try:
                told = json.loads(child.pipe.recv_bytes())
            except (EOFError, OSError):
                self._died(child)
                continue
            candidate, child.at = child.at, None
            self._early = 0
            if candidate is not None:
                if told["itself"] is not None:
                    self._work.leave(candidate, told["itself"])
                self._work.note(candidate, told["word"], told["why"])
        return bool(ready)

    def _died(self, child: _Child) -> None:
        self._all.remove(child)
        child.end()
        self._work.finder.look_for_dead()
        self._early += 1
        if child.at is not None:
            self._work.tally.note(child.at.run_id, "died", "its process was killed, or crashed")
        if self._early >= STARTS and child.at is None:
            raise StoreUnavailableError("child processes of this worker end as soon as they begin; see what they say")

    def _drain(self) -> None:
        """Have the runs stop by themselves, then break them off, then end what does not."""
        self._work.stop.set(DRAIN)
        for grace, number in (
            (self._work.options.grace, signal.SIGUSR2),
            (LAST, signal.SIGHUP),
            (0.0, signal.SIGKILL),
        ):
            for child in self._busy:
                child.signal(number)
            ends = time.monotonic() + grace
            while (
                self._busy
                and (left := ends - time.monotonic()) > 0
                and not (self._hurried and number == signal.SIGUSR2)
            ):
                self._heard(min(left, LOOK))

    def _hurry(self) -> None:
        """A second signal: the grace is over."""
        self._hurried = True
        self._wake()

    def close(self) -> None:
        """End the children, at once where they are at something."""
        for child in self._all:
            if child.at is not None:
                child.signal(signal.SIGKILL)
            child.let_go()
        for child in self._all:
            child.end()
        os.close(self._woken)
        os.close(self._wakes)


def _run_child(work: Worker, pipe: Connection, life: int) -> NoReturn:
    """What a child does: one run after the other, as they are handed to it."""
    code = 1
    try:
        os.setsid()
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        stop = Stop()
        stop.always = DRAIN
        signal.signal(signal.SIGUSR2, lambda *_: stop.set(DRAIN))
        signal.signal(signal.SIGHUP, _break_off)
        end_with(life)
        forks.in_child(pipe.close)  # a copy that a node makes says nothing here, nor hides that this process has died
        work.stop = stop
        with suppress(EOFError, OSError):
            while True:
                head, _, row = pipe.recv_bytes().partition(b"\n")
                pipe.send_bytes(json.dumps(_run(work, json.loads(head), row)).encode())
        work.graph.store.close()
        code = 0
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _break_off(*_: object) -> NoReturn:
    raise StopNow(DRAIN)


def _run(work: Worker, sign: Any, row: bytes) -> dict[str, Any]:
    """Carry a run to its end; what became of it, and its position if it interrupted itself."""
    candidate = Candidate(unpack(row, work.graph.store.location), None if sign is None else (sign[0], sign[1], sign[2]))
    error: BaseException | None = None
    driver = work.driver(SyncDriver, candidate, shared=False)
    pid, journal = os.getpid(), driver.journal
    try:
        driver.drive()
    except BaseException as raised:
        error = raised
    finally:
        end_copy(pid)
    word = word_for(error, acted=journal is not None and journal.progress is not None)
    itself = journal.position if journal is not None and not isinstance(error, Exception | None) else None
    return {"word": word, "why": why_of(error), "itself": itself}
