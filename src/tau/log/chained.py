"""Steps of chains: each says how its result differs from that of the step before it."""

from __future__ import annotations

from msgspec import field

from tau.errors import CorruptCheckpointError
from tau.log.items import FinishedItems
from tau.log.records import Item, Scope
from tau.values.stored import Fetch, Grown, Inline, StoredValue, apply


class StoredState(StoredValue, eq=False):
    """A state that a step of a chain returned: what differs from that of the step with the key ``after``. If that is
    empty, ``changed`` holds every key.

    It has no encoding; each key has a cell of its own.
    """

    after: str = ""
    changed: dict[str, StoredValue] = field(default_factory=dict)
    removed: tuple[str, ...] = ()


def state_after(after: str, changed: dict[str, StoredValue], removed: tuple[str, ...]) -> StoredState:
    """The cell of a state. ``change`` is set until its record is stored, as that of any cell."""
    return StoredState(_NOTHING, change=_NOTHING, after=after, changed=changed, removed=removed)


def to_store(cell: StoredValue) -> dict[str, StoredValue]:
    """The cells that are stored with the record of an item, first its own."""
    found = {"": cell}
    if isinstance(cell, StoredState):
        made = [one for one in cell.changed.values() if one.change is not None]
        found |= {str(number): one for number, one in enumerate(made)}
    return found


def all_cells(cell: StoredValue) -> list[StoredValue]:
    """Those that lie somewhere."""
    return [*cell.changed.values()] if isinstance(cell, StoredState) else [cell]


def stored_size(record: Item) -> int:
    """How many bytes are stored of the result of an item, or of what it adds to that of another one."""
    found = 0
    for stored in (*([] if record.value is None else [record.value]), *record.changed.values()):
        if isinstance(stored, Inline):
            found += len(stored.data)
        else:
            found += stored.tail.size if isinstance(stored, Grown) else sum(part.size for part in stored.parts)
    return found


def item_cell(record: Item, items: FinishedItems, fetch: Fetch) -> StoredValue | None:
    """The cell of what an item says, given those before it; ``None`` where it has no result."""
    after = record.after
    before = items.get((record.scope, after)) if after else None
    if after and before is None:
        raise CorruptCheckpointError("a step of a chain builds on one that is not there")
    if record.changed or isinstance(before, StoredState):
        changed = {
            key: apply(stored, _before(items, record.scope, before, key) if type(stored) is Grown else None, fetch)
            for key, stored in record.changed.items()
        }
        made = state_after(after, changed, record.removed)
        made.change = None
        return made
    if record.value is None:
        return None if before is None else StoredValue(before.whole, fetch=fetch)
    return apply(record.value, before, fetch)


def _before(items: FinishedItems, scope: Scope, cell: StoredValue | None, key: str) -> StoredValue | None:
    """What a key held in the state of a step."""
    for _ in range(len(items.single) + 1):  # however damaged, it comes to an end
        if not isinstance(cell, StoredState):
            break
        if key in cell.changed:
            return cell.changed[key]
        cell = items.get((scope, cell.after)) if cell.after and key not in cell.removed else None
    return None


_NOTHING = Inline(b"")
