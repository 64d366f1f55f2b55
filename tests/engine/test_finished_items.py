"""What is finished in a node is found under its scope and key, however many there are of it, packed or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from tau.log.digests import SIZE, Counts, Digests, name_of
from tau.log.items import FinishedItems
from tau.values import encode
from tau.values.stored import Part, StoredValue, alone, digest

LARGE = "large " * 200
SCOPE = (("node", 1, "map"),)


def blobs(parts: Iterable[Part]) -> Mapping[bytes, bytes]:
    """A store that holds only the large one."""
    data = encode(LARGE)
    return {part.digest: data for part in parts if part.digest == digest(data)}


def cell_of(value: object) -> StoredValue:
    """As it is once it is stored."""
    cell = alone(encode(value))
    cell.change, cell.blobs, cell.fetch = None, (), blobs
    return cell


def value_of(cell: StoredValue | None) -> object:
    return None if cell is None else cell.open()[0]


def key_of(number: int) -> str:
    """The three kinds of keys there are."""
    name = sha256(b"%d" % number).hexdigest()[: 2 * SIZE]
    return [f"item {name}", f"item {name} 2", f"item s key {number}"][number % 3]


def test_of_many_items_each_is_found_with_its_value() -> None:
    found = FinishedItems(blobs)
    for number in range(5000):
        found[SCOPE, key_of(number)] = cell_of(LARGE if number % 100 == 0 else number)
    assert len(found.single) < 2000
    for number in range(5000):
        assert value_of(found.get((SCOPE, key_of(number)))) == (LARGE if number % 100 == 0 else number)
    assert found.get((SCOPE, key_of(5000))) is None
    assert found.get(((("node", 2, "map"),), key_of(1))) is None
    assert Counter(map(value_of, found.cells()))[LARGE] == 50
    assert sum(1 for _ in found.cells()) == 5000


def test_an_item_that_is_finished_twice_has_its_newest_value() -> None:
    found = FinishedItems(blobs)
    for turn in range(3):
        for number in range(3000):
            found[SCOPE, key_of(number)] = cell_of(number + turn)
    assert [value_of(found.get((SCOPE, key_of(number)))) for number in range(3000)] == list(range(2, 3002))


def test_what_is_not_stored_yet_stays_as_it_is() -> None:
    found, new = FinishedItems(blobs), alone(encode(7))
    found[SCOPE, key_of(0)] = new
    for number in range(1, 5000):
        found[SCOPE, key_of(number)] = cell_of(number)
    assert found.get((SCOPE, key_of(0))) is new


def test_steps_and_the_items_of_short_maps_are_never_packed() -> None:
    found = FinishedItems(blobs)
    for number in range(3000):
        found[(("node", 1, f"step {number}"),), ""] = cell_of(number)
        found[(("node", 1, f"map {number}"),), "item s a"] = cell_of(number)
    assert len(found.single) == 6000


def test_what_belongs_to_a_visit_can_be_dropped_and_so_can_all_of_it() -> None:
    found, other = FinishedItems(blobs), (("node", 2, "map"),)
    for number in range(3000):
        found[SCOPE, key_of(number)] = cell_of(number)
        found[other, key_of(number)] = cell_of(-number)
    found.drop(lambda scope: scope == SCOPE)
    assert found.get((SCOPE, key_of(1))) is None
    assert value_of(found.get((other, key_of(1)))) == -1
    assert found
    found.clear()
    assert not found
    assert found.get((other, key_of(1))) is None


@given(st.lists(st.integers(0, 60)), st.lists(st.integers(0, 60)))
def test_digests_are_counted_as_a_counter_counts(added: list[int], taken: list[int]) -> None:
    counts, expected = Counts(), Counter[int]()
    for number in added:
        expected[number] += 1
        assert counts.add(name_of(f"{number}")) == expected[number]
    for number in taken:
        assert counts.take(name_of(f"{number}")) == (expected[number] > 0)
        expected[number] -= expected[number] > 0
    assert {number: counts[name_of(f"{number}")] for number in range(61)} == {n: expected[n] for n in range(61)}
    assert counts.total == expected.total()


def test_many_digests_are_counted_as_few_are() -> None:
    counts, many = Counts(), 3000
    for number in [*range(many), *range(0, many, 2), *range(0, many, 3)]:
        counts.add(name_of(f"{number}"))
    expected = [1 + (number % 2 == 0) + (number % 3 == 0) for number in range(many)]
    assert [counts[name_of(f"{number}")] for number in range(many)] == expected
    assert counts.total == sum(expected)
    assert [counts.take(name_of(f"{number}")) for number in (0, 0, 0, 0, many)] == [True, True, True, False, False]


def test_digests_that_begin_alike_are_told_apart() -> None:
    found, alike = Digests(), [b"same" + b"%016d" % number for number in range(300)]
    assert [found.add(one) for one in alike] == list(range(300))
    assert [found.add(one) for one in alike] == list(range(300))
    assert [found.number(one) for one in alike] == list(range(300))
    assert found.number(b"same" + b"x" * 16) == -1


def test_the_digest_in_a_key_stands_for_it_and_of_any_other_key_one_of_its_text() -> None:
    name = sha256(b"x").digest()[:SIZE]
    assert name_of(f"item {name.hex()}") == name
    others = [f"item {name.hex()} 2", f"item s {'x' * 38}", f"item {'x' * 40}", "item i 1", ""]
    assert len({name, *map(name_of, others)}) == 6
