"""Items: finished pieces of work inside a node, each on disk before the node goes on.

An item belongs to one visit of one node and has a name in it. Attempts share it, so that what finished before a crash
or a failure is not done again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tau.checks import checked_name
from tau.errors import (
    ArtifactError,
    ConfigError,
    CorruptCheckpointError,
    LeaseLostError,
    StoreError,
    TauError,
)
from tau.events import CHECKPOINT_SAVE
from tau.graph.nodes import is_async
from tau.log.journal import Journal
from tau.log.loading import BlobLoader
from tau.log.records import Item, Planned, Scope
from tau.node.current import RunNode, item_here, too_late
from tau.node.generators import Generators
from tau.node.kept_state import STATE, kept_cell, refuse_outside, restore, stored_of
from tau.node.own_copies import called, called_async
from tau.node.pauses import Asked
from tau.node.step import Step, both
from tau.node.step_commits import StepCommits
from tau.node.step_results import cell_of, no_awaitable, opened
from tau.node.unawaited import Unawaited
from tau.state import State, begun, raw
from tau.stores.artifact_content import wrong_with
from tau.stores.artifact_files import AttemptFiles, checked_file_name
from tau.values.stored import NO_ATOM, Blobs, StoredValue
from tau.values.types.artifact import Artifact

_ARTIFACT: Final = "artifact"
_NAMES_FILES: Final = 1 << 20  # values longer than this are looked into for no artifact


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
        self._place = place
        self._began = journal.position if journal is not None else 0
        self._files: AttemptFiles | None = None
        self._made: list[Artifact] = []
        self._any_resumed = False
        self.commits = StepCommits(journal, self.node) if journal is not None else None
        """What stores them, unless nothing is stored."""
        self._generators = Generators()
        self._names: dict[str, object] = {}
        self.unawaited = Unawaited()
        self.asked = Asked(self)
        self._lock = threading.RLock()  # a signal handler may ask for a step, too
        self._closed = False

    def step(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """See `Context.step`."""
        checked_name("the name of a step", name)
        if not callable(function):
            raise ConfigError(f"step {name!r}: expected a function, found {type(function).__name__}: {function!r:.80}")
        step, commits = Step(self, name), self.commits
        key = self.entry(step.scope)
        if self.journal is not None:
            self._generators.check(key.removeprefix("step "), function, args, kwargs)
        if is_async(function):
            coroutine = self._awaited(step, function, args, kwargs)
            self.unawaited.add(step, name, coroutine)
            return coroutine
        try:
            step.begin(key)
            if not step.resumed:
                step.take(no_awaitable(self.node, name, called(self, name, function, args, kwargs)))
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
        key, commits = self.entry(step.scope), self.commits
        cancelled: BaseException | None = None
        try:
            step.begin(key)
            if not step.resumed:
                cancelled = await step.take_async(await called_async(self, step.name, function, args, kwargs))
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

    @contextmanager
    def artifact(self, name: str, directory: bool, keep_last: int | None) -> Iterator[Path]:
        """See `Context.artifact`."""
        checked_file_name(name)
        if keep_last is not None and (type(keep_last) is not int or keep_last < 1):
            raise ConfigError(f"artifact {name!r}: keep_last is a number of visits from 1, or None, not {keep_last!r}")
        files = self._files_for(name)
        key, made = f"artifact {name}", list[Artifact]()
        replaced: StoredValue | None = None
        try:
            self.enter(key, name, made)
            replaced = self.find(self.of_visit(name), _ARTIFACT)
            with files.writing(name, directory, made) as path:
                yield path
                if self._closed:
                    raise too_late(self.node)
            if self.commits is not None:
                cell = cell_of(self.node, name, made[0])
                record = Item(scope=self.of_visit(name), name=name, key=_ARTIFACT, value=cell.change)
                self.commits.commit(record, cell)
                self.saved()
        except BaseException as error:
            if made and isinstance(error, LeaseLostError):  # nothing will ever refer to it
                files.discard(made[0])
            if key in self._names and self._names[key] is made:
                del self._names[key]
            raise
        self._made += made
        if replaced is not None:
            files.discard(replaced.open()[0])
        if keep_last is not None and self.journal is not None:
            with suppress(CorruptCheckpointError, StoreError):  # what cannot be read may name any of them
                files.prune(name, keep_last, self._named_in_state())

    def _files_for(self, name: str) -> AttemptFiles:
        """What makes the artifacts of this attempt, all of them below the position at which it began."""
        with self._lock:
            if self._files is None:
                place = self._place()
                if place is None:
                    raise ConfigError(
                        f"there is no place for the artifact {name!r}: give the graph a store on disk, as in "
                        "store='sqlite:///runs.db', or name a directory with CheckpointConfig(artifacts=...)"
                    )
                self._files = AttemptFiles(
                    place,
                    self.run_id,
                    self.node if self.effect is None else self.effect.place,
                    visit=self.visit,
                    position=self._began,
                    kept=self._older_artifacts,
                )
            return self._files

    def _named_in_state(self) -> list[bytes]:
        """The encodings in which the state may name artifacts: as the node was given it, which is what is stored."""
        given = raw(stored_of(self.effect)).values() if self.effect is not None else ()
        return [cell.data() for cell in given if isinstance(cell, StoredValue) and cell.size <= _NAMES_FILES]

    def _older_artifacts(self) -> list[bytes]:
        """The encodings of what is finished in this visit and may name artifacts."""
        items = [*self.journal.items.single.items()] if self.journal is not None else []
        return [cell.data() for (_, key), cell in items if key == _ARTIFACT]

    def with_artifacts(self, result: Any) -> Any:
        """What a node returned, with the artifacts it made, or that steps which were not run again had made.

        Raises `ArtifactError` where one of them was altered since.
        """
        made = {}
        if self._any_resumed and self.journal is not None:
            *here, (*visit, _) = self.of_visit("")
            for scope, key in [*self.journal.items.single]:
                cell = self.journal.item(scope, key)
                if key == _ARTIFACT and scope[:-1] == (*here,) and scope[-1][:2] == (*visit,) and cell is not None:
                    made[scope[-1][2]] = cell.open()[0]
        made.update((artifact.name, artifact) for artifact in self._made)
        if not made or not (result is None or isinstance(result, Mapping)):
            return result
        for artifact in made.values():
            if isinstance(result, State) or artifact.name not in (result or ()):
                self._look_at(artifact)
        if isinstance(result, State):
            return result.merge(made)
        return {**made, **(result or {})}

    def _look_at(self, artifact: Artifact) -> None:
        """Raise `ArtifactError` where it was altered since its block ended."""
        wrong = self._files.wrong_with(artifact) if self._files is not None else wrong_with(artifact)
        if wrong:
            raise ArtifactError(
                f"node {self.node!r} made the artifact {artifact.name!r}, which {wrong} now that the node has ended: "
                f"{artifact.path}; write all of it within the block, and close there whatever writes to it (one that a "
                "step made is made anew by a resume with on_change='redo')",
                path=str(artifact.path),
                node=self.node,
                run_id=self.run_id,
            )

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

    def enter(self, key: str, name: str, by: object) -> None:
        """A name is for one item of a visit; the ``key`` is its kind and name. What fails must give it back."""
        with self._lock:
            if self._closed:
                raise too_late(self.node)
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
        self._any_resumed = True

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
