"""One call of a step: what there is of it, and what is told about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from tau.events import STEP_COMPLETE, STEP_START
from tau.late_imports import load_module
from tau.log.encoding import pack_blob
from tau.log.records import Item, Scope
from tau.node.current import StepHere, item_here, step_here
from tau.node.own_copies import called, called_async
from tau.node.step_results import cell_of, no_awaitable
from tau.values.stored import StoredValue, alone
from tau.values.weight import is_large

if TYPE_CHECKING:
    from tau.log.parent_log import ParentLog
    from tau.node.steps import StepRunner


class Step:
    """One call of a step: what there is of it, and what is told about it. ``key`` tells what is done under its name
    apart, ``entry`` keeps that name for one of a visit, and is empty where there may be many."""

    kind: ClassVar[str] = "step"
    verb: ClassVar[str] = "step"
    starts: ClassVar[str] = STEP_START
    completes: ClassVar[str] = STEP_COMPLETE

    def __init__(self, items: StepRunner, name: str, scope: Scope | None = None) -> None:
        self.items = items
        self.name = name
        self.scope = items.scope(name) if scope is None else scope
        self.key = ""
        self.entry = items.entry(self.scope) if scope is None else ""
        self.resumed = self.is_replayed = False
        self.cell: StoredValue | None = None
        self.record: Item | None = None
        self.packed: dict[bytes, bytes] = {}
        self.began = 0.0
        self.seconds = 0.0
        self.value: Any = None
        self.told = False

    @property
    def unsaved(self) -> bool:
        """Whether its result is not stored yet; also where a commit of it failed and is tried again."""
        return self.cell is not None and self.cell.change is not None and not self.is_replayed

    def begin(self) -> None:
        items = self.items
        self.told = True  # there is nothing to tell of one that does not begin
        at_point(items)
        self.told = False
        self.cell = self.enter()
        if self.cell is None and items.journal is not None and items.journal.parent is not None:
            self.cell = self.replayed(items.journal.parent)
        if self.cell is not None:
            self.resumed = items.any_resumed = True
        self.began = items.now()
        if items.is_observed:
            items.tell(self.starts, **{self.kind: self.name, "resumed": self.resumed})

    def enter(self) -> StoredValue | None:
        """Take its name, or its place among others; the result, where it is finished."""
        self.items.enter(self.entry, self.name, self)
        if self.items.calls is not None:
            self.items.calls.begin_anew(self.scope, self.key)
        return self.items.find(self.scope)

    def replayed(self, parent: ParentLog) -> StoredValue | None:
        """The result that the run has which this one replays; it is stored here with what comes next. Raises
        `ReplayError` where there is none and it is not to be made."""
        found = parent.item(self.scope, self.key)
        if found is None:
            items = self.items
            where = f"node {items.node!r} (visit {items.visit})"
            parent.check(f"{self.kind} {self.name!r}", where, self.scope, self.key)
            return None
        cell = alone(found.data())
        self.items.hand_over(self.record_of(cell, parent.body(self.scope, self.key)), cell)
        self.is_replayed = True
        return cell

    def record_of(self, cell: StoredValue, body: dict[str, Any]) -> Item:
        return Item(
            scope=self.scope, name=self.name, key=self.key, value=cell.change, seconds=self.seconds, body=body
        )  # fmt: skip

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """What the function returns, to which the calls in it belong."""
        items, what = self.items, f"{self.kind} {self.name!r}"
        token = step_here.set(StepHere(items.effect, item_here.get(), self.scope, self.key))
        try:
            return no_awaitable(items.node, self.name, called(items, what, function, args, kwargs), self.kind)
        finally:
            step_here.reset(token)

    async def call_async(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The same for an async function."""
        items = self.items
        token = step_here.set(StepHere(items.effect, item_here.get(), self.scope, self.key))
        try:
            return await called_async(items, f"{self.kind} {self.name!r}", function, args, kwargs)
        finally:
            with suppress(ValueError):  # in another context, where a task was collected, it is not set
                step_here.reset(token)

    def take(self, value: Any) -> None:
        """The function has returned."""
        items = self.items
        self.seconds = max(0.0, items.now() - self.began)
        if items.journal is None:
            self.value = value
            return
        self.cell = cell = cell_of(items.node, self.name, value, kind=self.kind)
        self.record = self.record_of(cell, {})

    async def take_async(self, value: Any) -> BaseException | None:
        """`take`; what is large is encoded outside the loop. A cancellation that came meanwhile, to be raised once the
        result is stored."""
        journal = self.items.journal
        if journal is None or not is_large(value):
            self.take(value)
            return None
        load_module("tau.node.async_calls")
        from tau.node.async_calls import off_the_loop  # asyncio is only loaded where something needs it

        def take() -> None:
            self.take(value)
            if self.cell is not None:
                self.packed = {name: pack_blob(data) for name, data in self.cell.blobs}

        return (await off_the_loop(journal.store.committer, take))[1]

    def result(self) -> Any:
        """What the caller is given: what a resume would give."""
        return self.value if self.cell is None else self.items.open(self.name, self.cell)

    def about(self) -> Mapping[str, Any]:
        """What more is told of its result."""
        return {}

    def end(self, error: BaseException | None = None) -> None:
        """Tell how it ended."""
        if self.told:
            return
        self.told = True
        if self.cell is not None and not self.unsaved and not isinstance(error, Exception):
            error = None  # it is stored: a cancellation or an interrupt came after that
        if not self.items.is_observed:
            return
        told: dict[str, Any] = {self.kind: self.name, "resumed": self.resumed, "error": error is not None}
        if error is not None:
            self.seconds = max(0.0, self.items.now() - self.began)
            told["error_type"] = type(error).__name__
        else:
            told |= self.about()
        self.items.tell(self.completes, **told, duration_seconds=self.seconds)


def both(key: str, *of_one_name: object) -> str:
    """What two things of one name are, as in "two maps" or "a step and a map"; ``key`` is that of both."""
    first, second = (str(getattr(one, "kind", key.partition(" ")[0])) for one in of_one_name)
    return f"two {first}s" if first == second else f"a {first} and a {second}"


def at_point(items: StepRunner) -> None:
    """Where the node of a branch ends that was asked to. Nothing that is finished is lost: a resume finds it."""
    if items.ends_here is not None:
        here = item_here.get()
        items.ends_here(here is not None and here.effect is items.effect)
