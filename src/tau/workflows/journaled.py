"""A workflow in a node of a run that is stored: the next attempt at the visit finds what it had finished."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from hashlib import sha256
from itertools import islice
from typing import Any, TypeVar

from tau.executors.registry import INLINE, is_here
from tau.log.digests import ITEM
from tau.node.chain_items import ChainItems
from tau.node.generators import refuse_shared
from tau.node.item_results import ItemResults
from tau.node.items import Beside, Found, Items, Keys, copied, encoded
from tau.node.planned import Plan
from tau.values.registry import ATOMS
from tau.values.stored import StoredValue
from tau.workflows.config import ParallelConfig
from tau.workflows.surroundings import AT_HAND, Surroundings, drawn

Key = Callable[[Any], str | int]
Kept = TypeVar("Kept", bound=Items)

_AHEAD = 10_000
"""So many items of what is at hand are looked through before anything begins, and so many bytes of their encodings:"""

_AHEAD_BYTES = 1 << 24


def items_of(around: Surroundings, kind: type[Kept]) -> Kept | None:
    """What keeps the items of this workflow; ``None`` outside of a node, and in a run that is not stored.

    Raises `TauError` if the attempt at the node has ended.
    """
    if around.scope is None or around.scope.store is None:
        return None
    return kind(around.scope.steps_of(around.effect), around.name)


def block_of(items: Items | None) -> Items | nullcontext[None]:
    """The block in which they are worked on, of ``with`` or ``async with``."""
    return nullcontext() if items is None else items


class _Drawn(ABC):
    """The items of a map or chain as they are drawn, in order and by one thread, each with its key; what is drawn is
    planned, and must be what an earlier attempt had planned."""

    kind = ""

    def __init__(self, items: Items, source: Iterable[Any], function: Callable[..., Any], key: Key | None) -> None:
        """Raises `ConfigError` for what cannot be iterated."""
        self._items, self._listed, self._function, self._key = items, source, function, key
        self._own = items.own()
        self._what, self._watches = f"{self.kind} {items.name!r}", True
        self._listed_at = self._own.path_of(source) if isinstance(source, list | tuple) else ""
        refuse_shared(self._what, function)
        self._source, self._total = drawn(source)

    def __iter__(self) -> Iterator[Any]:
        plan = self._items.plan(self.kind, self._function, in_order=self.kind == "chain")
        ahead = self._look_ahead(plan) if type(self._listed) in AT_HAND else deque()
        plan.begun()
        for index, item in enumerate(self._source):
            if ahead:
                found = ahead.popleft()
            else:
                found = self._key_of(item)
                plan.draw(found[2], ITEM + found[0])
            self._take(index, found)
            yield item
        plan.check(plan.missing())
        plan.end()

    @property
    def is_quick(self) -> bool:
        """Whether the next item is at hand: nothing of others is asked for it."""
        return type(self._listed) in AT_HAND and self._key is None

    def __len__(self) -> int:
        if self._total is None:
            raise TypeError("how many there are is not known before the end")
        return self._total

    def _look_ahead(self, plan: Plan) -> deque[Found]:
        """The keys and encodings of the first items, so that a list that changed is found before anything begins."""
        ahead, wrong, size, key_of = deque[Found](), "", 0, self._key_of
        for item in islice(self._listed, _AHEAD):
            try:
                key, data, entry = found = key_of(item)
            except Exception:  # raised again where the item is drawn
                break
            ahead.append(found)
            seen = plan.see(entry, ITEM + key)
            wrong = wrong or seen
            size += 0 if data is None else len(data)
            if size > _AHEAD_BYTES:
                break
        if len(ahead) == self._total:
            plan.check(wrong, plan.missing())
            plan.end()
        else:
            plan.check(wrong)
        return ahead

    def _given_item(self, item: Any, data: bytes | None) -> Any:
        """The item for one call: a copy of its own, so that what is done to it in place reaches nobody else."""
        return self._own.apart(item) if data is None else copied(item, data)

    def _watch(self, index: int, item: Any, given: Any, data: bytes | None) -> Callable[[Any], Any] | None:
        """Where an item is a value of the state, of which a copy is given: what takes the result of its call, and
        raises `ConfigError` if that changed the copy and returned nothing."""
        if given is item or not self._watches:
            return None
        path = f"{self._listed_at}[{index}]" if self._listed_at else self._own.path_of(item)
        if not path:
            return None
        return partial(self._own.unchanged, self._what, path, given, encoded(item) if data is None else data)

    def _calling(self, call: Callable[..., Any], index: int, item: Any, data: bytes | None) -> tuple[Any, Any]:
        """The item for a call, and the function so that it is watched."""
        given = self._given_item(item, data)
        watch = self._watch(index, item, given, data)
        return given, call if watch is None else lambda *args: watch(call(*args))

    def _awaiting(self, call: Callable[..., Any], index: int, item: Any, data: bytes | None) -> tuple[Any, Any]:
        """The same for an async function."""
        given = self._given_item(item, data)
        if (watch := self._watch(index, item, given, data)) is None:
            return given, call

        async def watched(*args: Any) -> Any:
            return watch(await call(*args))

        return given, watched

    @abstractmethod
    def _key_of(self, item: Any) -> Found:
        """What an item is known by."""

    @abstractmethod
    def _take(self, index: int, found: Found) -> None:
        """It is handed out next."""


class Named(_Drawn):
    """The items of a map, each with the key by which its result is found again."""

    kind = "map"

    def __init__(
        self, items: Items, source: Iterable[Any], task: Callable[[Any], Any], key: Key | None, config: ParallelConfig
    ) -> None:
        """Raises `ConfigError` for what cannot be iterated."""
        super().__init__(items, source, task, key)
        here = config.executor == INLINE  # in the caller's thread, which handles signals
        self._watches = is_here(config.executor)  # elsewhere it is given another copy
        self._beside: Beside = "others" if config.idempotent else "none seen" if here else "none"
        self._keys = Keys(key)
        self._drawn: dict[int, Found] = {}

    def _key_of(self, item: Any) -> Found:
        return self._keys.of(item)

    def _take(self, index: int, found: Found) -> None:
        self._drawn[index] = found

    def forget(self, index: int) -> None:
        """The map has the result of an item, which is not tried again."""
        self._drawn.pop(index, None)

    def results(self) -> ItemResults:
        """What takes what the calls return, and gives the results."""
        return self._items.results()

    def calling(self, task: Callable[[Any], Any]) -> Callable[[int, Any], Any]:
        """What calls a sync task for an item, unless that is done already; it returns the cell of the result."""

        def call(index: int, item: Any) -> StoredValue:
            key, data, _ = self._drawn[index]
            if type(item) in ATOMS:
                return self._items.finish(key, task, item, beside=self._beside)
            given, watched = self._calling(task, index, item, data)
            return self._items.finish(key, watched, given, beside=self._beside)

        return call

    def awaiting(self, task: Callable[[Any], Any]) -> Callable[[int, Any], Any]:
        """The same for an async task."""

        async def call(index: int, item: Any) -> StoredValue:
            key, data, _ = self._drawn[index]
            given, watched = self._awaiting(task, index, item, data)
            return await self._items.finish_async(key, watched, given)

        return call


class Links(_Drawn):
    """The items of a chain: each is known by what it is and by all that came before it, the initial state included, so
    that nothing is taken for done behind a change."""

    kind = "chain"

    def __init__(
        self,
        items: ChainItems,
        source: Iterable[Any],
        initial: Any,
        step: Callable[[Any, Any], Any],
        key: Key | None,
        *,
        keeps_states: bool,
    ) -> None:
        """``keeps_states``: the chain hands out what each step was given, too. Raises `ConfigError` for what cannot be
        iterated, `UnserializableError` for an initial state that cannot be stored."""
        super().__init__(items, source, step, key)
        self._steps, self._keeps_states = items, keeps_states
        self.initial, data = items.begin(initial)
        self._link = sha256(data)
        self._now: Found = "", None, b""

    def _key_of(self, item: Any) -> Found:
        return Keys(self._key).of(item)

    def _take(self, index: int, found: Found) -> None:
        self._now = found

    def calling(self, step: Callable[[Any, Any], Any]) -> Callable[[int, Any, Any], Any]:
        """What calls a sync step for an item and a state, unless that is done already."""

        def call(index: int, item: Any, state: Any) -> Any:
            self._items.wait_for_room()
            key, data = self._next()
            before = self._steps.given(state, apart=self._keeps_states)
            given, watched = self._calling(step, index, item, data)
            return self._items.do(key, watched, given, before)

        return call

    def awaiting(self, step: Callable[[Any, Any], Any]) -> Callable[[int, Any, Any], Any]:
        """The same for an async step."""

        async def call(index: int, item: Any, state: Any) -> Any:
            await self._items.wait_for_room_async()
            key, data = self._next()
            before = self._steps.given(state, apart=self._keeps_states)
            given, watched = self._awaiting(step, index, item, data)
            return await self._items.do_async(key, watched, given, before)

        return call

    def _next(self) -> tuple[str, bytes | None]:
        """The key of the item that was drawn, and its encoding."""
        key, data, _ = self._now
        self._link = link = self._link.copy()
        link.update(b"%d:%b" % (len(key), key.encode("utf-8", "surrogatepass")))
        return link.hexdigest()[:40], data
