"""Signs of life: one thread per process renews the leases of the runs it owns."""

from __future__ import annotations

import logging
import os
import threading
import time

from tau.log.journal import Journal
from tau.stores.failures import start_thread

_log = logging.getLogger("tau")
_IDLE = 5.0  # seconds without a run after which the thread ends


class Renewer:
    """Renews each journal's lease every quarter of its time, as long as the journal is watched.

    The thread starts with the first run and ends when there is none; it is never one that nodes use.
    """

    def __init__(self) -> None:
        self._due: dict[Journal, float] = {}
        self._looks_at = 0.0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def watch(self, journal: Journal) -> None:
        """Renew this journal's lease from now on. Raises `StoreUnavailableError` where no thread can be had."""
        with self._changed:
            due = self._due[journal] = time.monotonic() + journal.owner.lease / 4
            if self._thread is None:
                self._thread = start_thread(self._serve, "tau-lease", journal.store.location)
            elif due < self._looks_at:  # woken only where it would come too late: it costs the run a switch of threads
                self._changed.notify()

    def forget(self, journal: Journal) -> None:
        """Renew it no more."""
        with self._changed:
            self._due.pop(journal, None)

    def _serve(self) -> None:
        while True:
            with self._changed:
                if not self._due and not self._wait(_IDLE) and not self._due:
                    self._thread = None
                    return
                now = time.monotonic()
                ready = [journal for journal, due in self._due.items() if due <= now]
                for journal in ready:
                    self._due[journal] = now + journal.owner.lease / 4
                if not ready and self._due:
                    self._wait(min(self._due.values()) - now)
            for journal in ready:
                self._renew(journal)

    def _wait(self, seconds: float) -> bool:
        self._looks_at = time.monotonic() + seconds
        return self._changed.wait(seconds)

    def _renew(self, journal: Journal) -> None:
        try:
            if not journal.store.renew(journal.run_id, journal.owner.nonce, journal.owner.lease):
                self.forget(journal)
        except Exception as error:
            _log.warning("the lease of run %r could not be renewed: %s", journal.run_id, error)


renewer = Renewer()


def _after_fork() -> None:
    global renewer  # noqa: PLW0603
    renewer = Renewer()


os.register_at_fork(after_in_child=_after_fork)
