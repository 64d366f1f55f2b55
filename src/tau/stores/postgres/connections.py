"""The sessions of one PostgreSQL store, and what each must have before it is used."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import psycopg

from tau.stores.postgres.connection import (
    Session,
    check_promises,
    complete_tables,
    connect,
    create_tables,
    has_tables,
    renew_tables,
)
from tau.stores.postgres.failures import failure
from tau.stores.postgres.place import Place
from tau.stores.postgres.statements import FORMAT
from tau.stores.sessions import Sessions

T = TypeVar("T")
Work = Callable[[Session], T]


class Connections(Sessions[Session]):
    """``strict``: a server that may lose what it acknowledged is not written to."""

    def __init__(self, place: Place, *, silence: float, most: int, strict: bool) -> None:
        super().__init__(place.location, silence=silence, most=most)
        self._place = place
        self._strict = strict
        self._complete = False

    def connect(self) -> Session:
        return connect(self._place, self.silence)

    def failure(self, error: Exception, doing: str) -> Exception | None:
        if not isinstance(error, psycopg.Error):
            return None
        return failure(error, self.location, doing, self._place.hide)

    def write(self, doing: str, work: Work[T]) -> T:
        """Do ``work``, of which each statement is a transaction. Raises `ReentryError`."""
        return self.in_turn_to_write(doing, partial(self._ready, work))

    def read(self, work: Work[T], nothing: T) -> T:
        """Do ``work``, which only reads; ``nothing`` where there are no tables yet."""
        return self.in_turn_to_read(partial(self._look, work, nothing))

    def _look(self, work: Work[T], nothing: T, session: Session) -> T:
        if not session.has_tables:
            session.has_tables = has_tables(session, self.location)
            if not session.has_tables:
                if self.seen:
                    raise self.gone("the tables")
                return nothing
        self.seen = True
        return work(session)

    def _ready(self, work: Work[T], session: Session) -> T:
        if not session.is_checked and self._strict:
            check_promises(session, self.location)
        if not session.has_tables:
            if self.seen and not has_tables(session, self.location):
                raise self.gone("the tables")
            create_tables(session, self.location)
            self._complete = True
        if session.format < FORMAT:
            renew_tables(session, self.location)
        elif not self._complete:
            complete_tables(session)
        self._complete = True
        self.seen = True
        return work(session)
