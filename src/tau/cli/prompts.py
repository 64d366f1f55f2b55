"""What models were asked, where an agent keeps that with the answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from tau.errors import TauError
from tau.log.digests import CALL
from tau.log.items import FinishedItems
from tau.log.records import Item, Record
from tau.log.subgraphs import node_of
from tau.values.stored import StoredValue


class Asked(Struct):
    """A call of an agent that was answered: in which node, whose, and what is stored of it."""

    node: str
    name: str
    answer: StoredValue


class Prompt(Struct):
    """One message of what a model was asked; content that is no text is given as JSON."""

    node: str
    name: str
    role: str
    content: str


def asked(record: Record, items: FinishedItems) -> Iterator[Asked]:
    """The call that a record tells of; none if it tells of something else."""
    if isinstance(record, Item) and record.key.startswith(CALL) and "model" in record.body:
        answer = items.get((record.scope, record.key))
        if answer is not None:
            yield Asked(node_of(record), record.name, answer)


def prompts_of(calls: Iterable[Asked]) -> Iterator[Prompt]:
    """The messages that were kept. What is damaged is left out: `tau verify` tells of it."""
    for call in calls:
        try:
            found = call.answer.open()[0]
        except TauError:
            continue
        for message in found.get("messages", ()) if isinstance(found, Mapping) else ():
            content = message.get("content", "")
            text = content if isinstance(content, str) else json.dumps(content, default=repr)
            yield Prompt(call.node, call.name, str(message.get("role", "")), text)
