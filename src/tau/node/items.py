"""Items: the finished pieces of a map or a chain inside a node, each on disk as soon as it is done.

An item belongs to one visit and to the map or chain in it, and is known there by a key, not by its place. So an attempt
that is given the items in another order finds what an earlier one has done.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from tau.errors import ConfigError, UnserializableError
from tau.log.records import Item, Scope
from tau.node.current import RunNode
from tau.node.step_results import cell_of
from tau.node.steps import StepRunner
from tau.values import Refused, decode, encode, is_atom
from tau.values.stored import StoredValue, digest

ITEM: Final = "item "
"""Before each key, so that it is never that of an artifact or a saved state of the same name."""


class _Here(NamedTuple):
    """The item that the code here belongs to: its visit, the map or chain it is of, and its key."""

    effect: RunNode | None
    scope: Scope
    key: str


_here: ContextVar[_Here | None] = ContextVar("tau_item", default=None)


class Items:
    """The items of one map or chain in a visit. Thread-safe. A ``with`` block, at whose end the name may be
    given to another, if the block raised.

    Raises `ConfigError` for a name that something in this visit has already, `TauError` if the visit has ended.
    """

    def __init__(self, runner: StepRunner, name: str) -> None:
        self._runner, self._name = runner, name
        here = _here.get()
        if here is None or here.effect is not runner.effect:
            self._scope, self._entry = runner.scope(name), f"step {name}"
        else:  # inside an item, whose other items may have one of this name too
            self._scope = (*here.scope, (here.key, 0, name))
            self._entry = f"step {self._scope!r}"

    def __enter__(self) -> Items:
        self._runner.enter(self._entry, self._name, self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._runner.give_back(self._entry, self)

    def do(self, key: str, function: Callable[..., Any], *args: Any) -> Any:
        """What the function returns, or returned in an earlier attempt; a copy, as a resume would give it. It is stored
        when this returns. Raises what the function raises, and as `Context.step` where it cannot be stored."""
        runner, record = self._runner, None
        cell = self._found(key)
        if cell is None:
            began = runner.now()
            token = _here.set(_Here(runner.effect, self._scope, key))
            try:
                value = function(*args)
            finally:
                _here.reset(token)
            record, cell = self._made(key, value, began)
        if cell.change is not None:
            runner.commit(record, cell)
        return runner.open(self._name, cell)

    async def do_async(self, key: str, function: Callable[..., Any], *args: Any) -> Any:
        """The same for a function that returns what is to be awaited."""
        runner, record = self._runner, None
        cell = self._found(key)
        if cell is None:
            began = runner.now()
            token = _here.set(_Here(runner.effect, self._scope, key))
            try:
                value = await function(*args)
            finally:
                _here.reset(token)
            record, cell = self._made(key, value, began)
        if cell.change is not None:
            await runner.commit_async(record, cell)
        return runner.open(self._name, cell)

    def _found(self, key: str) -> StoredValue | None:
        journal = self._runner.journal
        cell = None if journal is None else journal.item(self._scope, ITEM + key)
        if cell is not None:
            self._runner.spared()
        return cell

    def _made(self, key: str, value: Any, began: float) -> tuple[Item, StoredValue]:
        runner = self._runner
        cell = cell_of(runner.node, f"{self._name}[{key}]", value)
        seconds = max(0.0, runner.now() - began)
        return Item(scope=self._scope, name=self._name, key=ITEM + key, value=cell.change, seconds=seconds), cell


class Keys:
    """Names items by what they are: the digest of their encoding, and a count for those that are equal; or, with
    ``given``, by what that returns. Not thread-safe."""

    def __init__(self, given: Callable[[Any], Any] | None = None) -> None:
        self._given = given
        self._seen: dict[str, int] = {}

    def of(self, item: Any) -> tuple[str, bytes | None]:
        """The key of the next item, and its encoding, which is ``None`` with ``given``.

        Raises `UnserializableError` for an item that cannot be encoded, `ConfigError` for a given key that is not text
        or a number, or that another item has.
        """
        if self._given is not None:
            return self._checked(self._given(item)), None
        data = encoded(item)
        key = digest(data).hex()
        count = self._seen[key] = self._seen.get(key, 0) + 1
        return (key if count == 1 else f"{key} {count}"), data

    def _checked(self, key: Any) -> str:
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise ConfigError(f"the key of an item is text or a whole number, found {type(key).__name__}: {key!r:.80}")
        found = f"{'s' if isinstance(key, str) else 'i'} {key}"
        if found in self._seen:
            raise ConfigError(f"two items have the key {key!r}; give each one of its own")
        self._seen[found] = 1
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
