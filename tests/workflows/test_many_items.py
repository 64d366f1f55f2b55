"""A map of many items is kept in little memory, and is as exact as one of few."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tau import Context, ExecutionError, GraphChangedError, State, StateGraph, open_store
from tau.log.encoding import seal
from tau.log.loading import load
from tau.log.records import Interrupted
from tau.stores.contract import Batch, Store
from tau.stores.memory import MemoryStore
from tau.testing.store_wrappers import StoreWrapper

MANY = 3000
BREAKS = 2700


class Work:
    """Doubles a number; the calls are counted, and the first one for an item that it breaks at is an error."""

    def __init__(self, breaks: int = -1) -> None:
        self.calls: Counter[int] = Counter()
        self.breaks = breaks

    def double(self, item: int) -> int:
        self.calls[item] += 1
        if item == self.breaks:
            self.breaks = -1
            raise ValueError("it broke")
        return 2 * item


def graph_of(store: Store, work: Work, items: Callable[[], Iterable[int]], **options: Any) -> StateGraph:
    graph = StateGraph("many", store=store)

    def node(state: State, ctx: Context) -> dict[str, Any]:
        return {"out": ctx.map("m", work.double, items(), workers=2, **options)}

    graph.add_node("node", node, version="1")
    graph.sequence("node")
    return graph


def broken(store: Store, items: Callable[[], Iterable[int]], **options: Any) -> Work:
    """A run that broke off near its end."""
    work = Work(BREAKS)
    with pytest.raises(ExecutionError, match="it broke"):
        graph_of(store, work, items, **options).execute({}, run_id="r")
    return work


@pytest.mark.parametrize("options", [{}, {"key": str}, {"idempotent": True}])
def test_of_many_items_a_resume_does_those_that_are_left(store: Store, options: dict[str, Any]) -> None:
    first = broken(store, lambda: range(MANY), **options)
    work = Work()
    assert graph_of(store, work, lambda: range(MANY), **options).resume("r")["out"] == [2 * n for n in range(MANY)]
    both = first.calls + work.calls
    assert {n: count for n, count in both.items() if count > 1} == {BREAKS: 2}
    assert len(both) == MANY


def test_the_next_attempt_in_the_same_process_finds_them_too() -> None:
    work, attempts = Work(BREAKS), 0
    graph = StateGraph("many", store=MemoryStore())

    def node(state: State, ctx: Context) -> dict[str, Any]:
        nonlocal attempts
        attempts += 1
        try:
            return {"out": ctx.map("m", work.double, range(MANY), workers=2)}
        except Exception:
            return {"out": ctx.map("m", work.double, range(MANY), workers=2)}

    graph.add_node("node", node, version="1")
    graph.sequence("node")
    assert graph.execute({})["out"] == [2 * n for n in range(MANY)]
    assert attempts == 1
    assert {n: count for n, count in work.calls.items() if count > 1} == {BREAKS: 2}


def test_of_many_equal_items_each_is_one(store: Store) -> None:
    def items() -> list[int]:
        return [0, 1, 2] * 1000 + [BREAKS]

    first, work = broken(store, items), Work()
    assert graph_of(store, work, items).resume("r")["out"] == [2 * n for n in items()]
    assert first.calls + work.calls == {0: 1000, 1: 1000, 2: 1000, BREAKS: 2}


def test_many_items_in_another_order_are_those_they_were(store: Store) -> None:
    broken(store, lambda: range(MANY))
    work = Work()

    def turned() -> Iterable[int]:
        return iter([*range(BREAKS + 1), *range(MANY - 1, BREAKS, -1)][::-1])

    assert graph_of(store, work, turned).resume("r")["out"] == [2 * n for n in turned()]
    assert all(n >= BREAKS - 4 for n in work.calls)


@pytest.mark.parametrize("given", [list, iter])
def test_of_many_items_one_that_is_missing_is_noticed_and_may_be_left_out(
    store: Store, given: Callable[[Iterable[int]], Iterable[int]]
) -> None:
    broken(store, lambda: given(range(MANY)))

    def fewer() -> Iterable[int]:
        return given(n for n in range(MANY) if n != 1500)

    with pytest.raises(ExecutionError) as caught:
        graph_of(store, Work(), fewer).resume("r")
    assert isinstance(caught.value.__cause__, GraphChangedError)
    assert "is missing" in str(caught.value)
    work = Work()
    found = graph_of(store, work, fewer).resume("r", on_change="continue")["out"]
    assert found == [2 * n for n in range(MANY) if n != 1500]
    assert all(n >= BREAKS for n in work.calls)


def test_redo_drops_many_items(store: Store) -> None:
    broken(store, lambda: range(MANY))
    work = Work()
    assert graph_of(store, work, lambda: range(MANY)).resume("r", on_change="redo")["out"][-1] == 2 * (MANY - 1)
    assert work.calls == dict.fromkeys(range(MANY), 1)


class Renewed(StoreWrapper):
    """Its run is deleted, and begins anew, as it is read for the first time."""

    def __init__(self, store: Store, again: Callable[[], object]) -> None:
        super().__init__(store)
        self.again: Callable[[], object] | None = again

    def scan(self, run_id: str, after: int = 0) -> Iterator[tuple[int, bytes]]:
        for row in self.store.scan(run_id, after):
            yield row
            again, self.again = self.again, None
            if again is not None:
                self.store.delete(run_id)
                again()


def test_a_long_run_that_begins_anew_while_it_is_read_is_read_anew(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/runs.db") as store:
        with pytest.raises(ExecutionError):
            graph_of(store, Work(1), lambda: [1]).execute({}, run_id="r")
        before = store.summary("r")
        assert before is not None
        numbers = range(before.position + 1, before.position + 10_001)
        records = tuple(seal("r", Interrupted(position=number, node="node")) for number in numbers)
        after = replace(before, position=numbers[-1])
        assert store.commit([Batch("r", before.position, b"token", records, (), after)]) == [after.position]
        again = graph_of(store, Work(), lambda: [7])
        found, _ = load(Renewed(store, lambda: again.execute({}, run_id="r")), "r")
        assert found.status == "finished"
        assert found.values["out"].open()[0] == [14]
