"""The last batch of a run that nobody waits for."""

from __future__ import annotations

from contextlib import suppress

from tau.errors import TauError
from tau.log.journal import Journal
from tau.log.tickets import Result, Ticket
from tau.stores.contract import Batch


def abandoned(journal: Journal, batch: Batch, result: Result) -> None:
    """The last batch of a run is stored, or not; it is let go."""
    with suppress(TauError):
        if journal.goes_behind(result) and (again := journal.held()) is not None:
            journal.store.committer.submit(Ticket(again, lambda result: abandoned(journal, again, result)))
            return
    with suppress(TauError):
        journal.settle(batch, result)
    with suppress(TauError):
        journal.release()
