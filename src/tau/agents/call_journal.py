"""Where a call of an agent meets the run: the recorded answer, or ask and record.

Inside a run a call is an item of the innermost scope (step, item, branch, graph inside a node) under the digest of
what is asked and a number among equal calls, which are interchangeable; see `tau.node.journaled_calls`. A committed
answer is never asked for again.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable, Mapping
from types import CodeType
from typing import Any, Final

import msgspec

from tau.agents.records import Call, Response, cost_of, response_of
from tau.errors import ReplayError, TauError
from tau.events import text_of
from tau.log.digests import SIZE
from tau.log.lease_renewal import renewer_here
from tau.node.current import run_scope
from tau.node.journaled_calls import JournaledCall
from tau.node.steps import StepRunner
from tau.redaction import without_secrets

_log = logging.getLogger("tau")
_warned: set[tuple[CodeType, int]] = set()
_NO_RUN: Final = (
    "no run is running here; a thread of the node's own sees none, unless it is given a copy of the context"
)
_MOST: Final = 1 << 63
_encode = msgspec.msgpack.Encoder().encode
_BETWEEN: Final = "the run is between two nodes, as in a route or a predicate"


def answer(call: Call, ask: Callable[[], Response]) -> Response:
    """The recorded answer of the call, or what ``ask`` answers, once it is recorded.

    Outside of a run, and where nothing is stored, ``ask`` is just called; ``journaled`` of the response tells. Raises
    what ``ask`` raises, and what storing an item raises.
    """
    items = _items_here()
    if items is None:
        return ask()
    entry = _Entry(items, call)
    return entry.opened(items.finish_sync(entry, lambda: entry.stored_of(ask()), (), {}))


async def aanswer(call: Call, ask: Callable[[], Awaitable[Response]]) -> Response:
    """`answer` for an event loop."""
    items = _items_here()
    if items is None:
        return await ask()
    entry = _Entry(items, call)

    async def asking() -> dict[str, Any]:
        return entry.stored_of(await ask())

    return entry.opened(await items.finish(entry, asking, (), {}))


def is_recorded(call: Call) -> bool:
    """Whether `answer` would find the answer of the next such call. Raises what reading the run raises."""
    items = _items_here()
    return items is not None and _Entry(items, call).is_recorded()


def missing() -> str:
    """Why a call here would not be recorded; empty where it is. Raises `TauError` where the node has ended."""
    items, why = _found_here()
    return why if items is None else "" if items.journal is not None else "the graph has no store"


def _found_here() -> tuple[StepRunner | None, str]:
    """The items of the visit that runs here, or why there are none. Raises `TauError` where the node has ended."""
    scope = run_scope.get()
    if scope is None:
        return None, _NO_RUN
    effect = scope.visit_here()
    if effect is None:
        return None, _BETWEEN
    try:
        scope.at_hand("call")
    except TauError:
        return None, "a worker process does not reach what the run keeps"
    return scope.steps_of(effect), ""


def _items_here() -> StepRunner | None:
    """The items of the visit that runs here; ``None`` where no journal is at hand, which is said once for each place
    in a program, if this process is at work on runs."""
    items, why = _found_here()
    if items is not None:
        return items
    scope = run_scope.get()
    if scope is not None and scope.replays == "error":
        raise ReplayError(
            f"run {scope.run_id!r} replays another one, and a call of an agent is not in the log of that: {why}",
            hint="replay it with missing='call' to have it asked",
            run_id=scope.run_id,
        )
    if why in (_NO_RUN, _BETWEEN) and renewer_here().is_busy:
        _warn(why)
    return None


def _warn(why: str) -> None:
    frame = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith("tau.agents"):
        frame = frame.f_back
    place = (frame.f_code, frame.f_lineno)
    if place not in _warned:
        _warned.add(place)
        _log.warning(
            "%s:%d: a call of an agent belongs to no node of a run, so that it may be paid for again: %s. In a node "
            "use ctx.map, asyncio.to_thread or contextvars.copy_context().run; journal='required' makes it an error",
            frame.f_code.co_filename, frame.f_lineno, why,
        )  # fmt: skip


class _Entry(JournaledCall):
    """One call of an agent. Its value is the answer, its body what is told of it."""

    def __init__(self, items: StepRunner, call: Call) -> None:
        super().__init__(items, call.agent, call.digest[: 2 * SIZE])
        self._call = call

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        return function()  # what is bound to it is the agent's, and not the state's

    async def call_async(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        return await function()

    def stored_of(self, response: Response) -> dict[str, Any]:
        """What is stored as the value: the answer, and the prompt where that is to be kept."""
        found: dict[str, Any] = {"answer": response.record()}
        if self._call.keep_prompt:
            found["messages"] = without_secrets("", [dict(one) for one in self._call.messages])
        return found

    def opened(self, found: Mapping[str, Any]) -> Response:
        """The response that a recorded answer, or one that was just made, stands for."""
        return response_of(found["answer"], self._call, journaled=self.items.journal is not None, replayed=self.resumed)

    def body(self, value: Mapping[str, Any]) -> dict[str, Any]:
        found = {**self._call.record(), **_counted(value["answer"], self._call.price)}
        try:
            _encode(found)
        except (UnicodeEncodeError, OverflowError):
            found = _storable(found)
        return found

    def about(self) -> dict[str, Any]:
        call = self._call
        counted = {} if (found := self.result()) is None else _counted(found["answer"], call.price)
        return {
            "agent": call.agent,
            "provider": call.provider,
            "model": call.model,
            "verb": call.verb,
            "replayed": self.resumed,
            **counted,
        }


def _storable(value: Any) -> Any:
    """The same in what a record can hold: characters, and numbers of 64 bits. Others, which a model may have made up,
    are shown as text; the call itself is known by its digest, and is made with what was asked."""
    if isinstance(value, Mapping):
        return {text_of(key): _storable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(one) for one in value]
    if isinstance(value, int) and not -_MOST <= value < _MOST:
        return hex(value)
    return text_of(value) if isinstance(value, str) else value


def _counted(answer: Mapping[str, Any], price: tuple[float, float] | None) -> dict[str, Any]:
    """What is counted of an answer; its cost where the ``price`` is known."""
    usage = answer["usage"]
    found: dict[str, Any] = {"requests": answer["requests"], "finish_reason": answer["finish_reason"]}
    if usage is None:
        return found
    if not (0 <= usage[0] < _MOST and 0 <= usage[1] < _MOST):
        usage = [max(0, min(one, _MOST - 1)) for one in usage]
    if price is not None:
        found["cost"] = cost_of(usage[0], usage[1], price)
    return {**found, "input_tokens": usage[0], "output_tokens": usage[1]}
