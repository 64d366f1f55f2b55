"""Signs of life: threads of tau's own renew the leases of the runs that this process owns."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress

from tau.errors import StoreUnavailableError
from tau.forks import in_child
from tau.log.journal import Journal
from tau.stores.failures import start_thread
from tau.waiting import Bell, DaemonThread

_log = logging.getLogger("tau")
_IDLE = 5.0  # seconds without anything to do after which a thread ends
_AGAIN = 1.0  # seconds after which a renewal that failed is tried again, at the latest
_THREADS = 16


class Renewer:
    """Renews each journal's lease every quarter of its time, as long as the journal is watched.

    There is a thread for each store that has a run, up to 16, and a store is asked by one of them at a time: one that
    hangs in a call is left alone with it. They start with the first run and end when there is none; none is ever one
    that nodes use.
    """

    def __init__(self) -> None:
        self._due: dict[int, dict[Journal, float]] = {}
        self._asked: set[int] = set()
        self._failing: set[Journal] = set()
        self._threads: set[threading.Thread] = set()
        self._looks_at = 0.0
        self._lock = threading.RLock()  # a signal handler may begin a run, too
        self._changed = Bell()

    @property
    def is_busy(self) -> bool:
        """Whether this process owns a run."""
        return bool(self._due)

    def watch(self, journal: Journal) -> None:
        """Renew this journal's lease from now on. Raises `StoreUnavailableError` where no thread can be had."""
        with self._lock:
            due = time.monotonic() + journal.owner.lease / 4
            self._due.setdefault(id(journal.store), {})[journal] = due
            self._staff(journal)
            if due < self._looks_at:  # woken only where it would come too late: it costs the run a switch of threads
                self._changed.set()

    def forget(self, journal: Journal) -> None:
        """Renew it no more."""
        with self._lock:
            journals = self._due.get(id(journal.store), {})
            journals.pop(journal, None)
            if not journals:
                self._due.pop(id(journal.store), None)
            self._failing.discard(journal)

    def _staff(self, journal: Journal) -> None:
        if not all(thread.is_alive() for thread in self._threads):
            self._threads = {thread for thread in self._threads if thread.is_alive()}
        if len(self._threads) < self._needed():
            thread = DaemonThread(self._serve, "tau-lease")
            self._threads.add(thread)
            try:
                start_thread(thread, journal.store.location)
            except StoreUnavailableError:
                self._threads.discard(thread)
                if not self._threads:
                    raise

    def _needed(self) -> int:
        return min(_THREADS, len(self._due.keys() | self._asked))

    def _serve(self) -> None:
        going = True
        while going:
            try:
                going = self._turn()
            except BaseException:  # whatever it is, the runs go on and need their leases
                with suppress(BaseException):
                    _log.exception("the thread that renews leases goes on after an error")
                with suppress(BaseException):
                    time.sleep(_AGAIN)

    def _turn(self) -> bool:
        """Renew what is due in one store, or wait for it; whether the thread is needed any longer."""
        with self._lock:
            now = time.monotonic()
            free = [(min(line.values()), store) for store, line in self._due.items() if store not in self._asked]
            due, store = min(free, default=(now + _IDLE, 0))
            if due <= now:
                line = self._due[store]
                ready = [journal for journal, due in line.items() if due <= now]
                for journal in ready:
                    line[journal] = now + journal.owner.lease / 4
                self._asked.add(store)
                self._changed.set()  # another thread looks after the rest, should this one not come back
            else:
                self._looks_at = due
        if due > now:
            return self._changed.wait(due - now) or not self._is_spare(idle=not free)
        try:
            for journal in ready:
                self._renew(journal)
        finally:
            with self._lock:
                self._asked.discard(store)
        return True

    def _is_spare(self, *, idle: bool) -> bool:
        """Whether this thread, which waited in vain, is not needed any longer, and ends."""
        with self._lock:
            spare = idle and len(self._threads) > len(self._due.keys() | self._asked)
            if spare or not self._due:
                self._threads.discard(threading.current_thread())
                return True
            return False

    def _renew(self, journal: Journal) -> None:
        try:
            if journal.store.renew(journal.run_id, journal.owner.nonce, journal.owner.lease):
                self._failing.discard(journal)
            else:
                journal.superseded = True
                self.forget(journal)
        except BaseException as error:  # a store of the user's own may raise anything, and other runs wait
            first = journal not in self._failing
            with self._lock:
                line = self._due.get(id(journal.store), {})
                if journal in line:
                    line[journal] = time.monotonic() + min(_AGAIN, journal.owner.lease / 4)
                    self._failing.add(journal)
            if first:
                with suppress(BaseException):  # nor must a filter or handler of logging end this
                    _log.warning("the lease of run %r could not be renewed: %s", journal.run_id, error)


renewer = Renewer()


def renewer_here() -> Renewer:
    """That of this process."""
    return renewer


@in_child
def _begin_anew() -> None:
    global renewer  # noqa: PLW0603 - what is renewed is the parent's
    renewer = Renewer()
