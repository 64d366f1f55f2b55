"""Taking runs in this thread: one at a time, or several with one commit."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from tau.engine.abandoned import abandoned
from tau.engine.driver import Driver
from tau.engine.stop import Stop, StopNow
from tau.engine.sync_driver import SyncDriver
from tau.errors import StoreError
from tau.log.loading import Known
from tau.log.records import DRAIN
from tau.log.tickets import Ticket
from tau.operations.exits import end_copy, ends_worker
from tau.operations.finding import Candidate
from tau.stores.contract import Batch, Store
from tau.waiting import DaemonThread

AHEAD: Final = 16
"""At most so many runs are claimed at once by who does one after the other."""

SOON: Final = 0.4
"""Seconds of work that are claimed at once, where that is more than one run."""

SMALL: Final = 32
"""So many records of a run, at most, are read together with those of others."""

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

    def __init__(self, make: Make, ended: Ended, stop: Stop, store: Store) -> None:
        self._make = make
        self._ended = ended
        self._stop = stop
        self._store = store
        self._usual: float | None = None

    @property
    def at_once(self) -> int:
        """How many it would claim at once: several where runs are short."""
        usual = self._usual
        return 1 if usual is None else min(AHEAD, max(1, int(SOON / max(usual, SOON / AHEAD))))

    def take(self, candidates: Sequence[Candidate]) -> bool:
        """Run these, one after the other. Suspects are taken alone. Whether one commit could claim most of the others,
        as no other worker was faster."""
        rest = [one for one in candidates if not one.is_suspect]
        for one in candidates:
            if one.is_suspect and not self._stop.is_set():
                self._one(one)
        return bool(rest) and 2 * self._together(rest) > len(rest)

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
            self._usual = took if self._usual is None else (self._usual + took) / 2
        if error is not None and ends_worker(error):
            raise error
        self._ended(candidate, driver, error)

    # Those that need a claim alone

    def _together(self, candidates: Sequence[Candidate]) -> int:
        """Run them; how many one commit claimed."""
        opened, alone = self._claimed(self._known(candidates))
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
        return len(opened)

    def _known(self, candidates: Sequence[Candidate]) -> list[tuple[Candidate, Known]]:
        """Those that nobody has changed meanwhile, with what is read of all of them at once."""
        rows = [one.row for one in candidates]
        after = {row.run_id: row.base - 1 for row in rows if row.base and row.position - row.base < SMALL}
        logs: Mapping[str, Sequence[tuple[int, bytes]]] = {}
        with suppress(StoreError):  # then each is read alone, and tells
            logs = self._store.logs(after)
        return [
            (one, Known(one.row, logs.get(one.run_id, ())))
            for one in candidates
            if one.run_id not in logs or [at for at, _ in logs[one.run_id][-1:]] == [one.row.position]
        ]

    def _claimed(self, known: list[tuple[Candidate, Known]]) -> tuple[list[_Opened], list[Candidate]]:
        """Those that one commit claims, and those that need more than a claim."""
        asked: list[tuple[Candidate, SyncDriver, Batch]] = []
        alone: list[Candidate] = []
        for candidate, about in known:
            driver = self._make(candidate, len(known) > 1)
            try:
                batch = driver.claim(about)
            except Exception as error:
                self._ended(candidate, driver, error)
                continue
            if batch is None:
                alone.append(candidate)
            else:
                asked.append((candidate, driver, batch))
        if not asked:
            return [], alone
        committer = self._store.committer
        tickets = [committer.submit(Ticket(batch)) for _, _, batch in asked]
        opened: list[_Opened] = []
        try:
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
        except BaseException:
            for one in opened:
                self._let_go(one)
            for (_, driver, batch), ticket in zip(asked, tickets, strict=True):
                _let_go_once_committed(driver, batch, ticket)
            raise
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


def _let_go_once_committed(driver: SyncDriver, batch: Batch, ticket: Ticket) -> None:
    """End a claim that nobody waits for any more."""
    assert driver.journal is not None
    ticket.answer = partial(abandoned, driver.journal, batch)
    if ticket.result is not None:  # it may have been told already; twice is fine
        ticket.answer(ticket.result)
