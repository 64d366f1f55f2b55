"""Events: what happened, as observers are told.

An event is metadata for people and dashboards: names, numbers and times, never the application's data. An observer is
any callable that takes one `Event`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from tau.errors import leaves
from tau.late_imports import load_module

GRAPH_START = "graph.start"
GRAPH_COMPLETE = "graph.complete"
GRAPH_FAILED = "graph.failed"
GRAPH_INTERRUPTED = "graph.interrupted"
GRAPH_WAITING = "graph.waiting"
GRAPH_CANCELLED = "graph.cancelled"
GRAPH_CHANGED = "graph.changed"
PROVENANCE_CHANGED = "provenance.changed"
NODE_START = "node.start"
NODE_COMPLETE = "node.complete"
NODE_PROGRESS = "node.progress"
NODE_RETRY = "node.retry"
EDGE_EVALUATE = "edge.evaluate"
EDGE_TRANSITION = "edge.transition"
CYCLE_DETECTED = "cycle.detected"
CHECKPOINT_SAVE = "checkpoint.save"
CHECKPOINT_LOAD = "checkpoint.load"
CHECKPOINT_RESUME = "checkpoint.resume"
CHECKPOINT_RETRY = "checkpoint.retry"
CHECKPOINT_KEPT = "checkpoint.kept"
CHAIN_START = "chain.start"
CHAIN_COMPLETE = "chain.complete"
STEP_START = "step.start"
STEP_COMPLETE = "step.complete"
CALL_START = "call.start"
CALL_COMPLETE = "call.complete"
CALL_CHANGED = "call.changed"
CALL_RETRY = "call.retry"
PARALLEL_START = "parallel.start"
PARALLEL_COMPLETE = "parallel.complete"
WORKER_START = "worker.start"
WORKER_COMPLETE = "worker.complete"
ROUTE_EVALUATE = "route.evaluate"
ROUTE_SELECT = "route.select"
ROUTE_EXECUTE = "route.execute"

EVENT_TYPES = frozenset(value for name, value in list(globals().items()) if name.isupper() and isinstance(value, str))
"""Every event type of the library."""

TERMINAL_TYPES = frozenset({GRAPH_COMPLETE, GRAPH_FAILED, GRAPH_INTERRUPTED, GRAPH_WAITING, GRAPH_CANCELLED})
"""The terminal types. Every attempt to run a graph emits exactly one event of these, as its last; only
``checkpoint.kept`` may follow, when the run is finished and its checkpoints could not be deleted."""


class Event(Struct, frozen=True):
    """Something that happened.

    ``type`` is one of the names in this module (or a user's own), ``source`` is the name of the graph it comes from,
    ``timestamp`` is an aware UTC datetime, ``data`` holds the details; treat it as read-only. Making one raises
    nothing: its fields are not checked.

    >>> from datetime import UTC, datetime
    >>> from tau import Event
    >>> event = Event("loss", "climate", datetime(2024, 1, 1, tzinfo=UTC), {"value": 0.3})
    >>> event.type, event.data["value"]
    ('loss', 0.3)
    """

    type: str
    source: str
    timestamp: datetime
    data: Mapping[str, Any]

    def to_json(self) -> str:
        """This event as one line of JSON: ``type source timestamp data``. Never raises for odd values.

        >>> event.to_json()
        '{"type":"loss","source":"climate","timestamp":"2024-01-01T00:00:00Z","data":{"value":0.3}}'
        """
        return to_json({"type": self.type, "source": self.source, "timestamp": self.timestamp, "data": self.data})


Observer = Callable[[Event], Any]
"""Any callable taking one `Event`; what it returns is ignored, what it raises is logged and dropped."""


def to_json(value: Any) -> str:
    """``value`` as one line of JSON, whatever it holds.

    NaN and infinities become ``null``; what JSON does not know (objects, cycles, other keys than text) becomes text.
    """
    try:
        return _encoder.encode(value).decode()
    except Exception:
        load_module("json")
        import json

        # Integers above 64 bits, lone surrogates, tuples as keys and cycles are beyond msgspec.
        return json.dumps(_plain(value, 0))


def frames_of(error: BaseException) -> tuple[list[tuple[str, int, str]], bool]:
    """File, line and function of where it was raised, the innermost last: of what was raised in another process the
    places there. And whether what it was raised from is only what told of these."""
    there = getattr(error.__cause__, "frames_there", ())
    if there:
        return list(there), bool(getattr(error.__cause__, "is_all", False))
    found = traceback.extract_tb(error.__traceback__)
    return [(text_of(frame.filename), frame.lineno or 0, frame.name) for frame in found], False


def text_of(value: Any) -> str:
    """``str(value)`` in characters that can be stored, whatever it is; of a group of errors with those in it."""
    return _text(value).encode("utf-8", "backslashreplace").decode()


def _text(value: Any) -> str:
    try:
        return str(value) if not isinstance(value, BaseExceptionGroup) else f"{value}: {_inside(value)}"
    except Exception as error:
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _inside(group: BaseExceptionGroup[Any]) -> str:
    found = leaves(group)
    texts = [f"{type(one).__name__}: {_text(one)}"[:_MAX_TEXT] for one in found[:_MAX_SHOWN]]
    return "; ".join(texts) + ("; ..." if len(found) > _MAX_SHOWN else "")


def _known(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else _text(value)


_encoder = msgspec.json.Encoder(enc_hook=_known)
_MAX_DEPTH = 50
_MAX_SHOWN = 8
_MAX_TEXT = 400


def _plain(value: Any, depth: int) -> Any:  # noqa: PLR0911
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 1 << 64 else hex(value)  # str() of a huge int is refused by Python
    if isinstance(value, float):
        return float(value) if abs(value) < float("inf") else None
    if isinstance(value, datetime):
        return value.isoformat()
    if depth < _MAX_DEPTH:
        if isinstance(value, Mapping):
            return {key if isinstance(key, str) else _text(key): _plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [_plain(item, depth + 1) for item in value]
        return _text(value)
    return "..."
