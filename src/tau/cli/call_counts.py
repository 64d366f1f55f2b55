"""What the journaled calls of a run were, as `tau show` counts them: by node, name and model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from tau.cli.prompts import Asked, asked
from tau.log.digests import CALL
from tau.log.items import FinishedItems
from tau.log.records import Item, Record
from tau.log.subgraphs import node_of


class CallCount(Struct):
    """Calls of one name, and one model, in all visits of a node. ``replayed`` were taken from the run that this one
    replays; the others were made, and paid for: their tokens, seconds and, where prices are known, ``cost``."""

    node: str
    name: str
    model: str
    calls: int = 0
    replayed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    cost: float | None = None

    def add(self, record: Item) -> None:
        """Count one more."""
        body = record.body
        self.calls += 1
        if body.get("replayed") is True:
            self.replayed += 1
            return
        self.input_tokens += _whole(body, "input_tokens")
        self.output_tokens += _whole(body, "output_tokens")
        self.seconds += record.seconds
        cost = body.get("cost")
        if isinstance(cost, int | float) and not isinstance(cost, bool):
            self.cost = (self.cost or 0.0) + cost


class CallCounts:
    """Counts them, record by record; whatever was done anew since was paid for, too. Those of agents go into ``asked``,
    where that is given."""

    def __init__(self, asked: list[Asked] | None = None) -> None:
        self._asked = asked
        self._found: dict[tuple[str, str, str], CallCount] = {}

    def note(self, record: Record, items: FinishedItems) -> None:
        """A record was read, and is among the items."""
        if self._asked is not None:
            self._asked += asked(record, items)
        if isinstance(record, Item) and record.key.startswith(CALL):
            model = record.body.get("model")
            place = node_of(record), record.name, model if isinstance(model, str) else ""
            if place not in self._found:
                self._found[place] = CallCount(*place)
            self._found[place].add(record)

    def all(self) -> list[CallCount]:
        """In the order in which they were first made."""
        return [*self._found.values()]


def together(counts: list[CallCount]) -> CallCount:
    """The whole run."""
    known = [one.cost for one in counts if one.cost is not None]
    return CallCount(
        node="all",
        name="",
        model="",
        calls=sum(one.calls for one in counts),
        replayed=sum(one.replayed for one in counts),
        input_tokens=sum(one.input_tokens for one in counts),
        output_tokens=sum(one.output_tokens for one in counts),
        seconds=sum(one.seconds for one in counts),
        cost=sum(known) if known else None,
    )


def _whole(body: Mapping[str, Any], name: str) -> int:
    found = body.get(name)
    return found if type(found) is int and found > 0 else 0
