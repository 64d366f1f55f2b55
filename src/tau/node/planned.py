"""The plan of a map or chain: what is called, and for which items. A later attempt at the visit that has finished items
to build on must find both as they were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec

from tau.errors import GraphChangedError
from tau.events import GRAPH_CHANGED
from tau.graph.changed_code import same_code
from tau.graph.fingerprint import CodeFingerprint, of_called
from tau.log.planned import SIZE, PlannedItems
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
        self._kept = 0 if self._before is None else len(self._before.finished)
        self._alike = 0  # how many of the first ones are as they were
        self._left: Counter[str | bytes] | None = None  # the others of before, once one is not
        self._unseen: set[str] = set()  # the keys of finished items, where it is not known what else was drawn
        self._all: list[str | bytes] = []  # what is to be written where something changed
        self._new: list[str | bytes] = []  # what is to be written
        self._drawn = 0
        self._written = len(self._before) if self._before is not None else 0
        self._changes: list[str] = []
        self._ended = False
        self.position = 0
        """Of the newest block."""

    def disown(self) -> None:
        """What was finished with a list that is refused in the end need not be there again."""
        if self._before is not None and len(self._before.finished) > self._kept:
            self._runner.note(Planned(scope=self._scope, name=self._name, body={"finished": self._kept}))

    def begin(self) -> None:
        """Raises `GraphChangedError` where another function is called for what has finished items."""
        if self._before is None:
            return
        if not self._before.complete and not self._in_order:
            self._unseen = set(self._before.finished)
        then = _function(self._before.functions.get("task"))
        if then is not None and same_code(then, _function(self._functions["task"]) or then) is False:
            self._differs(f"the function of {self._kind} {self._name!r} is not the one that its finished items are of")

    def see(self, entry: str | bytes, key: str) -> str:
        """An item was drawn, which stands so in a plan and is found by ``key``. What is wrong with it, where it was not
        planned."""
        index, before = self._drawn, self._before
        self._unseen.discard(key)
        self._drawn += 1
        if before is None:
            self._new.append(entry)
            return ""
        if self._runner.on_change == "continue":
            self._all.append(entry)
        if self._left is None and index < len(before) and before.entry(index) == entry:
            self._alike += 1
            return ""
        if self._left is None and index < len(before) and self._in_order:
            self._left = Counter()
            return f"item {index} is not what it was"
        if self._left is None:
            self._left = Counter(before.entry(number) for number in range(self._alike, len(before)))
        if self._left[entry]:
            self._left[entry] -= 1
            return ""
        if before.complete:
            return f"item {index}{_key(entry)} is new"
        self._new.append(entry)
        return ""

    def missing(self) -> str:
        """All items were drawn: which one is not there any more, if any."""
        before = self._before
        if before is None:
            return ""
        left = self._left
        if left is None:
            left = Counter(before.entry(number) for number in range(self._alike, len(before)))
        if not self._in_order:
            gone = next((entry for entry, count in left.items() if count), None)
            if gone is None and self._unseen:
                return "an item that is finished is missing"
            if gone is None:
                return ""
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
        at, self._new, new = self._written, [], self._new
        self._written += len(new)
        body: dict[str, Any] = {"at": at}
        if at == 0:
            body["functions"] = self._functions
        if end:
            body["end"] = True
        keys = tuple(entry for entry in new if isinstance(entry, str))
        if len(keys) < len(new):
            body["digests"] = b"".join(entry for entry in new if isinstance(entry, bytes))
        self.position = self._runner.note(Planned(scope=self._scope, name=self._name, keys=keys, body=body))

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


def entry_of(key: str, is_given: bool) -> str | bytes:
    """What stands for an item in a plan, by its key."""
    return key if is_given else bytes.fromhex(key[: 2 * SIZE])


def _key(entry: str | bytes) -> str:
    return f", {entry.partition(' ')[2]!r}," if isinstance(entry, str) else ""


def _function(stored: Any) -> CodeFingerprint | None:
    try:
        return msgspec.convert(stored, CodeFingerprint)
    except msgspec.ValidationError:
        return None
