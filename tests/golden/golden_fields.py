"""A graph with configuration and members of enumerations bound to its nodes. Never changed: it is in a golden store."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import Enum, IntFlag, StrEnum
from typing import Any

from tau import Context, State, StateGraph
from tau.stores.contract import Store


@dataclass
class Model:
    rate: float = 0.5
    max_tokens: int = 3
    token: str | None = "a-token-of-1-service"


def method(value: str) -> Any:
    return StrEnum("Method", {"TREND": value}, module=__name__)


def flags(last: int) -> Any:
    return IntFlag("Flags", {"FAST": 1, "EXACT": last}, module=__name__)


def ask(state: State, *, model: Model) -> dict[str, Any]:
    return {"answer": "x" * model.max_tokens}


def fit(state: State, *, how: Enum, flags: Any) -> dict[str, Any]:
    return {"fit": [how.value, int(flags)]}


def check(how: Enum, state: State) -> bool:
    return True


def report(state: State, ctx: Context) -> dict[str, Any]:
    if not ctx.resources.get("disk"):
        raise OSError("the disk is away")
    return {"report": [state["answer"], *state["fit"]]}


def fields_graph(
    store: Store, observer: Any = "noop", model: Model | None = None, trend: str = "linear", exact: int = 2
) -> StateGraph:
    graph = StateGraph("fields", store=store, observer=observer)
    how, flag = method(trend).TREND, flags(exact)
    graph.add_node("ask", functools.partial(ask, model=model or Model()))
    graph.add_node("fit", functools.partial(fit, how=how, flags=flag.FAST | flag.EXACT))
    graph.add_node("report", report)
    graph.set_entry_point("ask")
    graph.add_edge("ask", "fit")
    graph.add_edge("fit", "report", functools.partial(check, how))
    graph.set_exit_point("report")
    return graph


AFTER = {"answer": "xxx", "fit": ["linear", 3], "report": ["xxx", "linear", 3]}
