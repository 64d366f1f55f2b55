"""Taking runs in this thread: one at a time, or several with one commit."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from msgspec.structs import replace

from tau.engine.driver import Driver
from tau.engine.stop import Stop, StopNow
from tau.engine.sync_driver import SyncDriver
from tau.errors import StoreError
from tau.log.committer import Committer
from tau.log.records import DRAIN
from tau.log.tickets import Ticket
from tau.operations.exits import end_copy, ends_worker
from tau.operations.finding import Candidate
from tau.stores.contract import Batch
from tau.waiting import DaemonThread

AHEAD: Final = 8
"""At most so many runs are claimed at once by who does one after the other."""

SHORT: Final = 0.05
"""Seconds of a run below which several are claimed at once."""

PATIENCE: Final = 2.0
"""Seconds for which runs that are claimed ahead may wait for their turn; then they are let go."""

Make = Callable[[Candidate, bool], SyncDriver]
Ended = Callable[[Candidate, Driver, BaseException | None], object]


class _Opened:
    """A run that is claimed and waits for its turn, which it gets once: to be run, or to be let go."""

    def __init__(self, candidate: Candidate, driver: SyncDriver) -> None:
        self.candidate = candidate
        self.driver = driver
        self._turn = threading.Lock()

    def is_mine(self) -> bool:
        """Whether the caller is the first to ask."""
        return self._turn.acquire(blocking=False)


class Taker:
    """Runs what it is given to the end; ``make`` makes the driver of a run (``shared``: others are under way beside
    it), and ``ended`` is told how each ended."""

    def __init__(self, make: Make, ended: Ended, stop: Stop, committer: Callable[[], Committer]) -> None:
        self._make = make
        self._ended = ended
        self._stop = stop
        self._committer = committer
        self._usual: float | None = None

    @property
    def at_once(self) -> int:
        """How many it would claim at once: several where runs are short."""
        return AHEAD if self._usual is not None and self._usual < SHORT else 1

    def take(self, candidates: Sequence[Candidate]) -> None:
        """Run these, one after the other. Suspects are taken alone."""
        rest = [one for one in candidates if not one.is_suspect]
        for one in candidates:
            if one.is_suspect and not self._stop.is_set():
                self._one(one)
        if len(rest) > 1:
            self._several(rest)
        elif rest:
            self._one(rest[0])

    def _one(self, candidate: Candidate) -> None:
        self._drive(candidate, self._make(candidate, False))

    def _drive(self, candidate: Candidate, driver: SyncDriver, given: Any = None) -> None:
        pid, began = os.getpid(), time.monotonic()
        error: BaseException | None = None
        try:
            driver.drive(given)
        except BaseException as raised:
            error = raised
        finally:
            end_copy(pid)
            took = time.monotonic() - began
            self._usual = took if self._usual is None else (self._usual + took) / 2 if took < SHORT else took
        if error is not None and ends_worker(error):
            raise error
        self._ended(candidate, driver, error)

    # Several

    def _several(self, candidates: Sequence[Candidate]) -> None:
        opened, alone = self._claimed([(one, self._make(one, True)) for one in candidates])
        done = threading.Event()
        if len(opened) > 1:
            DaemonThread(self._let_go_late, "tau-worker", (opened[1:], done)).start()
        try:
            for one in opened:
                if one.is_mine():
                    self._drive(one.candidate, one.driver, "")
        finally:
            done.set()
            for one in opened:  # after an interrupt
                self._let_go(one)
        for candidate in alone:
            if not self._stop.is_set():
                self._one(candidate)

    def _claimed(self, made: list[tuple[Candidate, SyncDriver]]) -> tuple[list[_Opened], list[Candidate]]:
        """Those that one commit claims, and those that need more than a claim."""
        asked: list[tuple[Candidate, SyncDriver, Batch]] = []
        alone: list[Candidate] = []
        for candidate, driver in made:
            try:
                batch = driver.claim(candidate.row)
            except Exception as error:
                self._ended(candidate, driver, error)
                continue
            if batch is None:
                alone.append(candidate)
            else:
                asked.append((candidate, driver, batch))
        if not asked:
            return [], alone
        committer = self._committer()
        tickets = [committer.submit(Ticket(batch)) for _, _, batch in asked]
        opened: list[_Opened] = []
        for (candidate, driver, batch), ticket in zip(asked, tickets, strict=True):
            while not ticket.over:
                ticket.wait()
            result = ticket.result
            try:
                driver.claimed(batch, StoreError("the claim was broken off") if result is None else result)
            except Exception as error:
                driver.engine.close()
                self._ended(candidate, driver, error)
            else:
                opened.append(_Opened(candidate, driver))
        return opened, alone

    def _let_go_late(self, opened: Sequence[_Opened], done: threading.Event) -> None:
        if not done.wait(PATIENCE):
            for one in reversed(opened):
                self._let_go(one)

    def _let_go(self, one: _Opened) -> None:
        if not one.is_mine():
            return
        error: BaseException | None = None
        try:
            one.driver.let_go(StopNow(DRAIN))
        except BaseException as raised:
            error = raised
        with suppress(Exception):
            self._ended(one.candidate, one.driver, error)


def shared(driver: Driver) -> None:
    """Note in the claim that other runs are under way beside this one."""
    journal = driver.journal
    assert journal is not None
    journal.owner = replace(journal.owner, shared=True)
