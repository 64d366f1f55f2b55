"""Items: the finished pieces of a map or a chain inside a node, each on disk as soon as it is done.

An item belongs to one visit and to the map or chain in it, and is known there by a key, not by its place. So an attempt
that is given the items in another order finds what an earlier one has done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

from tau.errors import ChainError, ConfigError, GraphChangedError, ParallelError, TauError, UnserializableError
from tau.late_imports import load_module
from tau.log.chained import to_store
from tau.log.digests import ITEM, Counts, name_of
from tau.log.encoding import pack_blob
from tau.log.records import Item
from tau.node.current import ItemHere, item_here
from tau.node.item_results import ItemResults
from tau.node.left_calls import key_of
from tau.node.own_copies import OwnCopies, check_async
from tau.node.planned import Plan
from tau.node.step_results import cell_of
from tau.node.steps import StepRunner
from tau.values import Refused, decode, encode, is_atom
from tau.values.stored import StoredValue, digest
from tau.values.weight import is_large

if TYPE_CHECKING:
    from tau.log.parent_log import ParentLog

Found = tuple[str, bytes | None, str | bytes]
"""The key of an item, its encoding, and what stands for it in a plan."""

Beside = Literal["others", "none seen", "none"]
"""Beside which calls for the same item one may run: any, none that is at work as it begins, none at all."""

_at_work: dict[tuple[object, ...], object] = {}
"""The items that threads of this process are at work on, those that were left behind too."""


class Items:
    """The items of one map or chain in a visit. Thread-safe.

    They are stored while others are worked on; no other one begins while ``most`` of them are done and not stored. A
    ``with`` block, after which all that is done is stored; if it raised, the name may be given to another. Entering it
    raises `ConfigError` for a name that something in this visit has already.
    """

    kind = "map"

    def __init__(self, runner: StepRunner, name: str) -> None:
        assert runner.journal is not None
        assert runner.commits is not None
        self._runner, self._name = runner, name
        self._journal, self._commits = runner.journal, runner.commits
        self.most = 1
        self.asks = True
        """Whether an item that is done asks for being stored; else `store` is called soon."""
        self.is_behind = False
        """Whether something may be done that `store` was not called for."""
        self._scope = runner.scope(name)
        self._entry = runner.entry(self._scope)
        self._plan: Plan | None = None
        self._calls: tuple[object, ...] | None = None

    @property
    def name(self) -> str:
        return self._name

    def plan(self, kind: str, function: Callable[..., Any], *, in_order: bool = False) -> Plan:
        """Begin the plan of what is called for which items. Raises `GraphChangedError`."""
        self._plan = plan = Plan(self._runner, self._scope, kind, function, in_order=in_order)
        plan.begin()
        return plan

    def own(self) -> OwnCopies:
        """Copies of what is the state's, for what is called for the items."""
        assert self._runner.effect is not None
        return OwnCopies(self._runner.effect)

    async def check_async(self, own: OwnCopies, what: str) -> None:
        """`OwnCopies.check`, outside the loop where something is large."""
        await check_async(own, self._journal.store.committer, what)

    def results(self) -> ItemResults:
        """What takes the cells of the finished items, and gives their results."""
        return ItemResults(self._runner, self._name)

    def __enter__(self) -> Items:
        self._runner.enter(self._entry, self._name, self)
        self._runner.forgive()
        self._commits.keep_up()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._leave(kind)
        if kind is None or issubclass(kind, (ChainError, ParallelError)):
            with self._given_back():
                self._runner.commit()
        self._let_go()

    async def __aenter__(self) -> Items:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._leave(kind)
        if kind is None or issubclass(kind, (ChainError, ParallelError)):
            with self._given_back():
                await self._runner.commit_async()
        self._let_go()

    def wait_for_room(self) -> None:
        """Wait until another item may begin. Raises why others could not be stored."""
        self._commits.check()
        while self._unsaved() >= self.most:
            self._runner.make_room()

    def room(self, begun: int) -> int:
        """How many other items may begin beside so many that have begun. Raises why others could not be stored."""
        self._commits.check()
        return 2 * self.most - begun - self._unsaved()

    def make_room(self) -> None:
        """Wait until some of what is done is stored. Raises why it could not be."""
        self._runner.make_room()

    def store(self, then: Callable[[], object]) -> bool:
        """Have what is done stored; ``then`` is called, by any thread, at the end of the commit under way. Whether
        there is one. Raises why others could not be stored."""
        self.is_behind = False
        return self._unsaved() > 0 and self._commits.start(then)

    async def wait_for_room_async(self) -> None:
        """`wait_for_room` for an event loop."""
        self._commits.check()
        while self._unsaved() >= self.most:
            await self._runner.make_room_async()

    def _unsaved(self) -> int:
        """How many are done and not stored; the plan alone is not worth a commit."""
        planned = self._plan is not None and self._plan.position > self._journal.position
        return self._commits.unsaved() - planned

    def do(self, key: str, function: Callable[..., Any], *args: Any) -> Any:
        """What the function returns, or returned in an earlier attempt; a copy, as a resume would give it. Raises what
        `finish` does."""
        return self._opened(key, self.finish(key, function, *args))

    def finish(self, key: str, function: Callable[..., Any], *args: Any, beside: Beside = "others") -> StoredValue:
        """The cell of what the function returns, or returned in an earlier attempt.

        Raises what the function raises, `UnserializableError` or `LimitExceededError` where the result cannot be
        stored, and, unless it may run ``beside`` others, `TauError` while an earlier call for this item is at work in
        this process.
        """
        cell = self._found(key)
        if cell is None:
            call = None if beside == "others" else self._call_of(key, keeps_out=beside == "none")
            try:
                record, cell = self._made(key, *self._called(key, function, args))
            finally:
                if call is not None:
                    _at_work.pop(call, None)
            if self.asks:
                self._hand_over(record, cell)
            else:
                self._commits.keep(record, cell)
                self.is_behind = True
        return cell

    async def do_async(self, key: str, function: Callable[..., Any], *args: Any) -> Any:
        """The same as `do` for a function that returns what is to be awaited."""
        return self._opened(key, await self.finish_async(key, function, *args))

    async def finish_async(self, key: str, function: Callable[..., Any], *args: Any) -> StoredValue:
        """The same as `finish` for a function that returns what is to be awaited."""
        cell = self._found(key)
        if cell is None:
            began = self._runner.now()
            if self._runner.calls is not None:
                self._runner.calls.begin_anew(self._scope, key)
            token = item_here.set(ItemHere(self._runner.effect, self._scope, key))
            try:
                value = await function(*args)
            finally:
                with suppress(ValueError):  # in another context, where a task was collected, it is not set
                    item_here.reset(token)
            cell = await self._taken_async(key, value, began)
        return cell

    def _called(self, key: str, function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, float]:
        runner = self._runner
        began = runner.now()
        if runner.calls is not None:
            runner.calls.begin_anew(self._scope, key)
        token = item_here.set(ItemHere(runner.effect, self._scope, key))
        try:
            return function(*args), began
        finally:
            item_here.reset(token)

    def _call_of(self, key: str, *, keeps_out: bool) -> tuple[object, ...] | None:
        """What keeps other calls for this item out until it is let go; ``None`` where there are none and that is all
        that is asked. An interrupt would leave it taken, so ``keeps_out`` is for threads in which no signal is handled.
        """
        if self._calls is None:
            runner = self._runner
            assert runner.effect is not None
            self._calls = (*key_of(self._journal.store, runner.run_id, runner.effect), self._scope)
        call, mine = (*self._calls, key), object()
        if (_at_work.setdefault(call, mine) if keeps_out else _at_work.get(call, mine)) is not mine:
            raise TauError(
                f"an earlier call for this item of {self._name!r}, left behind by its timeout or by interrupts, is "
                "still at work; wait for its end, or allow both with idempotent=True"
            )
        return call if keeps_out else None

    @contextmanager
    def _given_back(self) -> Iterator[None]:
        """What could not be stored may be tried again under its name."""
        try:
            yield
        except BaseException:
            self._runner.give_back(self._entry, self)
            raise

    def _leave(self, kind: type[BaseException] | None) -> None:
        if kind is not None:
            self._runner.give_back(self._entry, self)
            self._commits.keep_up()
        if kind is not None and issubclass(kind, GraphChangedError) and self._plan is not None:
            self._plan.disown()

    def _found(self, key: str) -> StoredValue | None:
        journal, place = self._journal, (self._scope, ITEM + key)
        cell = journal.items.get(place)
        if cell is not None and cell.change is not None:
            cell = journal.item(*place)
        if cell is None and journal.parent is not None:
            cell = self._replayed(key, journal.parent)
        if cell is not None:
            self._runner.spared()
        return cell

    def _replayed(self, key: str, parent: ParentLog) -> StoredValue | None:
        """What the run has for this item which this one replays; it is stored here with what comes next. Raises
        `ReplayError` where there is nothing and it is not to be made."""
        runner = self._runner
        found = parent.item(self._scope, ITEM + key)
        if found is None:
            where = f"node {runner.node!r} (visit {runner.visit})"
            parent.check(f"an item of {self.kind} {self._name!r}", where, self._scope, key)
            return None
        record, cell = self._made(key, self._value_of(found), runner.now())
        record.body = parent.body(self._scope, ITEM + key)
        self._hand_over(record, cell)
        return cell

    def _value_of(self, cell: StoredValue) -> Any:
        """The value of a cell of the run that this one replays."""
        return cell.open()[0]

    def _made(self, key: str, value: Any, began: float) -> tuple[Item, StoredValue]:
        """The record of a result, and its cell."""
        runner = self._runner
        cell = cell_of(runner.node, self._name, value, kind=self.kind)
        seconds = max(0.0, runner.now() - began)
        return Item(scope=self._scope, name=self._name, key=ITEM + key, value=cell.change, seconds=seconds), cell

    def _opened(self, key: str, cell: StoredValue) -> Any:
        """What the caller is given: what a resume would give."""
        return self._runner.open(self._name, cell)

    def _is_large(self, value: Any) -> bool:
        return is_large(value)

    async def _taken_async(self, key: str, value: Any, began: float) -> StoredValue:
        """Hand over a result; a large one is encoded outside the loop, and a cancellation that comes meanwhile is
        raised when that is done."""
        if not self._is_large(value):
            record, cell = self._made(key, value, began)
            self._hand_over(record, cell)
            return cell
        load_module("tau.node.async_calls")
        from tau.node.async_calls import off_the_loop  # asyncio is only loaded where something needs it

        def make() -> tuple[Item, StoredValue, dict[bytes, bytes]]:
            record, cell = self._made(key, value, began)
            blobs = [blob for one in to_store(cell).values() for blob in one.blobs]
            return record, cell, {name: pack_blob(data) for name, data in blobs}

        (record, cell, packed), cancelled = await off_the_loop(self._journal.store.committer, make)
        self._hand_over(record, cell, packed)
        if cancelled is not None:
            raise cancelled
        return cell

    def _hand_over(self, record: Item, cell: StoredValue, packed: dict[bytes, bytes] | None = None) -> None:
        self._runner.hand_over(record, cell, packed)
        self.is_behind = True

    def _let_go(self) -> None:
        """What is not needed any more and stored by now may be read again where it is."""


class Keys:
    """Names items by what they are: the digest of their encoding, and a count for those that are equal; or, with
    ``given``, by what that returns. Not thread-safe."""

    def __init__(self, given: Callable[[Any], Any] | None = None) -> None:
        self._given = given
        self._seen = Counts()

    def of(self, item: Any) -> Found:
        """The key of the next item, its encoding, which is ``None`` with ``given``, and what stands for it in a plan.

        Raises `UnserializableError` for an item that cannot be encoded, `ConfigError` for a given key that is not text
        or a number, or that another item has.
        """
        if self._given is not None:
            key = self._checked(self._given(item))
            return key, None, key
        data = encoded(item)
        name = digest(data)
        count = self._seen.add(name)
        return (name.hex() if count == 1 else f"{name.hex()} {count}"), data, name

    def _checked(self, key: Any) -> str:
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise ConfigError(f"the key of an item is text or a whole number, found {type(key).__name__}: {key!r:.80}")
        if isinstance(key, str) and any("\ud800" <= char <= "\udfff" for char in key):
            raise ConfigError(f"the key of an item cannot contain lone surrogates, found {key!r:.80}")
        found = f"{'s' if isinstance(key, str) else 'i'} {key}"
        if self._seen.add(name_of(found)) > 1:
            raise ConfigError(f"two items have the key {key!r}; give each one of its own")
        return found


def encoded(item: Any) -> bytes:
    """The encoding by which an item is known. Raises `UnserializableError`."""
    try:
        return encode(item)
    except Refused as refused:
        raise UnserializableError(
            f"an item of type {refused.type_name} cannot be told from others after a resume, as it cannot be encoded: "
            f"{refused.reason}; name the items with key=, a function of the item",
            path=f"item{refused.path}",
            type_name=refused.type_name,
        ) from None


def copied(item: Any, data: bytes | None) -> Any:
    """The item for one call: a copy of its own, so that what is done to it in place reaches nobody else."""
    return item if data is None or is_atom(item) else decode(data)
