"""The plan of a map or chain: what is called, and for which items. A later attempt at the visit that has finished items
to build on must find both as they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from tau.errors import GraphChangedError
from tau.events import GRAPH_CHANGED
from tau.graph.changed_code import same_code
from tau.graph.fingerprint import CodeFingerprint, of_called
from tau.log.digests import SIZE, Counts, name_of
from tau.log.planned import PlannedItems
from tau.log.records import Planned, Scope
from tau.node.steps import StepRunner

_BLOCK: Final = 256
"""How many items are drawn before the next block of a plan is written. Of fewer only the finished ones are known."""


class Plan:
    """The items of one map or chain as they are drawn, beside those that an earlier attempt had planned.

    Kept by the thread that draws. ``in_order``: an item of another place is another item.
    """

    def __init__(
        self, runner: StepRunner, scope: Scope, kind: str, function: Callable[..., Any], *, in_order: bool = False
    ) -> None:
        self._runner, self._scope, self._in_order = runner, scope, in_order
        self._kind, self._name = kind, scope[-1][2]
        self._functions = {"task": msgspec.to_builtins(of_called(function))}
        before = runner.journal.plans.get(scope) if runner.journal is not None else None
        self._before: PlannedItems | None = before if before is not None and before.finished else None
        self._kept = 0 if self._before is None else self._before.finished_count
        self._alike = 0  # how many of the first ones are as they were
        self._left: Counts | None = None  # the others of before, once one is not
        self._unseen = Counts()  # the finished items, where it is not known what else was drawn
        self._all = PlannedItems()  # what is to be written where something changed
        self._new = PlannedItems()  # what is to be written
        self._drawn = 0
        self._written = len(self._before) if self._before is not None else 0
        self._changes: list[str] = []
        self._ended = False
        self.position = 0
        """Of the newest block."""

    def disown(self) -> None:
        """What was finished with a list that is refused in the end need not be there again."""
        if self._before is not None and self._before.finished_count > self._kept:
            self._runner.note(Planned(scope=self._scope, name=self._name, body={"finished": self._kept}))

    def begin(self) -> None:
        """Raises `GraphChangedError` where another function is called for what has finished items."""
        if self._before is None:
            return
        if not self._before.complete and not self._in_order:
            self._unseen = _each_once(self._before.finished)
        then = _function(self._before.functions.get("task"))
        if then is not None and same_code(then, _function(self._functions["task"]) or then) is False:
            self._differs(f"the function of {self._kind} {self._name!r} is not the one that its finished items are of")

    def see(self, entry: str | bytes, key: str) -> str:
        """An item was drawn, which stands so in a plan and is found by ``key``. What is wrong with it, where it was not
        planned."""
        index, before = self._drawn, self._before
        if self._unseen.total:
            self._unseen.take(name_of(key))
        self._drawn += 1
        if before is None:
            self._new.add(entry)
            return ""
        if self._runner.on_change == "continue":
            self._all.add(entry)
        if self._left is None and index < len(before) and before.entry(index) == entry:
            self._alike += 1
            return ""
        if self._left is None and index < len(before) and self._in_order:
            self._left = Counts()
            return f"item {index} is not what it was"
        if self._left is None:
            self._left = _counted(before, self._alike)
        if self._left.take(_name(entry)):
            return ""
        if before.complete:
            return f"item {index}{_key(entry)} is new"
        self._new.add(entry)
        return ""

    def missing(self) -> str:
        """All items were drawn: which one is not there any more, if any."""
        before = self._before
        if before is None:
            return ""
        if not self._in_order:
            left = _counted(before, self._alike) if self._left is None else self._left
            if not left.total:
                return "an item that is finished is missing" if self._unseen.total else ""
            index = next(number for number in range(self._alike, len(before)) if left[_name(before.entry(number))])
            gone = before.entry(index)
            index = next(number for number in range(len(before)) if before.entry(number) == gone)
        elif self._drawn < len(before):
            index, gone = self._drawn, before.entry(self._drawn)
        else:
            return ""
        return f"item {index} of before{_key(gone)} is missing"

    def check(self, *found: str) -> None:
        """Raises `GraphChangedError` where something was found, unless the list is to be taken as it is now."""
        changes = [one for one in found if one]
        if changes:
            self._differs(f"the items of {self._kind} {self._name!r} are not what they were: {', and '.join(changes)}")

    def begun(self) -> None:
        """To be called before the first item begins: what is not written is."""
        if not self._ended and (self._before is None or (self._new and self._left is None)):
            self._write()

    def draw(self, entry: str | bytes, key: str) -> None:
        """`see`; raises `GraphChangedError` for what is wrong."""
        self.check(self.see(entry, key))
        if (
            len(self._new) >= (1 if self._in_order else _BLOCK) and self._left is None
        ):  # else it may be a list that is refused in the end
            self._write()

    def end(self) -> None:
        """All items were drawn, and are as they were or accepted."""
        if self._ended:
            return
        self._ended = True
        if self._changes:
            self._before, self._new, self._written = None, self._all, 0
        if self._before is None or self._new or not self._before.complete:
            self._write(end=True)

    def _write(self, end: bool = False) -> None:
        """Write a block; the first one says what is called."""
        at, self._new, new = self._written, PlannedItems(), self._new
        self._written += len(new)
        body: dict[str, Any] = {"at": at}
        if at == 0:
            body["functions"] = self._functions
        if end:
            body["end"] = True
        if new.digests:
            body["digests"] = bytes(new.digests)
        record = Planned(scope=self._scope, name=self._name, keys=tuple(new.keys), body=body)
        self.position = self._runner.note(record)

    def _differs(self, text: str) -> None:
        runner = self._runner
        if runner.on_change == "continue":
            self._changes.append(text)
            runner.tell(GRAPH_CHANGED, changes=[text], on_change="continue")
            return
        ways = (
            "on_change='continue' keeps what is finished and takes this as it is now",
            "on_change='redo' drops the finished steps and items of this visit, and its files, and does them anew",
        )
        raise GraphChangedError(
            f"node {runner.node!r} of run {runner.run_id!r} cannot go on: {text}\nWhat to do: "
            + "; or ".join(f"graph.resume({runner.run_id!r}, {way.replace(' ', ') ', 1)}" for way in ways),
            run_id=runner.run_id,
            changes=(text,),
            ways=ways,
        )


def _name(entry: str | bytes) -> bytes:
    return name_of(entry) if isinstance(entry, str) else entry


def _counted(before: PlannedItems, start: int) -> Counts:
    """How often each item is planned from that place on."""
    counts = Counts()
    for number in range(start, len(before)):
        counts.add(_name(before.entry(number)))
    return counts


def _each_once(joined: bytearray) -> Counts:
    counts = Counts()
    for at in range(0, len(joined), SIZE):
        if not counts[name := bytes(joined[at : at + SIZE])]:
            counts.add(name)
    return counts


def _key(entry: str | bytes) -> str:
    return f", {entry.partition(' ')[2]!r}," if isinstance(entry, str) else ""


def _function(stored: Any) -> CodeFingerprint | None:
    try:
        return msgspec.convert(stored, CodeFingerprint)
    except msgspec.ValidationError:
        return None
