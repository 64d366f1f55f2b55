"""One call of a step: what there is of it, and what is told about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tau.events import STEP_COMPLETE, STEP_START
from tau.late_imports import load_module
from tau.log.encoding import pack_blob
from tau.log.records import Item
from tau.node.current import item_here
from tau.node.step_results import cell_of
from tau.values.stored import StoredValue
from tau.values.weight import is_large

if TYPE_CHECKING:
    from tau.node.steps import StepRunner


class Step:
    """One call of a step: what there is of it, and what is told about it."""

    def __init__(self, items: StepRunner, name: str) -> None:
        self.items = items
        self.name = name
        self.scope = items.scope(name)
        self.resumed = False
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
        return self.cell is not None and self.cell.change is not None

    def begin(self, key: str) -> None:
        items = self.items
        self.told = True  # there is nothing to tell of one that does not begin
        at_point(items)
        self.told = False
        items.enter(key, self.name, self)
        self.cell = items.find(self.scope)
        if self.cell is not None:
            self.resumed = items._any_resumed = True
        self.began = items.now()
        items.tell(STEP_START, step=self.name, resumed=self.resumed)

    def take(self, value: Any) -> None:
        """The function has returned."""
        items = self.items
        self.seconds = max(0.0, items.now() - self.began)
        if items.journal is None:
            self.value = value
            return
        self.cell = cell = cell_of(items.node, self.name, value)
        self.record = Item(scope=self.scope, name=self.name, value=cell.change, seconds=self.seconds)

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

    def end(self, error: BaseException | None = None) -> None:
        """Tell how it ended."""
        if self.told:
            return
        self.told = True
        if self.cell is not None and not self.unsaved and not isinstance(error, Exception):
            error = None  # it is stored: a cancellation or an interrupt came after that
        told: dict[str, Any] = {"step": self.name, "resumed": self.resumed, "error": error is not None}
        if error is not None:
            self.seconds = max(0.0, self.items.now() - self.began)
            told["error_type"] = type(error).__name__
        self.items.tell(STEP_COMPLETE, **told, duration_seconds=self.seconds)


def both(key: str, *of_one_name: object) -> str:
    """What two things of one name are, as in "two maps" or "a step and a map"; ``key`` is that of both."""
    first, second = (str(getattr(one, "kind", key.partition(" ")[0])) for one in of_one_name)
    return f"two {first}s" if first == second else f"a {first} and a {second}"


def at_point(items: StepRunner) -> None:
    """Where the node of a branch ends that was asked to. Nothing that is finished is lost: a resume finds it."""
    if items.ends_here is not None:
        here = item_here.get()
        items.ends_here(here is not None and here.effect is items.effect)
