"""The sessions of one Redis store, and what is asked before each is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from tau.errors import TauError, UnsupportedFormatError
from tau.stores.redis.connection import LostError, Session, check_promises, connect
from tau.stores.redis.failures import failure, lost
from tau.stores.redis.place import Place
from tau.stores.redis.protocol import Command, NoRedisError, ServerError
from tau.stores.redis.scripts import FORMAT, FORMAT_KEY, Script
from tau.stores.sessions import Sessions

T = TypeVar("T")
Terms = list[bytes | str | int | float]
Given = Sequence[bytes | str | int | float]

_ASK_FORMAT: Final = ("GET", FORMAT_KEY)


class Connections(Sessions[Session]):
    """``strict``: a server that may lose what it acknowledged is not written to."""

    def __init__(self, place: Place, *, silence: float, most: int, strict: bool) -> None:
        super().__init__(place.location, silence=silence, most=most)
        self._place = place
        self._strict = strict

    def connect(self) -> Session:
        try:
            return connect(self._place, self.silence)
        except (LostError, NoRedisError, ServerError) as error:
            raise self._told(error, "open") from error

    def failure(self, error: Exception, doing: str) -> Exception | None:
        return self._told(error, doing) if isinstance(error, LostError | NoRedisError | ServerError) else None

    def _told(self, error: Exception, doing: str) -> TauError:
        if isinstance(error, ServerError):
            return failure(error, self.location, doing, self._place.hide)
        return lost(error, self.location, doing)

    def write(self, doing: str, work: Callable[[Session], T]) -> T:
        """Do ``work``, of which each script is a transaction. Raises `ReentryError`."""
        return self.in_turn_to_write(doing, partial(self._ready, work))

    def read(self, *commands: Command) -> list[Any] | None:
        """The answers to those, which only read; ``None`` where there is no store yet."""
        return self.in_turn_to_read(partial(self.look, commands))

    def read_each(self, *commands: Command) -> list[Any] | None:
        """`read`, with ``None`` for the answer of a key that is of another type."""
        return self.in_turn_to_read(partial(self.look, commands, each=True))

    def look(self, commands: Sequence[Command], session: Session, *, each: bool = False) -> list[Any] | None:
        """`read`, or `read_each`, in the middle of something."""
        form, *found = session.ask(_ASK_FORMAT, *commands)
        if each:
            found = [None if isinstance(one, ServerError) and one.code == "WRONGTYPE" else one for one in found]
        for answer in (form, *found):
            if isinstance(answer, ServerError):
                raise answer
        return found if self._is_there(form) else None

    def run(self, session: Session, script: Script, keys: Sequence[bytes], terms: Given, *, begin: bool = False) -> Any:
        """What a script returns; ``None`` where there is no store, and it does not ``begin`` one."""
        begin = begin and not self.seen
        found = session.run(script, [FORMAT_KEY, *keys], [str(FORMAT), "begin" if begin else "", *terms])
        if isinstance(found, list) and found[:1] == [b"format"]:
            self._is_there(found[1])
            return None
        self.seen = True
        return found

    def _is_there(self, form: Any) -> bool:
        if form is None:
            if self.seen:
                raise self.gone("the runs")
            return False
        if form != str(FORMAT).encode():
            said = form.decode("utf-8", "replace") if isinstance(form, bytes) else form
            raise UnsupportedFormatError(
                f"cannot use {self.location}: its runs have format {said!r:.40}, this version of tau knows {FORMAT}; "
                "use the version of tau that wrote them, or another database",
                found=said,
                supported=FORMAT,
            )
        self.seen = True
        return True

    def _ready(self, work: Callable[[Session], T], session: Session) -> T:
        if not session.is_checked and self._strict:
            check_promises(session, self.location)
        return work(session)
