"""A graph on the store of a server, killed around its commits: ``python struck_program.py NAME URL POINTS`` prints what
came of it. In a process of its own, since a client of S3 that was used does not outlive a fork."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tau import Context, State, StateGraph
from tau.stores.contract import Store
from tau.testing import crash_test


def kind(name: str) -> type[Any]:
    if name == "postgres":
        from tau.stores.postgres import PostgresStore

        return PostgresStore
    if name == "redis":
        from tau.stores.redis import RedisStore

        return RedisStore
    from tau.stores.s3 import S3Store

    return S3Store


def work(state: State, ctx: Context) -> dict[str, Any]:
    return {"sum": ctx.step("one", sum, [1, 2, 3]), "large": "x" * 100_000}


def main(name: str, url: str, points: str) -> None:
    graph = StateGraph("struck")
    graph.add_node("a", lambda state: {"a": 1}, version="1")
    graph.add_node("work", work, version="1")
    for last in "cd":
        graph.add_node(last, lambda state, last=last: {last: state["sum"]}, version="1")
    graph.sequence("a", "work", "c", "d")

    def store_in(place: Path) -> Store:
        store: Store = kind(name)(url)
        if not (place / "begun").exists():  # the first process of a point
            (place / "begun").touch()
            store.delete("crash-test")
        return store

    result = crash_test(
        graph, store=store_in, points=None if points == "all" else int(points), max_time=3000, check=False
    )
    print(json.dumps({"findings": [str(one) for one in result.findings], "left": result.left, **result.struck}))


if __name__ == "__main__":
    main(*sys.argv[1:])
