"""What the handler of a signal raises comes out of whatever code it interrupts, and is no error of that code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from inspect import CO_VARARGS
from itertools import pairwise
from types import FrameType
from typing import TypeVar

R = TypeVar("R")


def pass_on(error: BaseException) -> None:
    """Raise what the handler of a signal raised, where ``error`` is that, or was made of it by a library on its way."""
    one: BaseException | None = error
    seen = list[BaseException]()
    while one is not None and one not in seen:
        seen.append(one)
        if is_of_handler(one):
            raise one
        one = one.__cause__ or one.__context__
        if one is not None and _is_older(one):
            return


def is_of_handler(error: BaseException) -> bool:
    """Whether there is a handler in its traceback: a function that is given the frame from which it was called."""
    frames = list(_frames(error))
    return any(any(value is caller for value in _given(called)) for caller, called in pairwise(frames))


def _given(frame: FrameType) -> Iterator[object]:
    """The positional arguments of a call."""
    code, values = frame.f_code, frame.f_locals
    yield from (values.get(name) for name in code.co_varnames[: code.co_argcount])
    if code.co_flags & CO_VARARGS:
        rest = values.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount])
        yield from rest if isinstance(rest, tuple) else ()


def _frames(error: BaseException) -> Iterator[FrameType]:
    at = error.__traceback__
    while at is not None:
        yield at.tb_frame
        at = at.tb_next


def _is_older(error: BaseException) -> bool:
    """Whether it was caught by a caller that is still at work on it, which the newer error has nothing to do with."""
    catcher = next(_frames(error), None)
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame is not catcher:
        frame = frame.f_back
    return frame is not None


def insist(work: Callable[[], R]) -> R:
    """What the work returns. Where it is broken off, as by the handler of a signal, it is done once more before that is
    raised; so it must be work that may be done twice, or from its middle on."""
    try:
        return work()
    except BaseException:
        work()
        raise


class tolerate:
    """``with tolerate(OSError):`` lets such errors go unheeded, except those that the handler of a signal raises."""

    def __init__(self, *kinds: type[Exception]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        return isinstance(error, self._kinds) and not is_of_handler(error)
