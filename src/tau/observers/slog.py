"""Structured logging: one JSON object per line, through the standard `logging` module.

Each event becomes one record at INFO on the logger ``tau.events``; its message is the whole JSON line, so that a plain
``FileHandler`` with the format ``%(message)s`` writes JSON lines, and ``record.event`` is the event. The record
propagates like any other.

Two things differ from a bare ``logger.info``, because a program that chooses this observer wants to see the events:

- A root logger at WARNING, Python's default, does not hide them. Any level set on ``tau.events`` or ``tau``,
  a root logger at another level, ``logging.disable`` and the levels of handlers are obeyed.
- If no handler is installed at all, the line goes to ``sys.stderr``, as `logging.lastResort` does for warnings;
  ``logging.lastResort = None`` switches both off.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

from tau.events import Event, to_json

_log = logging.getLogger("tau.events")


class _Stderr(logging.Handler):
    """Writes to whatever ``sys.stderr`` is at the moment of writing."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if sys.stderr is not None:
                sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


_stderr = _Stderr(logging.INFO)


def slog(event: Event) -> None:
    """Log the event as one line of JSON: ``time level msg type source timestamp data``. Thread-safe.

    Raises only what a logging handler of yours raises.

    >>> from tau import StateGraph
    >>> from tau.observers import slog
    >>> graph = StateGraph("logged", observer=slog)  # or observer="slog"
    """
    if not _enabled():
        return
    record = _log.makeRecord(_log.name, logging.INFO, "(tau)", 0, "", (), None, extra={"event": event})
    record.msg = _line(event, record.created)
    if _log.hasHandlers():
        _log.handle(record)
    elif logging.lastResort is not None and _log.filter(record):
        _stderr.handle(record)


def _enabled() -> bool:
    if _log.disabled or _log.manager.disable >= logging.INFO:
        return False
    logger: logging.Logger | None = _log
    while logger is not None:
        if logger.level:
            untouched = logger is logging.root and logger.level == logging.WARNING
            return untouched or logger.level <= logging.INFO
        logger = logger.parent
    return True


def _line(event: Event, created: float) -> str:
    return to_json(
        {
            "time": datetime.fromtimestamp(created, UTC),
            "level": "INFO",
            "msg": "Event",
            "type": event.type,
            "source": event.source,
            "timestamp": event.timestamp,
            "data": event.data,
        }
    )
