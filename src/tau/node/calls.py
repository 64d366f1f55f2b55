"""How a sync node's function is called when it has a timeout."""

from __future__ import annotations

import contextvars
import inspect
import threading
from collections.abc import Callable
from typing import Any

from tau.errors import NodeTimeoutError
from tau.graph.graph import Node
from tau.node.current import RunNode, left_behind, surroundings


def is_late(result: Any) -> bool:
    """Whether a function that is not async gave what has yet to be awaited, as a wrapper of an async one does."""
    return type(result) is not dict and result is not None and inspect.isawaitable(result)


def call_in_thread(effect: RunNode, call: Callable[[], Any]) -> Any:
    """Call in a thread that is left to itself after the timeout; what it returns then goes nowhere."""
    node = effect.node
    done = threading.Event()
    box: list[Any] = [None, None]

    def work() -> None:
        left_behind.set((surroundings.get(), effect))
        try:
            box[0] = call()
        except BaseException as error:
            box[1] = error
        done.set()

    threading.Thread(
        target=contextvars.copy_context().run, args=(work,), name=f"tau-node-{node.name}", daemon=True
    ).start()
    if not done.wait(node.timeout):
        raise timed_out(node)
    if box[1] is not None:
        raise box[1]
    return box[0]


def timed_out(node: Node) -> NodeTimeoutError:
    seconds = node.timeout or 0.0
    return NodeTimeoutError(
        f"node {node.name!r} did not finish within its timeout of {seconds:g} s", node=node.name, seconds=seconds
    )
