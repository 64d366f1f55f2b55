"""Runs to keep: of several nodes, with values of all sizes, items, artifacts and questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tau import CheckpointConfig, Context, ExecutionError, GraphConfig, StateGraph, pause_node
from tau.stores.contract import Store
from tau.testing.store_wrappers import StoreWrapper

LONG = "sea surface temperature " * 60


def pipeline(store: Store, folder: Path, *, broken: str = "", name: str = "climate", **nodes: Any) -> StateGraph:
    """ingest -> preprocess -> analyze -> report; ``broken`` names a node that fails. Nodes may be replaced."""
    config = CheckpointConfig(store=store, interval=1, preserve=True, artifacts=str(folder / "artifacts"))
    graph = StateGraph(GraphConfig(name, observer=None, checkpoint=config))

    def ingest(state: Any) -> dict[str, Any]:
        return {"raw": [LONG, 1.5], "lines": ["begin " * 200], "gone": "x" * 600}

    def preprocess(state: Any, ctx: Context) -> Any:
        with ctx.artifact("clean.nc") as path:
            path.write_text("clean " * 300)
        return state.set("lines", [*state["lines"], "more " * 200]).drop("gone")

    def analyze(state: Any, ctx: Context) -> dict[str, Any]:
        fits = [ctx.step(f"fit {number}", lambda number=number: [LONG, number]) for number in range(3)]
        with ctx.artifact("plots", directory=True) as path:
            (path / "deep").mkdir(parents=True)
            (path / "a.png").write_bytes(b"a" * 2000)
            (path / "deep" / "b.png").write_bytes(b"b" * 10)
        if broken == "analyze":
            raise ValueError("bad sensor")
        return {"fits": fits, "both": {"files": [state["clean.nc"]]}}

    def report(state: Any) -> dict[str, Any]:
        if broken == "report":
            raise ValueError("no paper")
        return {"text": f"{len(state['fits'])} fits of {state['start']}", "lines": [*state["lines"], "end"]}

    for key, node in {"ingest": ingest, "preprocess": preprocess, "analyze": analyze, "report": report}.items():
        graph.add_node(key, nodes.get(key, node))
    graph.sequence("ingest", "preprocess", "analyze", "report")
    return graph


def asking(store: Store) -> StateGraph:
    """begin -> review, which waits -> end."""
    graph = StateGraph("asks", store=store)
    graph.add_node("begin", lambda state: {"draft": LONG})
    graph.add_node("review", pause_node("review", prompt="Fine?"))
    graph.add_node("end", lambda state: {"sent": state["review"]})
    graph.sequence("begin", "review", "end")
    return graph


GIVEN = {"start": 1958}


def failed(store: Store, folder: Path, at: str = "analyze", run_id: str = "r") -> None:
    """A run that failed in that node, of which an item is finished."""
    with pytest.raises(ExecutionError):
        pipeline(store, folder, broken=at).execute(GIVEN, run_id=run_id, tags=["monthly"])


def plain(state: Any) -> dict[str, Any]:
    """A state without the places of its files."""
    return {key: value for key, value in state.items() if key not in ("clean.nc", "plots", "both")}


class Killed(BaseException):
    """The process ends here."""


class Cut(StoreWrapper):
    """Its process ends at a commit: before the commit, or after it."""

    def __init__(self, store: Store, at: int, after: bool) -> None:
        super().__init__(store)
        self.at, self.after, self.seen, self.dead = at, after, 0, False
        self.artifacts = store.artifacts

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        if self.dead:
            raise Killed
        if method == "commit":
            self.seen += 1
            if self.seen == self.at:
                self.dead = True
                if self.after:
                    super().call(method, *arguments, **options)
                raise Killed
        return super().call(method, *arguments, **options)
