"""What wakes workers at once: a session that listens. What it misses costs a wait, as workers also ask by themselves.

Telling is a transaction of its own, after the commit, because one that tells takes a lock of the whole server as it
commits; and only of runs that may be taken, never of checkpoints.
"""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from typing import Any, Final

import psycopg

from tau.errors import StoreError
from tau.stores.contract import Batch
from tau.stores.postgres.connection import Session, connect
from tau.stores.postgres.place import Place, key_of

TELL: Final = "select pg_notify(channel, '') from unnest(%s::text[]) as channel"
_AGAIN: Final = 5.0  # seconds after which a session that was lost is begun anew


def channel_of(graph: str) -> str:
    """What a worker of that graph listens to."""
    return f"tau_{key_of(graph).hex()}"


def channels_of(batches: Sequence[Batch], results: Sequence[int | Exception]) -> list[str]:
    """Whom to tell of these commits: the workers of graphs of which a run may now be taken."""
    return sorted(
        {
            channel_of(batch.summary.graph)
            for batch, result in zip(batches, results, strict=True)
            if isinstance(result, int)
            and batch.summary.status in ("admitted", "interrupted")
            and batch.summary.not_before is not None
        }
    )


class Listening:
    """Listens for the workers of one graph, in a session of its own that no pooler shares."""

    def __init__(self, place: Place, silence: float, graph: str) -> None:
        """Raises `StoreError`."""
        self._place = place
        self._silence = silence
        self._channel = channel_of(graph)
        self._session: Session | None = None
        self._again_at = 0.0
        self._begin()

    def _begin(self) -> None:
        session = connect(self._place, self._silence)
        session.execute(f'listen "{self._channel}"')
        self._session = session

    def wait(self, seconds: float) -> bool:
        """Wait for at most so long; whether there is news, or may have been."""
        session = self._session
        if session is None:
            return self._came_back(seconds)
        ends = time.monotonic() + seconds
        try:
            while select.select([session.pgconn.socket], [], [], max(0.0, ends - time.monotonic()))[0]:
                session.pgconn.consume_input()
                if _drained(session):
                    return True
            return False
        except (psycopg.Error, OSError, ValueError):
            self.close()
            self._again_at = time.monotonic() + _AGAIN
            return True

    def _came_back(self, seconds: float) -> bool:
        if time.monotonic() < self._again_at:
            time.sleep(seconds)
            return False
        self._again_at = time.monotonic() + _AGAIN
        try:
            self._begin()
        except (StoreError, psycopg.Error, OSError):
            return False
        return True

    def close(self) -> None:
        """End the session."""
        if self._session is not None:
            self._session.leave()
            self._session = None


def _drained(session: Session) -> bool:
    found: Any = session.pgconn.notifies()
    any_news = found is not None
    while found is not None:
        found = session.pgconn.notifies()
    return any_news
