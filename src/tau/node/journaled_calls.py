"""Journaled calls: what a client was asked and answered inside a node, each answer on disk before the node goes on.

A call belongs to the innermost step, item or visit around it, and is known there by what was asked: its name and the
digest of its arguments. Answers to equal calls are interchangeable: each attempt takes those that are recorded, the
lowest number first, and only then is asked again.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct, field

from tau.checks import checked_name
from tau.errors import ConfigError, UnserializableError
from tau.events import CALL_CHANGED, CALL_COMPLETE, CALL_START
from tau.log.digests import CALL, read_call
from tau.log.records import Scope
from tau.node.current import item_here, step_here
from tau.node.step import Step
from tau.values import Refused, encode
from tau.values.stored import StoredValue, digest

if TYPE_CHECKING:
    from tau.node.steps import StepRunner


def journaled(
    items: StepRunner, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """See `Context.journal`."""
    checked_name("the name of a journaled call", name)
    if not callable(function):
        found = f"{type(function).__name__}: {function!r:.80}"
        raise ConfigError(f"journaled call {name!r}: expected a function, found {found}")
    call = JournaledCall(items, name, digest_of(items.node, name, args, kwargs))
    items.check_generators(f"{name} {call.digest[:8]}", function, args, kwargs, kind="call")
    return items.finish(call, function, args, kwargs)


class JournaledCall(Step):
    """One call. ``digest`` is that of what was asked."""

    kind: ClassVar[str] = "call"
    verb: ClassVar[str] = "journal"
    starts: ClassVar[str] = CALL_START
    completes: ClassVar[str] = CALL_COMPLETE

    def __init__(self, items: StepRunner, name: str, digest: str) -> None:
        super().__init__(items, name, scope_of_call(items, name))
        self.digest = digest
        self.number = 0

    def enter(self) -> StoredValue | None:
        items = self.items
        items.check_open()
        self.number, cell = calls_of(items).take(self.scope, self.digest)
        self.key = key_of(self.digest, self.number)
        return cell

    def is_recorded(self) -> bool:
        """Whether the answer is there that the next such call takes."""
        return calls_of(self.items).has(self.scope, self.digest)

    def take(self, value: Any) -> None:
        super().take(value)
        if self.record is not None:
            self.record.body = self.body(value)
        calls_of(self.items).made(self)

    def body(self, value: Any) -> dict[str, Any]:
        """What is stored beside an answer, to be shown: plain data."""
        return {}

    def end(self, error: BaseException | None = None) -> None:
        if error is not None and self.number:
            calls_of(self.items).give_back(self.scope, self.digest, self.number, recorded=self.cell is not None)
            self.number = 0
        super().end(error)


class _Equal(Struct):
    """Equal calls of one scope: the numbers of answers that are recorded, those of them that this attempt has not
    taken, and the highest one that it has given to a call without an answer; which of them only the run has that this
    one replays."""

    recorded: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    highest: int = 0
    of_parent: frozenset[int] = frozenset()
    is_merged: bool = False


class _Home(Struct):
    """The calls that belong to one step, item or visit: by name and digest; how many recorded answers are not taken."""

    equal: dict[tuple[str, str], _Equal] = field(default_factory=dict)
    left: int = 0
    is_told: bool = False


class Calls:
    """The journaled calls of one attempt at a visit: which of the recorded answers it has taken. Thread-safe."""

    def __init__(self, items: StepRunner) -> None:
        self._items = items
        self._homes: dict[Scope, _Home] = {}
        self._of_scopes: dict[Scope, _Home] = {}  # these have the name of a call, too
        self._parent = items.journal.parent if items.journal is not None else None
        found = items.journal.items.single if items.journal is not None else {}
        for scope, key in [*found]:
            if key.startswith(CALL):
                name, number = read_call(key)
                one = self._home(scope).equal.setdefault((scope[-1][2], name), _Equal())
                insort(one.recorded, number)
        for home in self._homes.values():
            _anew(home)

    def take(self, scope: Scope, name: str) -> tuple[int, StoredValue | None]:
        """The number of the next one of these equal calls, and the answer to it where that is recorded."""
        with self._items.lock:
            home = self._home(scope)
            one = home.equal.get((scope[-1][2], name))
            if one is None:
                one = home.equal[scope[-1][2], name] = _Equal()
            if self._parent is not None and not one.is_merged:
                _merge(one, self._parent.numbers(scope, name))
            while one.left:
                number = one.left.pop(0)
                home.left -= number not in one.of_parent
                key = key_of(name, number)
                cell = self._items.find(scope, key)
                if cell is not None or (number in one.of_parent and self._parent is not None):
                    return number, cell
            one.highest += 1
            while one.highest in one.recorded:
                one.highest += 1
            return one.highest, None

    def has(self, scope: Scope, name: str) -> bool:
        """Whether an answer to one of these equal calls is recorded and not taken."""
        with self._items.lock:
            one = self._home(scope).equal.get((scope[-1][2], name))
            if one is None or not one.left:
                return self._parent is not None and one is None and bool(self._parent.numbers(scope, name))
            return True

    def give_back(self, scope: Scope, name: str, number: int, *, recorded: bool) -> None:
        """It did not come to its end: the next one may have its answer, if there is one."""
        with self._items.lock:
            home = self._home(scope)
            one = home.equal.setdefault((scope[-1][2], name), _Equal())
            if recorded:
                _note(one.recorded, number)
                insort(one.left, number)
                home.left += number not in one.of_parent

    def made(self, call: JournaledCall) -> None:
        """It was answered by who was asked. Tells, once for each step, item or visit, that recorded answers are left
        which nobody asked for: what is asked has changed, so that it is paid again."""
        with self._items.lock:
            home = self._home(call.scope)
            left, is_told = home.left, home.is_told
            home.is_told = is_told or left > 0
            _note(home.equal.setdefault((call.scope[-1][2], call.digest), _Equal()).recorded, call.number)
        if left and not is_told:
            self._items.tell(CALL_CHANGED, call=call.name, recorded=left)

    def begin_anew(self, scope: Scope, key: str) -> None:
        """A step or an item is tried once more: the answers in it are there again."""
        home = self._homes.get((*scope, (key, 0, "")))
        if home is not None:
            with self._items.lock:
                _anew(home)

    def _home(self, scope: Scope) -> _Home:
        found = self._of_scopes.get(scope)
        if found is None:
            first, number, _ = scope[-1]
            place = (*scope[:-1], (first, number, ""))
            found = self._of_scopes[scope] = self._homes.setdefault(place, _Home())
        return found


def calls_of(items: StepRunner) -> Calls:
    """The calls of that attempt."""
    if items.calls is None:
        with items.lock:
            items.calls = items.calls or Calls(items)
    return items.calls


def _note(numbers: list[int], number: int) -> None:
    if number not in numbers:
        insort(numbers, number)


def _anew(home: _Home) -> None:
    for one in home.equal.values():
        one.left = [*one.recorded]
    home.left = sum(len(one.left) - len(one.of_parent) for one in home.equal.values())


def _merge(one: _Equal, numbers: list[int]) -> None:
    """What the run has that this one replays, beside what is recorded here."""
    one.is_merged = True
    one.of_parent = frozenset(number for number in numbers if number not in one.recorded)
    one.left = sorted({*one.left, *one.of_parent})
    one.recorded = sorted({*one.recorded, *one.of_parent})


def key_of(name: str, number: int) -> str:
    """The key of the item of that many equal calls."""
    return f"{CALL}{name}" if number == 1 else f"{CALL}{name} {number}"


def scope_of_call(items: StepRunner, name: str) -> Scope:
    """Where a call belongs: to the innermost step or item that the code here is of, else to the visit."""
    here, step = item_here.get(), step_here.get()
    if step is not None and step.effect is items.effect and step.item is here:
        return (*step.scope, (step.key, 0, name))
    return items.scope(name)


def digest_of(node: str, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """What tells a call with these arguments from others. Raises `UnserializableError` for one that cannot be
    encoded."""
    try:
        return digest(encode((args, dict(sorted(kwargs.items()))))).hex()
    except Refused as refused:
        raise UnserializableError(
            f"the journaled call {name!r} of node {node!r} cannot be told from others by an argument of type "
            f"{refused.type_name}, which cannot be encoded: {refused.reason}; bind what is not data to the function: "
            "functools.partial(ask, client), or use ctx.step, which is known by its name alone",
            node=node,
            path=f"argument{refused.path}",
            type_name=refused.type_name,
        ) from None
