"""Items: finished pieces of work inside a node, each on disk before the node goes on.

An item belongs to one visit of one node and has a name in it. Attempts share it, so that what finished before a crash
or a failure is not done again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tau.checks import checked_name
from tau.errors import (
    ConfigError,
    TauError,
)
from tau.events import CHECKPOINT_SAVE
from tau.graph.nodes import is_async
from tau.log.journal import Journal
from tau.log.loading import BlobLoader
from tau.log.records import Item, Planned, Scope
from tau.node.attempt_artifacts import AttemptArtifacts
from tau.node.current import RunNode, item_here, too_late
from tau.node.generators import Generators
from tau.node.kept_state import STATE, kept_cell, refuse_outside, restore
from tau.node.pauses import Asked
from tau.node.step import Step, both
from tau.node.step_commits import StepCommits
from tau.node.step_results import opened
from tau.node.unawaited import Unawaited
from tau.state import State, begun
from tau.values.stored import NO_ATOM, Blobs, StoredValue

if TYPE_CHECKING:
    from tau.node.journaled_calls import Calls


class StepRunner:
    """The items of one attempt at a visit; made when the node first asks for one. Thread-safe.

    Without a ``journal`` nothing is stored; ``place`` tells where artifacts go; ``emit`` is ``None`` without observers.
    """

    def __init__(
        self,
        run_id: str,
        effect: RunNode | None,
        *,
        journal: Journal | None,
        place: Callable[[], str | None],
        emit: Callable[[str, dict[str, Any]], None] | None,
        now: Callable[[], float],
        on_change: str = "error",
    ) -> None:
        self.run_id = run_id
        self.effect = effect
        self.node = effect.node.name if effect is not None else ""
        self.visit = effect.visit if effect is not None else 0
        self.journal = journal
        self.now = now
        self.on_change = on_change
        self.ends_here: Callable[[bool], None] | None = None
        """Raises what ends a branch that was asked to end, here or in an item of a map; ``None`` in no branch."""
        self._emit = emit
        self.any_resumed = False
        """Whether something that an earlier attempt had finished was not done again."""
        self.commits = StepCommits(journal, self.node) if journal is not None else None
        """What stores them, unless nothing is stored."""
        self._generators = Generators()
        self._names: dict[str, object] = {}
        self.unawaited = Unawaited()
        self.asked = Asked(self)
        self.artifacts = AttemptArtifacts(self, place)
        self.calls: Calls | None = None
        """The journaled calls of this attempt, once there is one."""
        self.lock = threading.RLock()  # a signal handler may ask for a step, too
        self._closed = False

    def step(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """See `Context.step`."""
        checked_name("the name of a step", name)
        if not callable(function):
            raise ConfigError(f"step {name!r}: expected a function, found {type(function).__name__}: {function!r:.80}")
        step = Step(self, name)
        self.check_generators(step.entry.removeprefix("step "), function, args, kwargs)
        return self.finish(step, function, args, kwargs)

    def check_generators(
        self, name: str, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, kind: str = "step"
    ) -> None:
        """Raises `ConfigError` for a random generator that another step or call was given."""
        if self.journal is not None:
            self._generators.check(name, function, args, kwargs, kind=kind)

    def finish(self, step: Step, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The result of a step or call, stored; of an async function what is to be awaited for it."""
        if is_async(function):
            coroutine = self._awaited(step, function, args, kwargs)
            self.unawaited.add(step, step.name, coroutine, step.verb)
            return coroutine
        return self.finish_sync(step, function, args, kwargs)

    def finish_sync(
        self, step: Step, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """The same for a function that is known not to be async."""
        key, commits = step.entry, self.commits
        try:
            step.begin()
            if not step.resumed:
                step.take(step.call(function, args, kwargs))
            if step.unsaved and commits is not None:
                commits.commit(step.record, step.cell)
                self.saved()
            result = step.result()
            step.end()
        except BaseException as error:
            if key in self._names and self._names[key] is step:  # without a call: no interrupt comes in between
                del self._names[key]
            step.end(error)
            raise
        return result

    async def _awaited(
        self, step: Step, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        self.unawaited.begun(step)
        key, commits = step.entry, self.commits
        cancelled: BaseException | None = None
        try:
            step.begin()
            if not step.resumed:
                cancelled = await step.take_async(await step.call_async(function, args, kwargs))
            if step.unsaved and commits is not None:
                await commits.commit_async(step.record, step.cell, step.packed)
                self.saved()
            if cancelled is not None:
                raise cancelled
            result = step.result()
            step.end()
        except BaseException as error:
            if key in self._names and self._names[key] is step:
                del self._names[key]
            step.end(error)
            raise
        return result

    def save(self, state: State) -> None:
        """See `State.checkpoint`."""
        effect, record, cell = self.effect, None, None
        if self.commits is None:
            return
        if effect is None:
            refuse_outside(state)
        else:
            cell = kept_cell(state, effect, self.find(self.of_visit(STATE), STATE))
            if cell is not None:
                record = Item(scope=self.of_visit(STATE), name=STATE, key=STATE, value=cell.change)
        self.commits.commit(record, cell)
        self.saved()

    def restore(self) -> None:
        """Give the node the state that an earlier attempt saved, where one did."""
        cell = self.find(self.of_visit(STATE), STATE)
        if cell is not None and self.effect is not None:
            restore(self.effect, self.open(STATE, cell))

    def close(self) -> None:
        """The attempt has ended: what it left behind saves nothing more. Waits for a commit that is under way."""
        self._closed = True
        if self.commits is not None:
            self.commits.close()

    def shut(self) -> None:
        """`close` without waiting, for where nobody can."""
        self._closed = True
        if self.commits is not None:
            self.commits.shut()

    async def close_async(self) -> None:
        """`close` for an event loop."""
        self._closed = True
        if self.commits is not None:
            await self.commits.close_async()

    @property
    def is_observed(self) -> bool:
        """Whether somebody is told what happens here."""
        return self._emit is not None

    def check_open(self) -> None:
        """Raises `TauError` once the attempt has ended."""
        if self._closed:
            raise too_late(self.node)

    def enter(self, key: str, name: str, by: object) -> None:
        """A name is for one item of a visit; the ``key`` is its kind and name. What fails must give it back."""
        with self.lock:
            self.check_open()
            if key in self._names:
                what = both(key, self._names[key], by)
                raise ConfigError(
                    f"node {self.node!r} makes {what} {name!r} in one visit, which resume could not tell apart; "
                    "give each a name of its own, such as one with a number"
                )
            self._names[key] = by

    def give_back(self, key: str, by: object) -> None:
        """A name that was entered is free again."""
        if self._names.get(key) is by:
            del self._names[key]

    def spared(self) -> None:
        """Something that an earlier attempt had finished was not done again."""
        self.any_resumed = True

    def forgive(self) -> None:
        """Try again to store what could not be."""
        if self.commits is not None:
            self.commits.forgive()

    def hand_over(self, record: Item, cell: StoredValue, packed: Mapping[bytes, bytes] | None = None) -> None:
        """Have a finished item stored soon; nothing waits for it."""
        if self.commits is not None:
            self.commits.hand_over(record, cell, packed)
            self.saved()

    def note(self, record: Planned) -> int:
        """Have it stored with what is committed next; its position."""
        return self.commits.note(record) if self.commits is not None else 0

    def make_room(self) -> None:
        """Wait until some of what is not stored is, or raise why it cannot be."""
        if self.commits is not None and not self.commits.wait():
            self.commit()

    async def make_room_async(self) -> None:
        """`make_room` for an event loop."""
        if self.commits is not None and not await self.commits.wait_async():
            await self.commit_async()

    def commit(self) -> None:
        """Store what is finished, and wait until it is. Raises why it cannot be."""
        if self.commits is not None:
            self.commits.commit()
            self.saved()

    async def commit_async(self) -> None:
        """`commit` for an event loop."""
        if self.commits is not None:
            await self.commits.commit_async()
            self.saved()

    def find(self, scope: Scope, key: str = "") -> StoredValue | None:
        """The result of that item where it is finished, perhaps by an earlier attempt."""
        return self.journal.item(scope, key) if self.journal is not None else None

    def scope(self, name: str) -> Scope:
        """Where a step, map or chain of that name belongs: to the visit, or to the item that the code here is of."""
        here = item_here.get()
        if here is None or here.effect is not self.effect:
            return self.of_visit(name)
        return (*here.scope, (here.key, 0, name))

    def of_visit(self, name: str) -> Scope:
        return ((self.node, self.visit, name),) if self.effect is None else self.effect.scope_of(name)

    def entry(self, scope: Scope) -> str:
        """What tells a step, map or chain from others of this visit."""
        within = scope[0 if self.effect is None else len(self.effect.scope) :]
        return f"step {within[0][2]}" if len(within) == 1 else f"step {within[-1][2]!r} of item {within[1:]!r}"

    def open(self, name: str, cell: StoredValue, keep: bool = False) -> Any:
        """A copy of a step's result. Damage is noted, as the node may catch the error and go on without it."""
        try:
            value, _ = opened(name, cell)
        except TauError as error:  # not what the handler of a signal raises
            if self.effect is not None:
                begun(self.effect.state).damage = error
            raise
        if not keep and type(cell.whole) is Blobs and cell.change is None:
            self.let_go(cell)
        return value

    def let_go(self, cell: StoredValue) -> None:
        """Keep no encoding of what is stored; it is read again where it is needed."""
        if self.journal is not None:
            cell.fetch, cell.encoded, cell.atom = BlobLoader(self.journal.store, self.run_id), None, NO_ATOM

    def tell(self, type_: str, **data: Any) -> None:
        if self._emit is not None and not self._closed:
            attempt = self.effect.attempt if self.effect is not None else 0
            where = {"node": self.node, "visit": self.visit, "attempt": attempt}
            self._emit(type_, {**where, **data, "run_id": self.run_id})

    def saved(self) -> None:
        """Tell of checkpoints which were held back and are stored by now."""
        if self.commits is not None and (newest := self.commits.told()) and self._emit is not None:
            self._emit(CHECKPOINT_SAVE, {"node": newest, "run_id": self.run_id})
