"""The steps of a chain in a node: each is stored as what it changed in the state of the chain."""

from __future__ import annotations

from typing import Any

from tau.errors import TauError
from tau.log.chained import StoredState, state_after
from tau.log.digests import ITEM
from tau.log.records import Item
from tau.node.current import RunNode
from tau.node.items import Items, copied, encoded
from tau.node.kept_state import stored_of
from tau.node.step_results import cell_of, opened
from tau.node.steps import StepRunner
from tau.state import OpenedValues, State, begun, cells_of, raw, view
from tau.state_changes import collect
from tau.state_names import check_key
from tau.values import decode
from tau.values.stored import Blobs, Grown, StoredValue, alone, make
from tau.values.types.artifact import Artifact
from tau.values.weight import is_large


class ChainItems(Items):
    """The steps of one chain in a visit, worked on one after the other."""

    kind = "chain"

    def __init__(self, runner: StepRunner, name: str) -> None:
        super().__init__(runner, name)
        self._initial: Any = None
        self._given: Any = None
        self._before: tuple[str, StoredValue | None] = "", None
        self._cells: dict[str, StoredValue] | None = None
        """Those of the newest state, where it is one."""

    def begin(self, initial: Any) -> tuple[Any, bytes]:
        """What the first step is given, and the encoding of what the chain begins with. Raises `UnserializableError`
        where that cannot be stored."""
        self._initial = initial
        if not isinstance(initial, State):
            data = encoded(initial)
            return copied(initial, data), data
        data = encoded((True, dict(initial)))
        self._cells = self._cells_of(initial)
        return self._view(self._cells), data

    def given(self, state: Any, *, apart: bool) -> Any:
        """The state for the next step; with ``apart``, somebody else is given it, too."""
        self._given = state
        if apart and isinstance(self._initial, State) and isinstance(state, State) and self._cells is not None:
            self._given = self._view(self._cells)
        elif apart:
            self._given = decode(encoded(state))
        return self._given

    def _cells_of(self, state: State) -> dict[str, StoredValue]:
        """Cells for the state as it is now; those of the run stay what they are, so that they cost nothing."""
        read = {} if state._visit is None else state._visit.opened.copy()
        cells: dict[str, StoredValue] = {}
        for key, value in raw(state).items():
            mine = type(value) is StoredValue and self._is_own(key, value)
            if mine and value not in read:
                cells[key] = value
                continue
            made = make(check_key(key, None), state[key], value if mine else None, self._runner.node)
            cells[key] = value if made is None else made
        return cells

    def _view(self, cells: dict[str, StoredValue]) -> State:
        first, effect = self._initial, self._runner.effect
        assert effect is not None
        state = view(dict(cells), first._run_id, first._node, first._time, _Read(effect=effect, name=self._name))
        state._schema = first._schema
        return state

    def _is_large(self, value: Any) -> bool:
        return any(map(is_large, raw(value).values())) if isinstance(value, State) else is_large(value)

    def _made(self, key: str, value: Any, began: float) -> tuple[Item, StoredValue]:
        after, before = self._before
        record = Item(scope=self._scope, name=self._name, key=ITEM + key)
        cell: StoredValue | None = None
        if isinstance(self._initial, State):
            is_state = isinstance(value, State)
            if is_state:
                cell = self._state_made(record, value, after if isinstance(before, StoredState) else "")
            value, before = (is_state, dict(value) if is_state else value), None
        if cell is None:
            cell = cell_of(self._runner.node, self._name, value, before, kind=self.kind)
            same = before is not None and cell.whole is before.whole
            record.value = None if same else cell.change
            record.after = ITEM + after if same or type(cell.change) is Grown else ""
        record.seconds = max(0.0, self._runner.now() - began)
        return record, cell

    def _state_made(self, record: Item, value: State, after: str) -> StoredState | None:
        """The cell of a state; ``None`` for the first one if it is empty."""
        cells, given = self._cells, self._given
        if cells is None or not isinstance(given, State):  # the step before returned something else
            cells, given = {}, value
        changed, removed = collect(cells, given, value, self._runner.node)
        if after:
            record.after, record.removed = ITEM + after, tuple(removed)
            record.changed = {key: cell.change for key, cell in changed.items() if cell.change is not None}
            return state_after(record.after, changed, record.removed)
        for key, cell in changed.items():
            if key in cells and not self._is_own(key, cells[key]):  # which is not stored, so nothing can build on it
                changed[key] = alone(cell.data(), cell.atom)
        whole = {key: cell for key, cell in {**cells, **changed}.items() if key not in removed}
        record.changed = {key: cell.whole for key, cell in whole.items()}
        return state_after("", whole, ()) if whole else None

    def _value_of(self, cell: StoredValue) -> Any:
        if isinstance(cell, StoredState):
            base = (self._cells or {}) if cell.after else {}
            kept = {key: one for key, one in base.items() if key not in cell.removed}
            return self._view(kept).merge({key: one.open()[0] for key, one in cell.changed.items()})
        value = cell.open()[0]
        if not isinstance(self._initial, State):
            return value
        is_state, values = value
        return self._view({}).merge(values) if is_state else values

    def _opened(self, key: str, cell: StoredValue) -> Any:
        before = self._before[1]
        if isinstance(cell, StoredState):
            self._let_go()
            old = self._cells or {}
            base = old if cell.after else {}
            cells = {one: found for one, found in {**base, **cell.changed}.items() if one not in cell.removed}
            self._cells, self._before = cells, (key, cell)
            self._superseded(old, cells)
            return self._view(cells)
        if before is not None:
            cell.read_after(before)
        value = self._runner.open(self._name, cell, keep=True)
        self._let_go()
        self._cells, self._before = None, (key, cell)
        if not isinstance(self._initial, State):
            return value
        is_state, values = value
        if not is_state:
            return values
        self._cells = cells_of(values)
        return self._view(self._cells)

    def _superseded(self, old: dict[str, StoredValue], new: dict[str, StoredValue]) -> None:
        """Keep no encodings of what the chain has replaced."""
        for key, cell in old.items():
            if cell is not new.get(key) and not self._is_own(key, cell):
                self._drop(cell)

    def _is_own(self, key: str, cell: Any) -> bool:
        """Whether it is a value of the run's state, as that is stored."""
        effect = self._runner.effect
        return effect is not None and raw(stored_of(effect)).get(key) is cell

    def _drop(self, cell: StoredValue) -> None:
        if type(cell.whole) is Blobs and cell.change is None:
            self._runner.let_go(cell)

    def _hand_over(self, record: Item, cell: StoredValue, packed: dict[bytes, bytes] | None = None) -> None:
        self._runner.hand_over(record, cell, packed)

    def _let_go(self) -> None:
        """The next step was made from the newest one, which is read again where it is needed."""
        if self._before[1] is not None:
            self._drop(self._before[1])


class _Read(OpenedValues, eq=False, kw_only=True):
    """What is read of a state of the chain."""

    effect: RunNode
    name: str

    def open(self, key: str, cell: StoredValue) -> Any:
        mine = self.opened.get(cell)
        if mine is not None:
            return mine[1]
        is_own = raw(self.effect.state).get(key) is cell
        try:
            value, shared = cell.open() if is_own else opened(self.name, cell)
        except TauError as error:
            self.damage = begun(self.effect.state).damage = error
            raise
        if shared:
            return value
        if is_own and type(value) is Artifact:
            return begun(self.effect.state).open(key, cell)  # the end of the node looks at it
        return self.opened.setdefault(cell, (key, value))[1]
