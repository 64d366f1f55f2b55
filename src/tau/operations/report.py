"""What became of the runs that a worker took."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Literal

from msgspec import Struct

from tau.errors import (
    CheckpointNotFoundError,
    ExecutionError,
    LeaseLostError,
    RunCancelledError,
    RunInterruptedError,
    RunOwnedError,
    RunWaitingError,
    StoreError,
    TauError,
)
from tau.events import text_of

_log = logging.getLogger("tau")

ELSEWHERE: Final = (RunOwnedError, LeaseLostError, CheckpointNotFoundError)
"""Another process was faster, took the run over or deleted it."""

TOLD: Final = {"told": "run.ended"}
"""Marks the log's lines of what ``tell`` is told as well."""

Word = Literal["finished", "failed", "waiting", "interrupted", "cancelled", "left", "waits", "store", "died", ""]
"""What became of a run: the first five are counted in a `WorkerReport`. ``left``: this code may not resume it;
``waits``: it waits for people after all; ``store``: its store failed; ``died``: its process did. Empty where it is
another process's, or was never begun."""

Tell = Callable[[str, str, str], object]
"""Is told what became of a run: the run id, a word, and why."""


class WorkerReport(Struct, frozen=True):
    """What became of the runs that a worker took: how many ``finished``, ``failed``, wait for people (``waiting``),
    were ``interrupted`` as the worker ended or by what a node raised (``SystemExit``), or were ``cancelled`` meanwhile.
    ``left`` are those that its code may not resume, by run id, with the reason. ``deaths`` is how many of its own child
    processes died. ``later``: with ``once``, how many runs were left because they were admitted with a ``not_before``
    that is yet to come. ``removed``: with ``gc``, how many runs that had ended were removed.

    Making one raises nothing.

    >>> from tau import StateGraph, worker
    >>> graph = StateGraph("one", store="sqlite:///tau.db")
    >>> graph.add_node("work", lambda state: {"n": 1})
    >>> graph.sequence("work")
    >>> _ = graph.admit({})
    >>> report = worker(graph, once=True)
    >>> report.finished, report.failed, report.left
    (1, 0, {})
    """

    finished: int = 0
    failed: int = 0
    waiting: int = 0
    interrupted: int = 0
    cancelled: int = 0
    left: dict[str, str] = {}
    deaths: int = 0
    later: int = 0
    removed: int = 0


def word_for(error: BaseException | None, acted: bool) -> Word:
    """What became of a run that ended like this; ``acted``: anything was stored for it here."""
    word: Word = "left"
    if isinstance(error, ELSEWHERE):
        word = ""
    elif error is None:
        word = "finished" if acted else ""
    elif isinstance(error, RunCancelledError):
        word = "cancelled" if acted else ""
    elif isinstance(error, RunWaitingError):
        word = "waiting" if acted else "waits"
    elif isinstance(error, RunInterruptedError) or not isinstance(error, Exception):
        word = "interrupted"
    elif isinstance(error, StoreError):
        word = "store"
    elif isinstance(error, ExecutionError) or (acted and isinstance(error, TauError)):
        word = "failed"
    return word


def why_of(error: BaseException | None) -> str:
    """What people are told of it."""
    if error is None:
        return ""
    text, kind = text_of(error), type(error).__name__
    return (text or kind) if isinstance(error, Exception) or not text else f"{kind}: {text}"


class Tally:
    """Counts, and tells."""

    def __init__(self, tell: Tell | None) -> None:
        self.counts: dict[Word, int] = {}
        self.left: dict[str, str] = {}
        self.deaths = 0
        self.later = 0
        self.removed = 0
        self._tell = tell

    def note(self, run_id: str, word: Word, error: BaseException | str | None = None) -> None:
        """Say what became of a run."""
        why = error if isinstance(error, str) else why_of(error)
        if word == "left":
            self.left[run_id] = why
            _log.warning("run %r is left alone, as this worker may not resume it: %s", run_id, why, extra=TOLD)
        elif word == "store":
            _log.warning("run %r is let go, as its store failed: %s", run_id, why, extra=TOLD)
        elif word == "died":
            self.deaths += 1
            _log.warning("run %r: %s", run_id, why, extra=TOLD)
        else:
            self.counts[word] = self.counts.get(word, 0) + 1
            _log.info("run %r: %s %s", run_id, word, why)
        if self._tell is not None:
            self._tell(run_id, word, why)

    def report(self) -> WorkerReport:
        """What has become of all."""
        return WorkerReport(
            **self.counts, left=dict(self.left), deaths=self.deaths, later=self.later, removed=self.removed
        )
