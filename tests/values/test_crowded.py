"""Keys of one hash: what would take for ever to read is refused and is damage; what takes seconds is stored."""

from __future__ import annotations

import inspect
import sys
from decimal import Decimal
from typing import Any
from uuid import UUID

import pandas as pd
import pytest
from msgspec import msgpack

from exactness import same
from tau import register_type
from tau.errors import CorruptCheckpointError
from tau.values import Refused, crowding, decode, encode, tags

MODULUS = 2**61 - 1  # whole numbers that differ by a multiple of it have one hash
MANY, SOME, FEW = 30_000, 700, 100


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
    "a dict": lambda items: dict.fromkeys(items, 0),
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


class Late:
    """Its hash is found to be poor only after a dict was made of many."""

    poor = False

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return 1 if Late.poor else self.number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Late) and other.number == self.number


register_type(Late, name="late-hash", encode=lambda late: late.number, decode=Late)


@pytest.mark.parametrize("container", ["a dict", "a set", "a frozenset", "labels"])
@pytest.mark.parametrize("kind", ["integers", "tuples", "decimals", "UUIDs"])
def test_many_of_one_hash_are_damage(container: str, kind: str) -> None:
    with pytest.raises(CorruptCheckpointError, match="the same hash"):
        decode(forged(container, keys(MANY)[kind]))


@pytest.mark.parametrize("container", ["a dict", "a set", "a frozenset"])
def test_many_of_one_hash_are_refused(container: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value = CONTAINERS[container](map(Late, range(MANY)))
    monkeypatch.setattr(Late, "poor", True)
    with pytest.raises(Refused, match="the same hash") as refused:
        encode(value)
    assert refused.value.limit == MANY


@pytest.mark.parametrize("container", ["labels", "categories"])
def test_many_labels_of_one_hash_are_refused(container: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowding, "ROOM", 0)
    with pytest.raises(Refused, match="the same hash"):
        encode(CONTAINERS[container](keys(SOME)["integers"]))


@pytest.mark.parametrize("container", ["a dict", "a set", "a frozenset", "labels"])
@pytest.mark.parametrize("kind", ["integers", "tuples", "decimals", "UUIDs"])
def test_what_an_earlier_version_stored_is_read_and_stored_again(container: str, kind: str) -> None:
    """It knew no bound."""
    items = keys(SOME)[kind]
    value = CONTAINERS[container](items)
    data = encode(value)
    if container in ("a dict", "labels"):  # whose order the bytes have
        assert data == forged(container, items)
    for stored in (data, forged(container, items)):
        assert same(decode(stored), value)


def test_the_bound_is_one_for_all_of_a_value_and_the_same_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    one = set(keys(SOME)["integers"])
    monkeypatch.setattr(crowding, "ROOM", 3 * SOME * SOME)
    for part in (one, [[1] * 60_000, one]):  # the second is long enough for its parts to be remembered
        assert decode(encode([part] * 3)) == [part] * 3
        with pytest.raises(Refused, match="the same hash"):
            encode([part] * 4)
        with pytest.raises(CorruptCheckpointError, match="the same hash"):
            decode(b"\x94" + encode([part])[1:] * 4)


def test_what_is_found_with_a_deep_stack_has_the_same_room() -> None:
    value: Any = set(keys(SOME)["integers"])
    for _ in range(100):
        value = (value,)
    data = encode(value)

    def deep(levels: int) -> tuple[Any, bytes]:
        return deep(levels - 1) if levels else (decode(data), encode(value))

    assert deep(sys.getrecursionlimit() - len(inspect.stack()) - 60) == (value, data)


@pytest.mark.parametrize("container", list(CONTAINERS))
def test_a_few_of_one_hash_are_as_good_as_others(container: str) -> None:
    for items in keys(FEW).values():
        value = CONTAINERS[container](items)
        assert same(decode(encode(value)), value)


def test_many_of_which_few_have_one_hash_are_stored() -> None:
    value = {(number, number % 7): number for number in range(20_000)} | dict.fromkeys(keys(FEW)["integers"], -1)
    assert decode(encode(value)) == value
