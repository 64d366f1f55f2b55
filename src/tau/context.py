"""`Context`: what a node can know and use besides the state."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from tau.effects import RunNode
from tau.errors import TauError

_EMPTY: Mapping[str, Any] = MappingProxyType({})


class Surroundings:
    """What all visits of one run share."""

    __slots__ = ("deadline", "effect", "flush", "resources", "run_id", "should_stop", "store")

    def __init__(
        self,
        run_id: str,
        *,
        resources: Mapping[str, Any] | None,
        should_stop: Callable[[], str],
        deadline: float | None,
        store: Any,
        flush: Callable[[], None] | None,
    ) -> None:
        self.run_id = run_id
        self.resources = MappingProxyType(dict(resources)) if resources else _EMPTY
        self.should_stop = should_stop
        self.deadline = deadline
        self.store = store
        self.flush = flush
        self.effect: RunNode | None = None


class Context:
    """One visit of one node, for the node itself.

    ``run_id``, ``node``, ``visit`` (from 1) and ``attempt`` (from 1, counting crashed ones) say which; ``resources``
    are the clients and connections handed to ``execute``, which are no part of the state; ``deadline`` is the UTC time
    at which ``max_runtime`` ends, ``None`` without one.
    """

    __slots__ = ("_surroundings", "attempt", "node", "visit")

    def __init__(self, surroundings: Surroundings, effect: RunNode) -> None:
        self._surroundings = surroundings
        self.node: str = effect.node.name
        self.visit: int = effect.visit
        self.attempt: int = effect.attempt

    @property
    def run_id(self) -> str:
        return self._surroundings.run_id

    @property
    def key(self) -> str:
        """An idempotency key for outside effects: the same for every attempt of this visit, and for no other visit."""
        name = f"{len(self.run_id)}:{self.run_id}{len(self.node)}:{self.node}{self.visit}"
        return hashlib.sha256(name.encode()).hexdigest()[:32]

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger under ``tau.nodes`` whose records carry ``run_id``, ``node``, ``visit`` and ``attempt``."""
        where = {"run_id": self.run_id, "node": self.node, "visit": self.visit, "attempt": self.attempt}
        return logging.LoggerAdapter(logging.getLogger("tau.nodes"), where)

    @property
    def should_stop(self) -> bool:
        """Whether the run was asked to stop; a long node that raises `RunInterruptedError` then is run again later."""
        return bool(self._surroundings.should_stop())

    @property
    def deadline(self) -> datetime | None:
        end = self._surroundings.deadline
        return None if end is None else datetime.fromtimestamp(end, UTC)

    @property
    def resources(self) -> Mapping[str, Any]:
        return self._surroundings.resources

    def __repr__(self) -> str:
        return f"Context(run_id={self.run_id!r}, node={self.node!r}, visit={self.visit}, attempt={self.attempt})"


surroundings: ContextVar[Surroundings | None] = ContextVar("tau_surroundings", default=None)


def current() -> Context:
    """The context of the node that is running here. Raises `TauError` outside of one."""
    around = surroundings.get()
    if around is None or around.effect is None:
        raise TauError("tau.current() is for code that a node runs; no node is running here")
    return Context(around, around.effect)
