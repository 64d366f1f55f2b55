"""One committer per store: whatever many runs have queued goes into one call of `Store.commit`."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from msgspec.structs import replace

from tau import forks
from tau.errors import StoreError, StoreUnavailableError, TauError
from tau.log.patience import Patience
from tau.log.pool import Pool
from tau.log.tickets import Result, Ticket, wake
from tau.stores.contract import Batch, PositionConflict, Store
from tau.stores.failures import start_thread
from tau.stores.reentry import Door, ReentryError
from tau.waiting import Bell, DaemonThread

_log = logging.getLogger("tau")
_IDLE = 5.0  # seconds without anything to do after which the thread ends

_making = threading.RLock()

Rows = Sequence[tuple[int, bytes]]
Unsettled = tuple[list[Ticket], Sequence[Result], BaseException | None]


class Committer(forks.Forked):
    """Commits the batches of any number of threads and event loops.

    A commit never waits for others to join it: what is queued while one is under way goes into the next. A signal
    handler or finaliser that runs in the middle of its own thread's commit is refused, because that commit cannot end
    before the handler returns.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.stale = False
        forks.watch(self)
        self._queue: deque[Ticket] = deque()
        self._unsettled: Unsettled | None = None
        self._answered: deque[Ticket] = deque()
        self._starting = threading.RLock()
        self.guard = Door(store.location)
        self._wake = Bell()
        self._thread: threading.Thread | None = None
        self.patience: dict[str, Patience] = {}
        """How the commits of a run are tried again, by run id."""
        self.pool = Pool("tau-io", 4, partial(start_thread, location=store.location))
        """The threads in which event loops read from the store and encode what is large."""
        self._later: list[tuple[float, Ticket, Exception]] = []
        self._news: deque[Callable[[], object]] = deque()

    def commit(self, batch: Batch) -> Result:
        """Commit, in the caller's thread: the new position, or why not."""
        patience = self.patience.get(batch.run_id)
        began, tries = 0.0 if patience is None else patience.now(), 0
        result = self._commit(batch)
        if patience is None or type(result) is int:
            return result
        while isinstance(result, StoreError) and (pause := patience.pause(result, began, tries)) is not None:
            if tries == 0:
                patience.tell(result)
            tries += 1
            patience.wait(pause)
            # Perhaps the commit was applied, and only its reply was lost.
            found = self._confirm(batch, result)
            result = self._commit(batch) if found is result else found
        return result

    def _commit(self, batch: Batch) -> Result:
        if not self._queue and not self.guard.is_taken:
            try:
                return self.guard.enter(self._alone, batch)
            except ReentryError as inside:
                return inside
        if self.guard.is_inside():
            return self.guard.refusal()
        # A commit is under way: what comes meanwhile joins the queue, so that the next one is for many.
        ticket = Ticket(batch, thread=threading.get_ident())
        self._queue.append(ticket)
        try:
            self.guard.enter(self._until_done, ticket)
        except BaseException:
            with suppress(ValueError):
                self._queue.remove(ticket)
            raise
        assert ticket.result is not None
        return ticket.result

    def _until_done(self, ticket: Ticket) -> None:
        while ticket.result is None:
            self._flush(mine=True)

    def submit(self, ticket: Ticket) -> Ticket:
        """Commit in the committer's own thread."""
        patience = self.patience.get(ticket.batch.run_id)
        if patience is not None:
            ticket.began = patience.now()
        self._put(self._queue, ticket)
        return ticket

    def soon(self, work: Callable[[], object]) -> None:
        """Call it in the committer's own thread, once that has done what it is at."""
        self._put(self._news, work)

    def _put(self, queue: deque[Any], what: Any) -> None:
        thread = self._thread
        if thread is None or not thread.is_alive():
            self._start()
        queue.append(what)
        if not self._wake.is_set():
            self._wake.set()
        if self._thread is None:  # it left at this moment
            try:
                self._start()
            except BaseException:
                with suppress(ValueError):
                    queue.remove(what)
                raise

    def _start(self) -> None:
        if self._is_served():
            return
        with self._starting:
            if not self._is_served():
                self._thread = DaemonThread(self._serve, "tau-commit")
                start_thread(self._thread, self.store.location)

    def _is_served(self) -> bool:
        thread = self._thread  # it may leave at any moment
        return thread is not None and thread.is_alive()

    def _serve(self) -> None:
        going = True
        while going:
            try:
                going = self._turn()
            except BaseException:  # whatever it is, all that wait for this thread are answered, and it goes on
                self._wake.set()
                with suppress(BaseException):
                    _log.exception("the thread that commits to %s goes on after an error", self.store.location)

    def _turn(self) -> bool:
        """Do what there is to do, or wait for it; return whether the thread is still needed."""
        due = min((due for due, *_ in self._later), default=None)
        if not self._wake.wait(_IDLE if due is None else due - time.monotonic()) and due is None and self._leave():
            return False
        self._try_again()
        self.guard.enter(Committer._flush_all, self)
        while self._answered:  # without the lock: they may commit something in turn
            ticket = self._answered[0]
            answer, ticket.answer = ticket.answer, None
            try:
                if answer is not None and ticket.result is not None:
                    answer(ticket.result)
            finally:
                wake((ticket,))
            self._answered.popleft()
        while self._news:
            self._news.popleft()()
        return True

    def _leave(self) -> bool:
        """End the thread, unless there is something to do after all."""
        self._thread = None  # first, so that whatever is queued after this starts another thread
        if not (self._queue or self._unsettled or self._answered or self._later or self._news):
            return True
        with self._starting:
            if self._thread is not None:  # another has been started for it
                return True
            self._thread = threading.current_thread()
            return False

    def _flush_all(self) -> None:
        while self._queue or self._unsettled:
            self._flush()

    def _try_again(self) -> None:
        """Queue the tickets that have waited long enough for the store, except those that turn out to be committed."""
        now = time.monotonic()
        for entry in [entry for entry in self._later if entry[0] <= now]:
            _, ticket, error = entry
            found: Result = error
            with suppress(BaseException):
                found = self._confirm(ticket.batch, error)
            if found is error:
                self._queue.append(ticket)
            else:
                self._settle([ticket], [found])
            self._later.remove(entry)

    def _waits(self, ticket: Ticket, error: StoreError) -> bool:
        """Whether a ticket of the committer's own thread is to be tried again later."""
        patience = self.patience.get(ticket.batch.run_id)
        pause = patience.pause(error, ticket.began, ticket.tries) if patience is not None else None
        if patience is None or pause is None or ticket.thread:
            return False
        if ticket.tries == 0:
            self._news.append(partial(patience.tell, error))
        ticket.tries += 1
        self._later.append((time.monotonic() + pause, ticket, error))
        self._wake.set()
        return True

    def after_fork(self, in_child: bool, kept_out: bool) -> None:
        if in_child:  # the thread that served the queue, and the one that held the lock, do not exist there
            self.stale = True

    def _flush(self, mine: bool = False) -> None:
        """Commit what is queued. No ticket is lost, whatever is raised: a ticket without a result is queued again, and
        a result that has not been delivered is delivered by the next call.

        ``mine``: this thread commits a batch of its own. Then only the store's own errors are results of the other
        tickets too; anything else is raised here.
        """
        if self._unsettled is None:
            tickets: list[Ticket] = []
            try:
                while self._queue:
                    tickets.append(self._queue[0])  # first: a ticket that is in both is still committed only once
                    self._queue.popleft()
                self._unsettled = self._committed(tickets, mine)
            except BaseException:
                self._queue.extendleft(reversed(tickets))
                raise
        tickets, results, error = self._unsettled
        self._settle(tickets, results)
        self._unsettled = None
        if error is not None:
            raise error

    def _committed(self, tickets: list[Ticket], mine: bool) -> Unsettled:
        results: Sequence[Result]
        interrupt: BaseException | None = None
        try:
            if self.stale:
                raise forks.refusal(tickets[0].batch.run_id, "commit")
            results = self.store.commit([ticket.batch for ticket in tickets])
            if len(results) != len(tickets):
                error = f"{self.store!r} gave {len(results)} results; a store gives one for each batch ({len(tickets)})"
                results = [StoreError(error, location=self.store.location)] * len(tickets)
        except TauError as error:
            results = [error] * len(tickets)
        except BaseException as error:
            if mine:
                raise
            if isinstance(error, Exception):
                results = [error] * len(tickets)
            else:
                interrupt, results = error, [_broken_off(error)] * len(tickets)
        confirmed: list[Result] = []
        logs = self._logs_of_refused(tickets, results)
        for ticket, result in zip(tickets, results, strict=True):
            batch = ticket.batch
            try:
                known = logs.get(batch.run_id) if isinstance(result, PositionConflict) else None
                confirmed.append(self._confirm(batch, result, known) if isinstance(result, Exception) else result)
            except BaseException as error:
                if mine:
                    raise
                interrupt = error
                confirmed.append(_broken_off(error))
        return tickets, confirmed, interrupt

    def _logs_of_refused(self, tickets: list[Ticket], results: Sequence[Result]) -> Mapping[str, Rows]:
        """What was written to those runs that were not where several batches expected them, read at once."""
        refused = [ticket.batch for ticket, one in zip(tickets, results, strict=True) if type(one) is PositionConflict]
        after = {batch.run_id: batch.expected for batch in refused}
        if 1 < len(after) == len(refused):
            with suppress(TauError):  # then each is read alone, and tells
                return self.store.logs(after)
        return {}

    def _settle(self, tickets: list[Ticket], results: Sequence[Result]) -> None:
        over = []
        for ticket, result in zip(tickets, results, strict=True):
            if isinstance(result, StoreError) and self._waits(ticket, result):
                continue
            ticket.result = result
            if ticket.answer is None:
                over.append(ticket)
            else:
                self._answered.append(ticket)
                self._wake.set()
        wake(over)

    def _confirm(self, batch: Batch, error: Exception, known: Rows | None = None) -> Result:
        """Resolve a refusal that may be a lost reply: if the log holds our exact bytes, the commit was applied.
        ``known`` is what the log was read to hold since."""
        if not isinstance(error, StoreError | PositionConflict):
            return error
        try:
            rows = self.store.read(batch.run_id, batch.expected) if known is None else known
        except TauError as unread:
            return unread if isinstance(unread, StoreError) and _says_more(unread, error) else error
        stored, mine = [record for _, record in rows], list(batch.records)
        if stored[: len(mine)] == mine:
            return batch.expected + len(mine)
        if isinstance(error, PositionConflict) and stored and stored == mine[: len(stored)]:
            # An earlier commit of these was applied but never answered; what was added since may follow.
            past, left = batch.records[: len(stored)], batch.records[len(stored) :]
            rest = replace(batch, expected=batch.expected + len(past), records=left, before=past[-1])
            return self._alone(rest)
        return error

    def _alone(self, batch: Batch) -> Result:
        try:
            if self.stale:  # a signal handler forked, and this is the child
                raise forks.refusal(batch.run_id, "commit")
            result = self.store.commit([batch])[0]
        except TauError as error:
            result = error
        return result if isinstance(result, int) else self._confirm(batch, result)


def committer_of(store: Store) -> Committer:
    """The committer of ``store``, made where there is none in this process: one for all threads that ask at once."""
    with _making:
        found = store._committer
        if found is None or found.stale:
            found = store._committer = Committer(store)
        return found


@forks.in_child
def _renew_lock() -> None:
    global _making  # noqa: PLW0603 - the thread that held it does not exist in the child
    _making = threading.RLock()


def _says_more(unread: StoreError, error: StoreError | PositionConflict) -> bool:
    """Whether the error of reading back says more than the error of the commit itself."""
    return isinstance(error, PositionConflict) or (_may_pass(error) and not _may_pass(unread))


def _may_pass(error: StoreError) -> bool:
    return isinstance(error, StoreUnavailableError) and error.transient


def _broken_off(error: BaseException) -> StoreError:
    return StoreError(f"the commit was broken off by {type(error).__name__}; resume the run to see what was saved")
