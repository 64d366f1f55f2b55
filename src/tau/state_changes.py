"""What a visit changed: what it returned, and what it changed in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tau.errors import LimitExceededError, UnserializableError
from tau.schema.fields import Misfit
from tau.state import State, raw
from tau.state_names import check_key
from tau.values.stored import StoredValue, make
from tau.values.types.artifact import Artifact

if TYPE_CHECKING:
    from tau.schema.schema import Schema


class Fitted(dict[str, Any]):
    """Changes of which those under the keys ``done`` were made by validation: it is not to convert them again."""

    __slots__ = ("done",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.done: frozenset[str] = frozenset()


def collect(
    cells: Mapping[str, StoredValue],
    given: State,
    result: State | Mapping[str, Any] | None,
    node: str,
    schema: Schema | None = None,
) -> tuple[dict[str, StoredValue], list[str]]:
    """What a visit changed: new cells by key, and the keys it removed.

    ``given`` is the state the node worked on, ``result`` what it returned. Values it changed in place count as set.
    Raises `UnserializableError`, `LimitExceededError`, `SchemaError`, or the damage that the visit met.
    """
    visit = given._visit
    if visit is not None and visit.damage is not None:
        raise visit.damage
    removed: list[str] = []
    if result is None:
        was_set: Mapping[str, Any] = {}
    elif type(result) is dict:  # the usual one first: asking an abstract class is slow
        was_set = result
    elif isinstance(result, State):
        data = result._data
        was_set = {key: result[key] for key, value in data.items() if cells.get(key, cells) is not value}
        removed = [key for key in cells if key not in data]
    else:
        was_set = result
    fitting = None if schema is None else _Fitting(schema, was_set)
    put = make if fitting is None else fitting.make
    changed = {}
    for name, value in was_set.items():
        previous = cells.get(name)
        key = name if previous is not None and type(name) is str else check_key(name, node)
        cell = put(key, value, previous, node)
        if cell is not None:
            changed[key] = cell
    if visit is not None:
        for previous, (key, value) in visit.opened.copy().items():  # a thread left behind may go on reading
            if cells.get(key) is previous and key not in was_set and key not in removed:
                cell = put(key, value, previous, node)
                if cell is not None:
                    changed[key] = cell
    if fitting is not None:
        fitting.end(removed, node)
    return changed, removed


class _Fitting:
    """`make` for what fits a schema; what does not is collected and told together."""

    def __init__(self, schema: Schema, was_set: Any) -> None:
        self.schema = schema
        self.done: frozenset[str] = was_set.done if isinstance(was_set, Fitted) else frozenset()
        self.wrong: list[tuple[str, Misfit]] = []

    def make(self, key: str, value: Any, previous: StoredValue | None, node: str | None) -> StoredValue | None:
        """The cell of what validation makes of a value that changed; of one that did not nothing is asked."""
        cell = None
        if previous is not None:
            with suppress(UnserializableError, LimitExceededError):  # perhaps what validation makes of it can be stored
                cell = make(key, value, previous, node)
                if cell is None:
                    return None
        try:
            made = self.fitted(key, value)
        except Misfit as error:
            self.wrong.append((key, error))
            return None
        return cell if made is value and cell is not None else make(key, made, previous, node)

    def fitted(self, key: str, value: Any) -> Any:
        made = self.schema.fitted(key, value)
        return value if key in self.done else made

    def end(self, removed: Iterable[str], node: str) -> None:
        """Raise `SchemaError` if anything did not fit."""
        lost = [key for key in removed if (field := self.schema.fields.get(key)) is not None and field.required]
        self.wrong += [(key, Misfit("it is required, and was removed")) for key in lost]
        if self.wrong:
            raise self.schema.error(self.wrong, node)


def fitted_values(values: Mapping[str, Any], result: Any, node: str, schema: Schema) -> dict[str, Any]:
    """The values after a visit in a run without a store, in which nothing is noticed that is changed in place. Raises
    `SchemaError`."""
    whole = isinstance(result, State)
    was_set = raw(result) if whole else result
    fitting, made = _Fitting(schema, result), {} if whole else dict(values)
    for key, value in was_set.items():
        try:
            made[key] = value if values.get(key, fitting) is value else fitting.fitted(key, value)
        except Misfit as error:
            fitting.wrong.append((key, error))
    fitting.end([key for key in values if key not in was_set] if whole else (), node)
    return made


def artifacts_read(given: State, result: Any) -> list[Artifact]:
    """The artifacts that a visit read and that are in the state after it, as it is by what the node returned."""
    visit = given._visit
    if visit is None or not visit.artifacts:
        return []
    read = visit.artifacts
    if isinstance(result, State):
        after = [*result._data.values()]
        return [one for _, cell, one in read if any(value is cell or value is one for value in after)]
    changes = result if isinstance(result, Mapping) else {}
    return [one for key, _, one in read if key not in changes or any(value is one for value in changes.values())]


def changed_in_place(state: State) -> bool:
    """Whether a value that was read is no longer what the state holds. Raises as `collect`."""
    opened = state._visit.opened.items() if state._visit is not None else ()
    return any(make(key, value, cell, None) is not None for cell, (key, value) in opened)
