"""The log of the run that another one replays: what it has finished and was answered, in all visits.

A replayed run is answered from it by scope and key, so that nothing in it is done, asked or paid for again. What is
found is stored in the run itself; the parent is only needed until that has ended.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from tau.errors import ConfigError, CorruptCheckpointError, ReplayError
from tau.log.digests import CALL, read_call
from tau.log.items import FinishedItems
from tau.log.loading import BlobLoader, emptied, not_found
from tau.log.pauses import PauseState
from tau.log.records import Admitted, Answer, AnyRecord, CheckpointRecord, Claimed, Item, Scope
from tau.log.replay import Replay
from tau.stores.contract import Store
from tau.values.stored import StoredValue

Missing = Literal["error", "call"]
"""What becomes of a call that the parent has not made: an error, or it is made."""

MISSING: Final = ("error", "call")


class Answered(Struct):
    """What a question was answered, and what was changed in the state with it."""

    value: StoredValue
    changed: Mapping[str, StoredValue]


class ParentLog:
    """What a run is answered that replays ``run_id``; ``missing`` is what becomes of what is not found.

    It is read once, as it is then, and is only read afterwards, by any threads. Raises `CheckpointNotFoundError` for a
    run that the store does not hold any more, `ConfigError` for one of which too little is left, and
    `CorruptCheckpointError` for one that is damaged.
    """

    def __init__(self, store: Store, run_id: str, missing: Missing = "error") -> None:
        self.run_id = run_id
        self.missing = missing
        self.items = FinishedItems(BlobLoader(store, run_id))
        self.first = 0
        """The position of its first record."""
        self._answers: dict[tuple[Scope, str], Answered] = {}
        self._numbers: dict[tuple[Scope, str], list[int]] = {}
        self._bodies: dict[tuple[Scope, str], dict[str, Any]] = {}
        self._begun: set[tuple[Scope, str]] = set()
        self._read(store)

    def item(self, scope: Scope, key: str) -> StoredValue | None:
        """The result of what is finished there."""
        return self.items.get((scope, key))

    def body(self, scope: Scope, key: str) -> dict[str, Any]:
        """The body of an item of a run that takes this one from here: what is told of it, and that it is replayed."""
        return {**self._bodies.get((scope, key), {}), "replayed": True}

    def numbers(self, scope: Scope, digest: str) -> list[int]:
        """The numbers of the equal calls that were answered there, lowest first."""
        return self._numbers.get((scope, digest), [])

    def answer(self, scope: Scope, name: str) -> Answered | None:
        """What a question was answered that belongs there."""
        return self._answers.get((scope, name))

    def artifacts(self, scope: Scope, key: str) -> list[StoredValue]:
        """The items of that key, that of artifacts, of a visit; of ``scope`` the last name does not count."""
        *around, (node, visit, _) = scope
        found = [*self.items.single.items()]
        return [
            cell
            for (one, name), cell in found
            if name == key and one[:-1] == (*around,) and one[-1][:2] == (node, visit)
        ]

    def check(self, what: str, where: str, scope: Scope, key: str = "") -> None:
        """Raises `ReplayError` for what was not found and is not to be made. A step or item that has journaled calls
        in it is no call itself: it is done, and they are answered."""
        if self.missing == "error" and (scope, key) not in self._begun:
            raise not_made(self.run_id, what, where)

    def _read(self, store: Store) -> None:
        summary = store.summary(self.run_id)
        if summary is None or summary.status == "deleted":
            raise not_found(self.run_id, store)
        if summary.base == 0:
            raise emptied(self.run_id, summary.status, summary.updated)
        replay = Replay(self.run_id, BlobLoader(store, self.run_id))
        for position, data in store.scan(self.run_id):
            pauses = {**replay.pauses} if replay.pauses else {}
            record = replay.add(position, data)
            if record is None:
                continue
            if isinstance(record, Admitted):
                self._begin(position)
            self._take(record, replay, pauses)
        if replay.damage:
            raise CorruptCheckpointError(
                f"run {self.run_id!r} cannot be replayed, as a part of its log is lost: {replay.damage}",
                run_id=self.run_id,
            )
        if not self.first:
            raise ConfigError(
                f"run {self.run_id!r} cannot be replayed: its log does not begin with its input, as what lay before "
                "was dropped (tau gc --trim); replay a run whose history is whole"
            )

    def _begin(self, position: int) -> None:
        if self.first:
            raise ConfigError(
                f"run {self.run_id!r} cannot be replayed: its state was replaced by hand at entry {position}, which "
                "its nodes would not do again; fork it there instead"
            )
        self.first = position

    def _take(self, record: AnyRecord, replay: Replay, pauses: Mapping[str, PauseState]) -> None:
        if isinstance(record, Item):
            cell = replay.items.get((record.scope, record.key))
            if cell is not None:
                self.items[record.scope, record.key] = cell
                self._note(record)
        elif isinstance(record, Claimed) and record.on_change == "redo":
            visit = _visit_in_flight(replay)
            self.items.drop(lambda scope: scope[0][:2] == visit)
        elif isinstance(record, Answer):
            self._answered(record, replay)
        elif isinstance(record, CheckpointRecord):
            self._took_defaults(record, pauses)

    def _note(self, record: Item) -> None:
        if not record.key.startswith(CALL):
            return
        name, number = read_call(record.key)
        numbers = self._numbers.setdefault((record.scope, name), [])
        if number not in numbers:
            insort(numbers, number)
        if record.body:
            self._bodies[record.scope, record.key] = record.body
        scope = record.scope
        self._begun.update((scope[:at], scope[at][0]) for at in range(1, len(scope)) if scope[at][1] == 0)

    def _answered(self, record: Answer, replay: Replay) -> None:
        state = replay.pauses.get(record.name)
        if state is not None and state.answer is not None:
            scope = state.scope or ((*_visit_in_flight(replay), state.name),)
            self._answers[scope, state.name] = Answered(
                state.answer, {key: replay.values[key] for key in state.changed}
            )

    def _took_defaults(self, record: CheckpointRecord, pauses: Mapping[str, PauseState]) -> None:
        """What was not answered in time, by a visit that has ended: it went on with the defaults."""
        visit = (record.node, record.visit)
        for state in pauses.values():
            scope = state.scope or ((*visit, state.name),)
            depth = len(record.scope)
            mine = scope[:depth] == record.scope and len(scope) > depth and scope[depth][:2] == visit
            if mine and state.answer is None and state.default is not None:
                self._answers[scope, state.name] = Answered(state.default, {})


def _visit_in_flight(replay: Replay) -> tuple[str, int]:
    progress = replay.progress
    node = (progress.next if progress is not None else None) or ""
    return node, (progress.visits.get(node, 0) if progress is not None else 0) + 1


def not_made(run_id: str, what: str, where: str) -> ReplayError:
    """Why a replay goes no further: it would have to do what the run that it replays has not done."""
    return ReplayError(
        f"{what} of {where} is not in the log of run {run_id!r}, which is replayed, so nothing answers it",
        hint="replay it with missing='call' to have what is not found called and asked for, or take back what changed",
        parent=run_id,
        what=what,
    )
