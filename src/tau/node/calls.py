"""How a sync node's function is called when it has a timeout."""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Callable
from typing import Any, Final

from tau.errors import NodeTimeoutError
from tau.graph.graph import Node
from tau.node.current import RunNode, left_behind, run_scope
from tau.node.left_calls import Call, Key
from tau.waiting import DaemonThread

NEVER_LATE: Final = frozenset({dict, type(None), bool, int, float, str, bytes, list, tuple, set})
"""What nobody awaits, told without asking: what most functions return."""


def is_late(result: Any) -> bool:
    """Whether a function that is not async gave what has yet to be awaited, as a wrapper of an async one does."""
    return type(result) not in NEVER_LATE and inspect.isawaitable(result)


def call_in_thread(effect: RunNode, key: Key, function: Callable[[], Any]) -> Any:
    """Call in a thread that is left to itself after the timeout; what it returns then goes nowhere."""
    node, call = effect.node, Call(function)

    def work() -> None:
        left_behind.set((run_scope.get(), effect))
        call()

    thread = DaemonThread(contextvars.copy_context().run, f"tau-node-{node.name}", (work,))
    try:
        thread.start()
        if not call.over.wait(node.timeout):
            raise timed_out(node)
    except BaseException:
        call.leave(key)
        raise
    return call.result()


def timed_out(node: Node) -> NodeTimeoutError:
    seconds = node.timeout or 0.0
    said = f"node {node.name!r} did not finish within its timeout of {seconds:g} s"
    error = NodeTimeoutError(said, node=node.name, seconds=seconds)
    if node.retry is not None and node.retry.matches(error) and not (node.is_async or node.idempotent):
        error.args = (f"{said}; it is not tried again, as it may still be running: idempotent=True allows that",)
    return error
