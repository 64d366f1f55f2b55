"""Keys of one hash: what would take for ever to read is refused when it is set, and is damage when it is read."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pandas as pd
import pytest
from msgspec import msgpack

from exactness import same
from tau.errors import CorruptCheckpointError
from tau.values import Refused, decode, encode, tags

MODULUS = 2**61 - 1  # whole numbers that differ by a multiple of it have one hash
MANY, FEW = 3000, 100


def keys(count: int) -> dict[str, list[Any]]:
    numbers = [number * MODULUS for number in range(count)]
    return {
        "integers": numbers,
        "tuples": [(number,) for number in numbers],
        "decimals": [Decimal(number) for number in numbers],
        "UUIDs": [UUID(int=number) for number in numbers],
        "complex": [complex(float(number), -1.0) for number in range(count)],
    }


CONTAINERS: dict[str, Any] = {
    "a dict": dict.fromkeys,
    "a set": set,
    "a frozenset": frozenset,
    "labels": lambda items: pd.Index(items, dtype=object, tupleize_cols=False),
    "categories": lambda items: pd.Categorical([items[0]], pd.Index(items, dtype=object, tupleize_cols=False)),
}


def forged(container: str, items: list[Any]) -> bytes:
    """The bytes that an encoder without the bound would write."""
    if container in ("a set", "a frozenset"):
        tag, body = tags.SET if container == "a set" else tags.FROZENSET, encode(items)
    elif container == "a dict":
        tag, body = tags.MAP, encode([part for item in items for part in (item, 0)])
    else:
        tag, body = tags.INDEX, encode([0, None, ["l", items], None, None, None])
    return msgpack.encode(msgpack.Ext(tag, body))


@pytest.mark.parametrize("container", ["a dict", "a set", "a frozenset", "labels"])
@pytest.mark.parametrize("kind", ["integers", "tuples", "decimals", "UUIDs"])
def test_many_of_one_hash_are_refused_and_are_damage(container: str, kind: str) -> None:
    items = keys(MANY)[kind]
    with pytest.raises(Refused, match="one hash") as refused:
        encode(CONTAINERS[container](items))
    assert refused.value.limit == MANY
    with pytest.raises(CorruptCheckpointError, match="one hash"):
        decode(forged(container, items))


def test_categories_of_one_hash_are_refused() -> None:
    with pytest.raises(Refused, match="one hash"):
        encode(CONTAINERS["categories"](keys(MANY)["integers"]))


@pytest.mark.parametrize("container", list(CONTAINERS))
def test_a_few_of_one_hash_are_as_good_as_others(container: str) -> None:
    for items in keys(FEW).values():
        value = CONTAINERS[container](items)
        assert same(decode(encode(value)), value)


def test_many_of_which_few_have_one_hash_are_stored() -> None:
    value = {(number, number % 7): number for number in range(20_000)} | dict.fromkeys(keys(FEW)["integers"], -1)
    assert decode(encode(value)) == value
