"""The results of the items of a map as they are stored, to be read when they are asked for."""

from __future__ import annotations

import weakref
from array import array
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from tau.errors import TauError
from tau.node.step_results import opened
from tau.node.steps import StepRunner
from tau.values import decode
from tau.values.stored import Blobs, Inline, StoredValue

if TYPE_CHECKING:
    from tau.log.committer import Committer

AT_HAND: Final = 1 << 26
"""So many bytes of large results are kept until they are asked for; what goes beyond that is read from the store."""

_LENGTH: Final = 24
"""The bits of a length."""


class ItemResults:
    """Results by the indexes of their items: of small ones the encodings, 8 bytes more each, and of large ones only
    where they lie, but for some that are kept at hand. Each is decoded when it is asked for, and is a copy then.

    For one thread. It does not keep the node's attempt, and can be read after that has ended.
    """

    def __init__(self, runner: StepRunner, name: str) -> None:
        self._runner, self._name = weakref.ref(runner), name
        self._places = array("Q")  # where an encoding is, and its length; 0 for what has a cell
        self._data = bytearray()
        self._cells: dict[int, StoredValue] = {}
        self._at_hand: deque[StoredValue] = deque()
        self._bytes = 0

    def put(self, index: int, cell: StoredValue) -> None:
        """An item has its result."""
        whole, places, data = cell.whole, self._places, self._data
        while len(places) <= index:
            places.append(0)
        if type(whole) is Inline and 0 < (size := len(whole.data)) < 1 << _LENGTH:
            places[index] = len(data) << _LENGTH | size
            data += whole.data
            return
        self._cells[index] = cell
        if cell.encoded is not None:  # else it is of an earlier process
            self._at_hand.append(cell)
            self._bytes += cell.size
            self._let_go()

    def _let_go(self) -> None:
        """Keep no encodings of the oldest that are stored, where these are too much."""
        runner, at_hand = self._runner(), self._at_hand
        while runner is not None and self._bytes > AT_HAND and at_hand and at_hand[0].change is None:
            oldest = at_hand.popleft()
            self._bytes -= oldest.size
            runner.let_go(oldest)

    def __getitem__(self, index: int) -> Any:
        """Raises `CorruptCheckpointError` or `StoreError` where it cannot be read; the node ends with that, too."""
        cell = self._cells.get(index) if self._cells else None
        if cell is None:
            start, size = self._places[index] >> _LENGTH, self._places[index] & (1 << _LENGTH) - 1
            data = bytes(self._data[start : start + size])
            try:
                return decode(data)
            except TauError:  # as `opened` tells it
                cell = StoredValue(Inline(data))
        runner = self._runner()
        if runner is not None:
            return runner.open(self._name, cell)
        value, _ = opened(self._name, cell)
        if type(cell.whole) is Blobs and cell.fetch is not None:
            cell.encoded = None
        return value

    @property
    def read_by(self) -> Committer | None:
        """What has a thread for reading them, where some have to be fetched; no event loop waits for a store."""
        runner = self._runner()
        far = runner is not None and any(cell.encoded is None for cell in self._cells.values())
        return runner.journal.store.committer if far and runner is not None and runner.journal is not None else None
