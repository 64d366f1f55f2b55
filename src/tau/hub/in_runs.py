"""What a node of a run sends: a request is an item of the run, and ids come from the run, so that they are the same
whenever the node is repeated, and a receiver can drop what it has already."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from msgspec import Struct, field

from tau.errors import TauError
from tau.hub.message import Message, Priority, checked_headers, checked_priority, uuid8
from tau.log.records import Scope
from tau.node.context import Context, current
from tau.node.current import item_here, run_scope, step_here
from tau.node.journaled_calls import digest_of, scope_of_call
from tau.node.steps import StepRunner

Asked = tuple[str, str, Any, Priority, Mapping[str, str] | None]
"""Sender, receiver, data, priority and headers."""


class _Sent(Struct, eq=False):
    """What was sent in one step, item or visit, by what it was; the ``places`` tell when that begins anew."""

    places: tuple[Any, Any]
    numbers: Counter[str] = field(default_factory=Counter)


_sent: WeakKeyDictionary[StepRunner, dict[Any, _Sent]] = WeakKeyDictionary()


def node_here() -> Context | None:
    """The visit that the code here belongs to, ``None`` in none."""
    if run_scope.get() is None:
        return None
    try:
        return current()
    except TauError:
        return None


def message_id(hub: str, type_: str, to: tuple[str, str, str], data: Any) -> str:
    """The id of a message that the code here sends: the same in every attempt at this visit, for equal messages in the
    order in which they are sent. Empty where none can be derived: outside of nodes, in worker processes, and for data
    that cannot be stored."""
    scope = run_scope.get()
    effect = None if scope is None else scope.visit_here()
    if scope is None or effect is None:
        return ""
    try:
        items = scope.journal_of(effect)
        what = "" if items is None else digest_of(items.node, f"{type_} {hub}"[:200], (hub, *to, data), {})
    except TauError:  # also where the node has ended: what it left behind sends as any other sender
        return ""
    if items is None:
        return ""
    place, now = scope_of_call(items, type_), (step_here.get(), item_here.get())
    with items.lock:
        known = _sent.setdefault(items, {})
        here = known.get(place)
        if here is None or here.places[0] is not now[0] or here.places[1] is not now[1]:
            here = known[place] = _Sent(now)
        here.numbers[what] += 1
        number = here.numbers[what]
    return _id(scope.run_id, place, f"{what} {number}")


def ask_once(context: Context, ask: Callable[[Asked, str], Message], hub: str, asked: Asked) -> Message:
    """The answer, from the run where it is recorded; ``ask`` is given the id. Raises what it and `Context.journal`
    raise."""

    def once(name: str, *given: Any) -> dict[str, Any]:
        return ask(_given(*given), _id_of_item(context)).to_dict()

    return Message.from_dict(context.journal("request", once, hub, *_plain(asked)))


async def ask_once_async(
    context: Context, ask: Callable[[Asked, str], Coroutine[Any, Any, Message]], hub: str, asked: Asked
) -> Message:
    """`ask_once` for event loops."""

    async def once(name: str, *given: Any) -> dict[str, Any]:
        return (await ask(_given(*given), _id_of_item(context))).to_dict()

    return Message.from_dict(await context.journal("request", once, hub, *_plain(asked)))


def _plain(asked: Asked) -> tuple[Any, ...]:
    """What can be stored of it, and tells it from others."""
    sender, to, data, priority, headers = asked
    return sender, to, data, int(checked_priority(priority)), checked_headers(headers)


def _given(sender: str, to: str, data: Any, priority: int, headers: Mapping[str, str] | None) -> Asked:
    return sender, to, data, Priority(priority), headers


def _id_of_item(context: Context) -> str:
    here = step_here.get()
    return "" if here is None else _id(context.run_id, here.scope, here.key)


def _id(run_id: str, scope: Scope, what: str) -> str:
    return uuid8(hashlib.sha256(repr((run_id, scope, what)).encode("utf-8", "surrogatepass")).digest())
