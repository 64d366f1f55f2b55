"""`State`: what the nodes of a run work on."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, overload

from msgspec import Struct, field

from tau.errors import ConfigError, TauError
from tau.late_imports import load_module
from tau.redaction import is_secret
from tau.spelling import did_you_mean
from tau.state_names import check_key, check_run_id
from tau.values.equality import equal
from tau.values.plain_mappings import check_only_items
from tau.values.stored import NO_ATOM, StoredValue, make
from tau.values.types.artifact import Artifact

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # type checkers bring their own

    from tau.schema.schema import Schema

    Model_co = TypeVar("Model_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    Model_co = TypeVar("Model_co", covariant=True)

_beginning = threading.RLock()


class OpenedValues(Struct, eq=False):
    """The values that one visit of a node has opened, its artifacts also in a list, and the damage it met in doing so.

    Damage is kept because a node may catch the error and go on with something made up.
    """

    opened: dict[StoredValue, tuple[str, Any]] = field(default_factory=dict)
    artifacts: list[tuple[str, StoredValue, Artifact]] = field(default_factory=list)
    damage: Exception | None = None

    def open(self, key: str, cell: StoredValue) -> Any:
        opened = self.opened.get(cell)
        if opened is not None:
            return opened[1]
        try:
            value, shared = cell.open()
        except TauError as error:  # not what the handler of a signal raises
            self.damage = error
            raise
        if shared:
            return value
        mine = (key, value)
        first = self.opened.setdefault(cell, mine)  # of threads that read it at once all get what one of them made
        if first is mine and type(value) is Artifact:
            self.artifacts.append((key, cell, value))
        return first[1]


class State(Mapping[str, Any], Generic[Model_co]):
    """An immutable mapping of names to values, with the identity of its run.

    ``run_id`` names the run, ``checkpoint_node`` the last finished node (``None`` before the first), ``timestamp`` the
    UTC time of that. A new state has a new ``run_id`` unless one is given. Methods that change something return a new
    state and leave this one as it is.

    With checkpointing on, the values that a node reads are its own copies, the same object for the whole visit.

    Two states are equal when run id, names and values are; a state and another mapping, when names and values are.
    Values are compared in depth, as `key_equals` does. Comparing raises only for a damaged value.

    Raises `UnserializableError` for a key that is not text, `ConfigError` for ``data`` that is not a mapping of values
    and for a ``run_id`` that cannot be one. Reading
    a stored value raises `CorruptCheckpointError` if it is damaged, `UnsupportedFormatError` if it cannot be read here.

    >>> from tau import State
    >>> state = State({"dataset": "mauna-loa", "years": [1958, 2024]}, run_id="climate-1")
    >>> state["dataset"], state.run_id, state.checkpoint_node
    ('mauna-loa', 'climate-1', None)
    >>> longer = state.set("station", "MLO").merge({"unit": "ppm"}).drop("years")
    >>> dict(longer)
    {'dataset': 'mauna-loa', 'station': 'MLO', 'unit': 'ppm'}
    >>> state.clone() == State.from_bytes(state.to_bytes()) == State.from_json(state.to_json()) == state
    True
    >>> state.to_dict()["data"] == dict(state)
    True
    >>> dataset, years = state.require("dataset", "years")
    >>> state.get("station", "unknown")
    'unknown'
    """

    __slots__ = ("_data", "_image", "_node", "_run_id", "_schema", "_time", "_visit")

    _data: dict[str, Any]
    _run_id: str
    _node: str | None
    _time: float
    _visit: OpenedValues | None
    _image: Any
    _schema: Schema | None

    def __init__(self, data: Mapping[str, Any] | None = None, *, run_id: str | None = None) -> None:
        if data is not None:
            check_only_items("a state is made", data)
        values = dict(data) if data is not None else {}
        self._data = {check_key(key, None): value for key, value in values.items()}
        self._run_id = str(uuid.uuid4()) if run_id is None else check_run_id(run_id)
        self._node = None
        self._time = datetime.now(UTC).timestamp()
        self._visit = None
        self._image = None
        self._schema = None

    @property
    def run_id(self) -> str:
        return self._run_id

    @property
    def checkpoint_node(self) -> str | None:
        return self._node

    @property
    def timestamp(self) -> datetime:
        return datetime.fromtimestamp(self._time, UTC)

    @property
    def typed(self) -> Model_co:
        """This state as an instance of the class that was given as ``schema`` to the graph that returned it.

        Each use makes a new instance: rules over several fields run, single fields are not validated again. Where the
        state has no value, the class's default counts. Raises `SchemaError` if the state does not make an instance,
        `ConfigError` for a state that no graph with a schema returned.
        """
        if self._schema is None:
            raise ConfigError(
                "only a state that was returned by a graph with a schema is typed: StateGraph(name, schema=Model); a "
                "node gets an instance where its parameter is annotated with the class"
            )
        load_module("tau.schema.schema")
        from tau.schema.schema import Reader  # only loaded where there is a schema

        return Reader(self._schema, self._schema.known.cls).instance(self)  # type: ignore[no-any-return]

    def __getitem__(self, key: str) -> Any:
        try:
            value = self._data[key]
        except KeyError:
            near = did_you_mean(key, self._data)
            raise KeyError(f"{key!r} is not in the state; it holds {_names(self._data)}{near}") from None
        if type(value) is StoredValue:
            atom = value.atom  # read once: another thread may let go of it
            return atom if atom is not NO_ATOM else begun(self).open(key, value)
        return value

    def get(self, key: str, default: Any = None) -> Any:
        """The value under ``key``, or ``default`` if there is none. Raises only for a damaged value."""
        value = self._data.get(key, default)
        if type(value) is StoredValue:
            atom = value.atom  # read once: another thread may let go of it
            return atom if atom is not NO_ATOM else begun(self).open(key, value)
        return value

    @overload
    def require(self, key: str, /) -> Any: ...
    @overload
    def require(self, key: str, other: str, /, *keys: str) -> tuple[Any, ...]: ...
    def require(self, *keys: str) -> Any:
        """The values under these keys, as a tuple; for a single key, the value itself. Raises `KeyError`, which names
        all keys that are missing."""
        missing = [key for key in keys if key not in self._data]
        if missing:
            raise KeyError(f"the state lacks {_names(missing)}; it holds {_names(self._data)}")
        return self[keys[0]] if len(keys) == 1 else tuple(self[key] for key in keys)

    def __contains__(self, key: object) -> bool:
        return key in self._data

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    if not TYPE_CHECKING:  # a type checker refuses these by itself; without one, the error says what to do

        def __setitem__(self, key: Any, value: Any) -> None:
            raise TypeError(_not_in_place(key))

        def __delitem__(self, key: Any) -> None:
            raise TypeError(
                f"a key is removed from a state by returning it without: return state.drop({key!r}) from the node"
            )

        def __getattr__(self, name: str) -> Any:
            if name in _MUTATORS:
                raise AttributeError(_not_in_place("a"))
            if not name.startswith("_") and name in self._data:
                raise AttributeError(f"a value is read by its key: state[{name!r}]; {_not_in_place(name)}")
            raise AttributeError(f"a State has no attribute {name!r}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        if isinstance(other, State) and self._run_id != other._run_id:
            return False
        return self.keys() == other.keys() and all(equal(self[key], other[key]) for key in self)

    __hash__ = None  # type: ignore[assignment]

    def set(self, key: str, value: Any) -> State[Model_co]:
        """This state with ``key`` set to ``value``. Raises `UnserializableError` for a key that is not text."""
        return self._with({**self._data, check_key(key, None, "the state"): value})

    def merge(self, other: Mapping[str, Any]) -> State[Model_co]:
        """This state with all of ``other``, which wins; run id, node and time stay this state's. Raises
        `UnserializableError` for a key that is not text, `ConfigError` for what is not a mapping of values."""
        if type(other) is not dict:
            check_only_items("a state is merged", other)
        values = {check_key(key, None, "the state"): value for key, value in other.items()}
        return self._with({**self._data, **values})

    def drop(self, *keys: str) -> State[Model_co]:
        """This state without these keys; keys that it does not hold are ignored. Raises nothing."""
        return self._with({key: value for key, value in self._data.items() if key not in keys})

    def clone(self) -> State[Model_co]:
        """A separate, equal state. Raises nothing."""
        return self._with(dict(self._data))

    def checkpoint(self, store: Any) -> None:
        """Save this state in ``store``. Inside a node, on the run's own store, this saves what an interval held back
        and what was set or dropped so far: the next attempt at the node gets the state that was saved.

        Outside a node, this replaces what the store holds for this ``run_id``, whether that has finished or not: a
        resume goes on from here, from the node after ``checkpoint_node``. ``clone`` keeps the ``run_id``; to leave a
        finished run as it is, make another state, ``State(dict(state))``.

        ``store`` is what a graph takes: a store, one of your own, a URL, a path or a registered name. Raises
        `ConfigError` for what cannot be a store, `UnknownStoreError` for a name that is not registered,
        `RunOwnedError` if another owner works on the run, `UnserializableError` or `LimitExceededError` for a value
        that cannot be stored, `StoreError`, and `TauError` for a changed state in a predicate, between two nodes.

        >>> from tau import open_store
        >>> state.checkpoint("sqlite:///tau.db")
        >>> open_store("sqlite:///tau.db").load("climate-1") == state
        True
        """
        load_module("tau.stores.images")
        from tau.stores.images import save_in

        save_in(store, self)

    def to_bytes(self) -> bytes:
        """This state, with its bookkeeping, as bytes for a store of your own. Raises `UnserializableError`."""
        load_module("tau.stores.images")
        from tau.stores.images import state_to_bytes

        return state_to_bytes(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> State:
        """The state that `to_bytes` made. Raises `CorruptCheckpointError` or `UnsupportedFormatError`."""
        load_module("tau.stores.images")
        from tau.stores.images import state_from_bytes

        return state_from_bytes(data)

    def to_dict(self) -> dict[str, Any]:
        """This state as a plain dict: ``data``, a dict of its values, ``run_id``, ``checkpoint_node`` and
        ``timestamp``. ``dict(state)`` is the values alone. Raises only for a damaged value."""
        facts = {"run_id": self._run_id, "checkpoint_node": self._node, "timestamp": self.timestamp}
        return {"data": dict(self), **facts}

    def to_json(self) -> str:
        """This state as a JSON object with the keys of `to_dict`; the time is in ISO 8601. `from_json` gives an equal
        state back.

        Raises `UnserializableError` for a value that JSON cannot hold exactly, such as a tuple, an array or NaN; the
        message names its key and path. `to_bytes` holds all that a run can hold.
        """
        load_module("tau.values.json_form")
        from tau.values.json_form import to_json

        return to_json(self.to_dict())

    @classmethod
    def from_json(cls, text: str | bytes) -> State:
        """The state that `to_json` made. Of its keys only ``data`` must be there: a state without a ``run_id`` gets a
        new one, without a ``timestamp`` the present time.

        Raises `ConfigError` for text that is not JSON or not a state, and for keys that are unknown or given twice.
        """
        load_module("tau.values.json_form")
        from tau.values.json_form import from_json

        found = from_json(text)
        state = cls(found.data, run_id=found.run_id)
        state._node = found.checkpoint_node
        if found.timestamp is not None:
            state._time = found.timestamp.timestamp()
        return state

    def __repr__(self) -> str:
        return f"State(run_id={self._run_id!r}, checkpoint_node={self._node!r}, keys=[{_names(self._data)}])"

    def _repr_html_(self) -> str:
        """For notebooks: names, types and sizes, short values; showing a state reads and changes nothing in it."""
        load_module("tau.html")
        from tau.html import table, value

        opened = self._visit.opened if self._visit is not None else {}
        rows = []
        for key, stored in self._data.items():
            is_cell = type(stored) is StoredValue
            found = opened[stored][1] if is_cell and stored in opened else stored
            rows.append((key, *value(found, stored.size if is_cell else None, is_secret(key))))
        facts = {"after": self._node, "time": f"{self.timestamp:%Y-%m-%d %H:%M:%S} UTC"}
        return table(f"State of run {self._run_id}", ("key", "type", "stored", "value"), rows, facts)

    def _with(self, data: dict[str, Any]) -> State[Model_co]:
        made = view(data, self._run_id, self._node, self._time, begun(self))
        made._schema = self._schema
        return made


def view(data: dict[str, Any], run_id: str, node: str | None, time: float, visit: OpenedValues | None = None) -> State:
    """A state over these values and cells, without a check or copy."""
    state = State.__new__(State)
    state._data = data
    state._run_id = run_id
    state._node = node
    state._time = time
    state._visit = visit
    state._image = None
    state._schema = None
    return state


def begun(state: State) -> OpenedValues:
    """The visit that works on a state, which begins with the first read."""
    visit = state._visit
    if visit is None:
        with _beginning:
            visit = state._visit
            if visit is None:
                visit = state._visit = OpenedValues()
    return visit


def raw(state: State) -> dict[str, Any]:
    """What a state holds, cells unopened."""
    return state._data


def cells_of(values: Mapping[str, Any]) -> dict[str, StoredValue]:
    """Cells for the input of a run. Raises `UnserializableError` or `LimitExceededError`."""
    cells = {}
    for key in values:  # what a state has opened counts as it is now, changed in place or not
        cell = make(check_key(key, None), values[key], None, None)
        assert cell is not None
        cells[key] = cell
    return cells


_MUTATORS = frozenset({"update", "pop", "popitem", "setdefault", "clear"})


def _not_in_place(key: Any) -> str:
    return f"a key of a state is set by returning it: return {{{key!r}: ...}} from the node, or state.set({key!r}, ...)"


def _names(keys: Any) -> str:
    shown = [repr(key) for key in list(keys)[:20]]
    return ", ".join(shown) + (", ..." if len(keys) > 20 else "") if shown else "nothing"
