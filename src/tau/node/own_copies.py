"""Copies of its own of what a step, or the function of a map or chain, is given of the state.

A call that a resume spares changes nothing. So one that is made changes nothing either, but by what it returns: it
works on copies, and one that it changed and does not return is an error, because the change would be lost.
"""

from __future__ import annotations

import dis
import types
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from tau.errors import ConfigError
from tau.late_imports import load_module
from tau.state import OpenedValues, State, begun, raw, view
from tau.values import Refused, decode, encode, is_atom
from tau.values.registry import ATOMS
from tau.values.stored import StoredValue
from tau.values.types.artifact import Artifact
from tau.values.weight import LARGE

if TYPE_CHECKING:
    from tau.log.committer import Committer
    from tau.node.current import RunNode
    from tau.node.steps import StepRunner

_NEVER: Final = frozenset({types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type, Artifact})
_INSIDE: Final = frozenset({list, dict, set})
_MANY: Final = 256
"""Lists, dicts and sets right inside of a list or dict of the state are known where it has no more elements."""


def called(runner: StepRunner, what: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """What the function of a step, ``what``, returns for these arguments; of what is the state's, it is given copies.

    Raises what the function raises, and `ConfigError` where it changed one in place and does not return it.
    """
    if runner.journal is None or runner.effect is None:
        return function(*args, **kwargs)
    own = OwnCopies(runner.effect)
    args, kwargs = own.arguments(args, kwargs)
    result = own.function(function)(*args, **kwargs)
    own.check(what, result)
    return result


async def called_async(runner: StepRunner, what: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """The same for an async function; what is large is copied and compared outside the loop."""
    if runner.journal is None or runner.effect is None:
        return await function(*args, **kwargs)
    own, committer = OwnCopies(runner.effect), runner.journal.store.committer
    if own.is_large:
        prepare = partial(_prepared, own, function, args, kwargs)
        function, (args, kwargs) = await _off_the_loop(committer, prepare)
    else:
        function, (args, kwargs) = _prepared(own, function, args, kwargs)
    result = await function(*args, **kwargs)
    await check_async(own, committer, what, result)
    return result


async def check_async(own: OwnCopies, committer: Committer, what: str, result: Any = None) -> None:
    """`OwnCopies.check`, outside the loop where something is large."""
    if own.is_large:
        await _off_the_loop(committer, partial(own.check, what, result))
    else:
        own.check(what, result)


def _prepared(own: OwnCopies, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    return own.function(function), own.arguments(args, kwargs)


async def _off_the_loop(committer: Committer, work: Callable[[], Any]) -> Any:
    load_module("tau.node.async_calls")
    from tau.node.async_calls import off_the_loop  # asyncio is only loaded where something needs it

    found, cancelled = await off_the_loop(committer, work)
    if cancelled is not None:
        raise cancelled
    return found


class OwnCopies:
    """What one call, or one map, is given of the state that a node of a stored run works on."""

    def __init__(self, effect: RunNode) -> None:
        self._effect, self._visit = effect, effect.state._visit
        self._node = effect.node.name
        self._known: dict[int, tuple[str, Any, StoredValue | None]] = {}
        self._known_of = 0
        self._made: dict[int, tuple[Any, Any]] = {}
        self.given: list[Copy] = []

    @property
    def is_large(self) -> bool:
        """Whether something that the visit has opened, or this has copied, takes long to encode."""
        opened = [] if self._visit is None else [*self._visit.opened.copy()]
        return any(cell.size > LARGE for cell in opened) or any(one.size > LARGE for one in self.given)

    def of(self, value: Any) -> Any:
        """A copy of a value of the state, a state whose values are copies, or what is neither as it is."""
        kind = type(value)
        if kind in ATOMS or kind in _NEVER:
            return value
        made = self._made.get(id(value))
        if made is None:
            made = self._made[id(value)] = (value, self._copied(value))
        return made[1]

    def apart(self, value: Any) -> Any:
        """A copy for one item of many; see `unchanged`."""
        kind = type(value)
        if kind in ATOMS or kind in _NEVER:
            return value
        if isinstance(value, State):
            return OwnCopies(self._effect).of(value)
        found = self._found(value)
        return value if found is None else _copy_of(found[1], found[2])[0]

    def path_of(self, value: Any) -> str:
        """Where in the state it is from; empty where that is not known."""
        found = None if type(value) in ATOMS else self._found(value)
        return "" if found is None else found[0]

    def unchanged(self, what: str, path: str, copy: Any, before: bytes, result: Any) -> Any:
        """The result of a call that was given this copy of an item, whose encoding was that ``before``. Raises
        `ConfigError` where it changed the copy and returned nothing: others may have worked with it."""
        if result is None and Copy(path, copy, before).is_changed():
            raise self._lost(what, path)
        return result

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return tuple(map(self.of, args)), {name: self.of(value) for name, value in kwargs.items()}

    def function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, bound to copies: as a partial, as a method, in its closure or its defaults."""
        kind = type(function)
        if kind is types.FunctionType:
            return self._rebound(function)  # type: ignore[arg-type]
        if isinstance(function, partial) and kind is partial:
            args, keywords = self.arguments(function.args, function.keywords)
            inner = self.function(function.func)
            same = inner is function.func and _same(args, function.args)
            same = same and _same(keywords.values(), function.keywords.values())
            return function if same else partial(inner, *args, **keywords)
        if kind is types.MethodType or kind is types.BuiltinMethodType:
            owner = getattr(function, "__self__", None)
            mine = self.of(owner)
            return function if mine is owner else getattr(mine, function.__name__)
        return function

    def check(self, what: str, result: Any = None) -> None:
        """Raises `ConfigError` for a copy that was changed and is not returned."""
        for one in self.given:
            if not _holds(result, one.value) and one.is_changed():
                raise self._lost(what, one.path)

    def _lost(self, what: str, path: str) -> ConfigError:
        return ConfigError(
            f"{what} of node {self._node!r} changed {path} in place. It was given a copy, because a resume, which does "
            "not call it again, would lose the change: return the value, and let the node set it, or change a copy"
        )

    def copied(self, path: str, value: Any, cell: StoredValue | None) -> Any:
        """A copy of a value of the state, as it is now."""
        copy, data = _copy_of(value, cell)
        if data is not None:
            self.given.append(Copy(path, copy, data))
        return copy

    def _copied(self, value: Any) -> Any:
        if isinstance(value, State):
            return self._state(value)
        found = self._found(value)
        return value if found is None else self.copied(*found)

    def _found(self, value: Any) -> tuple[str, Any, StoredValue | None] | None:
        """Where in the state it is from."""
        if self._visit is None:
            self._visit = self._effect.state._visit
        count = 0 if self._visit is None else len(self._visit.opened)
        if self._visit is not None and count != self._known_of:
            self._known, self._known_of = _known(self._visit), count
        return self._known.get(id(value))

    def _state(self, state: State) -> State:
        values = raw(state)
        if not any(type(value) is StoredValue for value in values.values()):
            return state
        visit = _OwnValues(parent=begun(state), copies=self)
        return view(values, state._run_id, state._node, state._time, visit)

    def _rebound(self, function: types.FunctionType) -> types.FunctionType:
        cells, defaults = function.__closure__ or (), function.__defaults__ or ()
        if not cells and not defaults:
            return function
        assigned = _assigned(function.__code__) if cells else frozenset()
        mine = [
            cell if name in assigned else self._cell(cell)
            for name, cell in zip(function.__code__.co_freevars, cells, strict=True)
        ]
        given = tuple(map(self.of, defaults))
        if _same(mine, cells) and _same(given, defaults):
            return function
        made = types.FunctionType(
            function.__code__, function.__globals__, function.__name__, given or None, tuple(mine) or None
        )
        made.__kwdefaults__, made.__qualname__ = function.__kwdefaults__, function.__qualname__
        made.__dict__.update(function.__dict__)
        return made

    def _cell(self, cell: types.CellType) -> types.CellType:
        try:
            content = cell.cell_contents
        except ValueError:  # a name without a value yet
            return cell
        mine = self.of(content)
        return cell if mine is content else types.CellType(mine)


class Copy(Struct, eq=False):
    """What was given away, where in the state it is from, and its encoding as it was then, or the cell that has it."""

    path: str
    value: Any
    before: bytes | StoredValue

    @property
    def size(self) -> int:
        return self.before.size if isinstance(self.before, StoredValue) else len(self.before)

    def is_changed(self) -> bool:
        before = self.before
        if isinstance(before, StoredValue):
            if before.is_shown_by(self.value):
                return False
            before = before.data()
        try:
            return encode(self.value) != before
        except Refused:
            return True


class _OwnValues(OpenedValues, eq=False, kw_only=True):
    """What is read of a state here: copies of what the visit has opened, as it is now; the rest is decoded anew."""

    parent: OpenedValues
    copies: OwnCopies

    def open(self, key: str, cell: StoredValue) -> Any:
        mine = self.opened.get(cell)
        if mine is not None:
            return mine[1]
        theirs, path = self.parent.opened.get(cell), f"state[{key!r}]"
        if theirs is not None:
            value = theirs[1] if type(theirs[1]) is Artifact else self.copies.copied(path, theirs[1], cell)
            return self.opened.setdefault(cell, (key, value))[1]
        try:
            value = OpenedValues.open(self, key, cell)
        finally:
            if self.damage is not None:
                self.parent.damage = self.damage
        if type(value) is Artifact:
            return self.parent.open(key, cell)  # the end of the node looks at it
        if cell in self.opened:
            self.copies.given.append(Copy(path, value, cell))
        return value


def _copy_of(value: Any, cell: StoredValue | None) -> tuple[Any, bytes | None]:
    """A copy and its encoding; ``None`` where nothing can be changed in it, or it cannot be stored, as the end of the
    node will say."""
    if cell is not None and cell.is_shown_by(value):
        return value, None
    try:
        data = encode(value)
    except Refused:
        return value, None
    copy = decode(data)
    return copy, None if is_atom(copy) else data


def _known(visit: OpenedValues) -> dict[int, tuple[str, Any, StoredValue | None]]:
    """The values that a visit has opened, and what is right inside of them, by their identity: where each belongs."""
    opened = [*visit.opened.copy().items()]
    known: dict[int, tuple[str, Any, StoredValue | None]] = {}
    for _, (key, value) in opened:
        inside = value.items() if type(value) is dict else enumerate(value) if type(value) is list else ()
        if inside and len(value) <= _MANY:
            for name, child in inside:
                if type(child) in _INSIDE:
                    known[id(child)] = (f"state[{key!r}][{name!r}]", child, None)
    for cell, (key, value) in opened:
        known[id(value)] = (f"state[{key!r}]", value, cell)
    return known


@lru_cache(maxsize=1024)
def _assigned(code: types.CodeType) -> frozenset[str]:
    """Names of its closure to which a function, or one in it, assigns."""
    names = {one.argval for one in dis.get_instructions(code) if one.opname in ("STORE_DEREF", "DELETE_DEREF")}
    inner = [_assigned(one) for one in code.co_consts if isinstance(one, types.CodeType)]
    return frozenset(names.union(*inner)) & frozenset(code.co_freevars)


def _same(some: Any, others: Any) -> bool:
    return all(one is other for one, other in zip(some, others, strict=True))


def _holds(result: Any, value: Any) -> bool:
    """Whether it is what was returned, or an element of that."""
    if type(result) is dict:
        return any(one is value for one in result.values())
    return result is value or (type(result) in (list, tuple) and any(one is value for one in result))
