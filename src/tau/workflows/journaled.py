"""A workflow in a node of a run that is stored: the next attempt at the visit finds what it had finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from hashlib import sha256
from typing import Any

from tau.node.items import Items, Keys, copied, encoded
from tau.state import State
from tau.workflows.surroundings import Surroundings, drawn

Key = Callable[[Any], str | int]


def items_of(around: Surroundings) -> Items | None:
    """What keeps the items of this workflow; ``None`` outside of a node, and in a run that is not stored.

    Raises `TauError` if the attempt at the node has ended.
    """
    if around.scope is None or around.scope.store is None:
        return None
    return Items(around.scope.steps_of(around.effect), around.name)


def block_of(items: Items | None) -> Items | nullcontext[None]:
    """The block in which they are worked on, of ``with`` or ``async with``."""
    return nullcontext() if items is None else items


class Named:
    """The items of a map, each with the key by which its result is found again; drawn in order by one thread."""

    def __init__(self, items: Items, source: Iterable[Any], key: Key | None, may_run_twice: bool) -> None:
        """Raises `ConfigError` for what cannot be iterated."""
        self._items, self._may_run_twice = items, may_run_twice
        self._source, self._total = drawn(source)
        self._keys = Keys(key)
        self._drawn: dict[int, tuple[str, bytes | None]] = {}

    def __iter__(self) -> Iterator[Any]:
        for index, item in enumerate(self._source):
            self._drawn[index] = self._keys.of(item)
            yield item

    def __len__(self) -> int:
        if self._total is None:
            raise TypeError("how many there are is not known before the end")
        return self._total

    def _forget(self, index: int) -> None:
        """An item that is done is not tried again; one that may run twice at a time may be."""
        if not self._may_run_twice:
            self._drawn.pop(index, None)

    def calling(self, task: Callable[[Any], Any]) -> Callable[[int, Any], Any]:
        """What calls a sync task for an item, unless that is done already."""

        def call(index: int, item: Any) -> Any:
            key, data = self._drawn[index]
            result = self._items.do(key, task, copied(item, data), alone=not self._may_run_twice)
            self._forget(index)
            return result

        return call

    def awaiting(self, task: Callable[[Any], Any]) -> Callable[[int, Any], Any]:
        """The same for an async task."""

        async def call(index: int, item: Any) -> Any:
            key, data = self._drawn[index]
            result = await self._items.do_async(key, task, copied(item, data))
            self._forget(index)
            return result

        return call


class Links:
    """The items of a chain: each is known by what it is and by all that came before it, the initial state included, so
    that nothing is taken for done behind a change."""

    def __init__(self, items: Items, initial: Any, key: Key | None) -> None:
        """Raises `UnserializableError` for an initial state that cannot be stored."""
        self._items, self._key = items, key
        self._state = initial if isinstance(initial, State) else None
        data = encoded(self._stored(initial))
        self.initial = initial if self._state is not None else copied(initial, data)
        self._link = sha256(data)

    def _stored(self, state: Any) -> Any:
        """What is stored of a state of the chain: of the graph's own, its values, and that it is one."""
        if self._state is None:
            return state
        return (True, dict(state)) if isinstance(state, State) else (False, state)

    def _given(self, stored: Any) -> Any:
        """The state of the chain for what was stored of it."""
        if self._state is None:
            return stored
        is_state, values = stored
        if not is_state:
            return values
        return self._state.merge(values).drop(*(key for key in self._state if key not in values))

    def calling(self, step: Callable[[Any, Any], Any]) -> Callable[[int, Any, Any], Any]:
        """What calls a sync step for an item and a state, unless that is done already."""

        def take(item: Any, state: Any) -> Any:
            return self._stored(step(item, state))

        def call(index: int, item: Any, state: Any) -> Any:
            self._items.wait_for_room()
            key, data = self._next(item)
            return self._given(self._items.do(key, take, copied(item, data), state))

        return call

    def awaiting(self, step: Callable[[Any, Any], Any]) -> Callable[[int, Any, Any], Any]:
        """The same for an async step."""

        async def take(item: Any, state: Any) -> Any:
            return self._stored(await step(item, state))

        async def call(index: int, item: Any, state: Any) -> Any:
            await self._items.wait_for_room_async()
            key, data = self._next(item)
            return self._given(await self._items.do_async(key, take, copied(item, data), state))

        return call

    def _next(self, item: Any) -> tuple[str, bytes | None]:
        key, data = Keys(self._key).of(item)
        link = self._link.copy()
        link.update(b"%d:%b" % (len(key), key.encode("utf-8", "surrogatepass")))
        self._link = link
        return link.hexdigest()[:40], data
