"""Where a call of an agent meets the run: the recorded answer, or ask and record.

Inside a run a call is an item of the innermost scope (visit, item, branch) under its digest and a count among equal
calls, which are interchangeable. A committed answer is never asked for again.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakKeyDictionary

from tau.agents.records import Call, Response, response_of
from tau.errors import TauError
from tau.log.records import Scope
from tau.node.current import run_scope
from tau.node.steps import StepRunner

_numbers: WeakKeyDictionary[StepRunner, dict[Scope, set[int]]] = WeakKeyDictionary()
_lock = threading.RLock()


def answer(call: Call, ask: Callable[[], Response]) -> Response:
    """The recorded answer of the call, or what ``ask`` answers, once it is recorded.

    Outside of a run, and where nothing is stored, ``ask`` is just called; ``journaled`` of the response tells. Raises
    what ``ask`` raises, and what storing an item raises.
    """
    items = _items_here()
    if items is None:
        return ask()
    asked: list[Response] = []

    def asking() -> dict[str, Any]:
        asked.append(ask())
        return {"call": call.record(), "answer": asked[0].record()}

    with _Entry(items, call) as name:
        found = items.step(name, asking, (), {})
    return _opened(items, found, replayed=not asked)


async def aanswer(call: Call, ask: Callable[[], Awaitable[Response]]) -> Response:
    """`answer` for an event loop."""
    items = _items_here()
    if items is None:
        return await ask()
    asked: list[Response] = []

    async def asking() -> dict[str, Any]:
        asked.append(await ask())
        return {"call": call.record(), "answer": asked[0].record()}

    with _Entry(items, call) as name:
        found = await items.step(name, asking, (), {})
    return _opened(items, found, replayed=not asked)


def is_recorded(call: Call) -> bool:
    """Whether `answer` would find the answer of the next such call. Raises what reading the run raises."""
    items = _items_here()
    if items is None:
        return False
    with _Entry(items, call, probe=True) as name:
        return items.find(items.scope(name)) is not None


def _items_here() -> StepRunner | None:
    """The items of the visit that runs here; ``None`` where no journal is at hand, as in a worker process."""
    scope = run_scope.get()
    effect = None if scope is None else scope.visit_here()
    if scope is None or effect is None:
        return None
    try:
        scope.at_hand("call")
    except TauError:
        return None
    return scope.steps_of(effect)


def _opened(items: StepRunner, found: dict[str, Any], *, replayed: bool) -> Response:
    return response_of(found["answer"], journaled=items.journal is not None, replayed=replayed)


class _Entry:
    """A call's name among its equals, kept if the block ends well and given back if it raises."""

    def __init__(self, items: StepRunner, call: Call, probe: bool = False) -> None:
        self._items, self._digest, self._probe = items, call.digest, probe
        self._scope = items.scope(self._digest)

    def __enter__(self) -> str:
        with _lock:
            taken = _numbers.setdefault(self._items, {}).setdefault(self._scope, set())
            self._number = next(number for number in range(1, len(taken) + 2) if number not in taken)
            if not self._probe:
                taken.add(self._number)
        return f"{self._digest}#{self._number}"

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None and not self._probe:
            with _lock:
                _numbers[self._items][self._scope].discard(self._number)
