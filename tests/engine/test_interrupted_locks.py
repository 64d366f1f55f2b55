"""An interrupt anywhere leaves no lock taken: nobody waits for ever after it, in this thread or in another one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread

from lock_takers import AtTakers, Interrupted, interrupt
from tau.log.committer import Committer, Result
from tau.stores.memory import MemoryStore
from tau.testing.store_contract.batches import batch

SECONDS = 30.0


def in_time(call: Callable[[], object]) -> None:
    """Call in a thread, which must come back."""
    thread = Thread(target=call, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert not thread.is_alive(), "it waits for ever"


def test_the_thread_that_commits_is_woken_after_an_interrupt_of_waking_it() -> None:
    committer, told = Committer(MemoryStore()), SimpleQueue[Result]()
    committer.submit(batch("first", 0), told.put)
    assert told.get(timeout=SECONDS) == 1

    def interrupted() -> None:
        with AtTakers(interrupt), suppress(Interrupted):
            committer.submit(batch("r", 0), told.put)

    in_time(interrupted)
    in_time(lambda: committer.submit(batch("s", 0), told.put))
    assert [told.get(timeout=SECONDS) for _ in range(2)] == [1, 1]
