"""What a node tells while it is at work: events of its own, how far it is, lines in the log."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from tau.late_imports import load_module
from tau.node.current import RunNode, RunScope


class _Log(logging.LoggerAdapter[logging.Logger]):
    """Adds its fields to the ``extra`` of each call, whose own fields win."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


class Telling:
    """One visit of one node, as observers and the log hear of it."""

    __slots__ = ("_effect", "_scope")

    _effect: RunNode
    _scope: RunScope

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger under ``tau.nodes`` whose records carry ``run_id``, ``node``, ``visit`` and ``attempt``, and the
        ``extra`` of a call. Raises nothing."""
        effect = self._effect
        where = {
            "run_id": self._scope.run_id,
            "node": effect.node.name,
            "visit": effect.visit,
            "attempt": effect.attempt,
        }
        return _Log(logging.getLogger("tau.nodes"), where)

    def emit(self, name: str, /, **data: Any) -> None:
        """Tell the observers of the run, and ``astream``, an event of the node's own: ``ctx.emit("loss", value=0.3)``.

        Its type is ``name``, its data what is given here and ``run_id``, ``node``, ``visit`` and ``attempt``. The first
        word of the name, up to a dot, must be none of tau's (``graph``, ``node``, ``step`` ...). The data must be
        plain: text, numbers, ``True``, ``False``, ``None``, lists and dicts of these. A value whose name suggests a
        secret is replaced. From any thread or task of the node. Nothing is stored: a resume does not tell it again.

        In one attempt, at most 10,000 events with data of at most 16,384 characters each are told; others are dropped,
        and the log says so once. Without an observer this does nothing. Raises `ConfigError` for a name or data that
        cannot be told, and `TauError` once the node has ended, and in a worker process.
        """
        load_module("tau.node.own_events")
        from tau.node.own_events import checked_event  # only loaded where a node tells something

        events = self._scope.events_of(self._effect)
        checked = checked_event(name, data)
        if events is not None:
            events.emit(checked, data)

    def progress(self, done: float, total: float | None = None) -> None:
        """Tell how far the node is: so many ``done`` of ``total``, of whatever it works through by itself.

        The command shows it, with the time that is left. Observers get ``node.progress`` with ``done`` and ``total``
        whenever it has grown by a thousandth of the total (without a total, by a hundredth), so that it may be called
        for every item. The items of `map` and of chains are counted without it. Bounds, threads and what it raises are
        those of `emit`; `ConfigError` for what are no numbers from 0.
        """
        load_module("tau.node.own_events")
        from tau.node.own_events import checked_progress  # only loaded where a node tells something

        events = self._scope.events_of(self._effect)
        checked = checked_progress(done, total)
        if events is not None:
            events.progress(*checked)
