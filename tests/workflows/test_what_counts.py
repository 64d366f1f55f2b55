"""What of a map or step counts after a resume, and what a map that collects its failures raises."""

from __future__ import annotations

from typing import Any

import pytest

from tau import Context, ExecutionError, State, StateGraph
from tau.stores.memory import MemoryStore


def test_only_what_is_returned_counts_after_a_resume() -> None:
    """A list that the node made and a task fills has, after a resume, only what was done anew."""
    failing, seen = [2], list[list[int]]()

    def node(state: State, ctx: Context) -> dict[str, Any]:
        found: list[int] = []

        def task(item: int) -> int:
            if item in failing:
                raise OSError
            found.append(item)
            return item

        out = ctx.map("m", task, range(3), workers=1)
        ctx.step("s", lambda: found.append(9))
        seen.append(found)
        return {"out": out}

    graph = StateGraph("g", store=MemoryStore())
    graph.add_node("n", node, version="1")
    graph.sequence("n")
    with pytest.raises(ExecutionError):
        graph.execute({}, run_id="closure")
    failing.clear()
    assert graph.resume("closure")["out"] == [0, 1, 2]
    assert seen == [[2, 9]]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_map_that_collects_raises_nothing_if_all_failed(is_async: bool) -> None:
    def task(item: int) -> None:
        raise OSError(item)

    async def later(item: int) -> None:
        task(item)

    def node(state: State, ctx: Context) -> dict[str, Any]:
        return {"out": [one.status for one in ctx.map("m", task, range(2), errors="collect")]}

    async def node_async(state: State, ctx: Context) -> dict[str, Any]:
        return {"out": [one.status for one in await ctx.map("m", later, range(2), errors="collect")]}

    graph = StateGraph("g", store=MemoryStore())
    graph.add_node("n", node_async if is_async else node, version="1")
    graph.sequence("n")
    assert graph.execute({})["out"] == ["failed", "failed"]
