"""The graphs that the proofs crash."""

from __future__ import annotations

import asyncio
from typing import Any

from tau import (
    END,
    CheckpointConfig,
    Context,
    GraphConfig,
    Retry,
    State,
    StateGraph,
    branches_node,
    pause_node,
    process_chain,
)

LAPS = 2


def work(state: State, ctx: Context) -> dict[str, Any]:
    """Changes a value in place, and saves what is held back from inside."""
    state["rows"].append((ctx.visit, {"half": state["laps"] / 2}))
    state.checkpoint(ctx.resources["store"])
    return {"laps": state["laps"] + 1, "half_done": True}


def check(state: State, ctx: Context) -> State:
    """Fails whenever it is tried for the first, third, ... time; removes a key."""
    if ctx.attempt % 2:
        raise ValueError("not yet")
    seen = frozenset(row[0] for row in state["rows"])
    return state.merge({"seen": seen, "text": state["text"] + "."}).drop("half_done")


def has_more(state: State) -> bool:
    return bool(state["laps"] < state["wanted"])


def four_nodes() -> StateGraph:
    """ingest -> work -> check -> work ... -> report."""
    graph = StateGraph(
        GraphConfig("laps", observer=None, checkpoint=CheckpointConfig(interval=1, preserve=True, max_crashes=30))
    )
    graph.add_node("ingest", lambda state: {"rows": [], "laps": 0, "text": "x" * 600})
    graph.add_node("work", work)
    graph.add_node("check", check, retry=Retry(attempts=3, delay=0.2))
    graph.add_node("report", lambda state: {"report": repr(state["rows"]), "total": 10**30 + len(state["rows"])})
    graph.add_edge("ingest", "work")
    graph.add_edge("work", "check")
    graph.add_edge("check", "work", has_more, name="more")
    graph.add_edge("check", "report")
    graph.set_entry_point("ingest")
    graph.set_exit_point("report")
    return graph


def measure(state: State, ctx: Context) -> dict[str, Any]:
    """Two steps, of which the second fails at the first attempt; a long result and a short one."""
    rows = ctx.step("rows", lambda: [(ctx.visit, "x" * 700)])
    state["rows"].extend(rows)

    def fragile() -> int:
        if ctx.attempt == 1:
            raise ValueError("not yet")
        return len(rows)

    return {"laps": state["laps"] + ctx.step("fragile", fragile)}


async def fetch(state: State, ctx: Context) -> dict[str, Any]:
    """Steps beside one another, and one that is called in the loop's own thread."""

    async def one(number: int) -> int:
        await asyncio.sleep(0.01 * number)
        return number * number

    found = await asyncio.gather(*(ctx.step(f"fetch {number}", one, number) for number in (1, 0, 2)))
    return {"found": [*found, ctx.step("sum", sum, found)]}


def nodes_of_steps() -> StateGraph:
    """begin -> measure -> fetch -> measure ... -> end."""
    graph = StateGraph(
        GraphConfig("steps", observer=None, checkpoint=CheckpointConfig(interval=1, preserve=True, max_crashes=30))
    )
    graph.add_node("begin", lambda state: {"rows": [], "laps": 0})
    graph.add_node("measure", measure, retry=Retry(attempts=3, delay=0.2))
    graph.add_node("fetch", fetch)
    graph.add_node("end", lambda state: {"report": repr(state["rows"]) + repr(state["found"])})
    graph.add_edge("begin", "measure")
    graph.add_edge("measure", "fetch")
    graph.add_edge("fetch", "measure", has_more, name="more")
    graph.add_edge("fetch", "end")
    graph.set_entry_point("begin")
    graph.set_exit_point("end")
    return graph


def draft(state: State, ctx: Context) -> State:
    """Saves what it has set so far, and goes on from there; fails on the way."""
    while len(state.get("draft", ())) < 3:
        number = len(state.get("draft", ()))
        state = state.set("draft", [*state.get("draft", ()), (ctx.visit, "x" * 300 * number)])
        state.checkpoint(ctx.resources["store"])
        if number == 1 and ctx.attempt == 1:
            raise ValueError("not yet")
    return state.drop("draft").set("lines", [*state.get("lines", ()), *state["draft"]])


def nodes_that_save() -> StateGraph:
    """begin -> draft -> draft ... -> end."""
    graph = StateGraph(
        GraphConfig("saving", observer=None, checkpoint=CheckpointConfig(interval=1, preserve=True, max_crashes=30))
    )
    graph.add_node("begin", lambda state: {"rows": [1], "laps": 0})
    graph.add_node("draft", draft, retry=Retry(attempts=3, delay=0.2))
    graph.add_node("count", lambda state: {"laps": state["laps"] + 1})
    graph.add_node("end", lambda state: {"report": repr(state["lines"])})
    graph.add_edge("begin", "draft")
    graph.add_edge("draft", "count")
    graph.add_edge("count", "draft", has_more, name="more")
    graph.add_edge("count", "end")
    graph.set_entry_point("begin")
    graph.set_exit_point("end")
    return graph


async def squares(state: State, ctx: Context) -> dict[str, Any]:
    """A map of tasks, of which one fails at the first attempt, with a seed of their own."""

    async def square(item: tuple[int, str]) -> tuple[int, int]:
        await asyncio.sleep(0.01 * item[0])
        if item[0] == 2 and ctx.attempt == 1:
            raise ValueError("not yet")
        return item[0] ** 2, ctx.seed("square", item[0])

    items = [(number, "x" * 600) for number in (3, 1, 2, 1, 0)]
    found = await ctx.map("square", square, items, workers=2)
    return {"found": [*state.get("found", ()), *found]}


def fold(state: State, ctx: Context) -> dict[str, Any]:
    """A chain, of which a step fails at the first attempt."""

    def add(item: int, total: tuple[int, ...]) -> tuple[int, ...]:
        if item == 2 and ctx.attempt == 1:
            raise ValueError("not yet")
        return (*total, item)

    folded = process_chain(range(4), (ctx.visit,), add).final
    return {"laps": state["laps"] + 1, "rows": [*state["rows"], folded]}


def nodes_of_items() -> StateGraph:
    """begin -> squares -> fold -> squares ... -> end."""
    graph = StateGraph(
        GraphConfig("items", observer=None, checkpoint=CheckpointConfig(interval=1, preserve=True, max_crashes=30))
    )
    graph.add_node("begin", lambda state: {"rows": [], "laps": 0})
    graph.add_node("squares", squares, retry=Retry(attempts=3, delay=0.2))
    graph.add_node("fold", fold, retry=Retry(attempts=3, delay=0.2))
    graph.add_node("end", lambda state: {"report": repr(state["rows"]) + repr(state["found"])})
    graph.add_edge("begin", "squares")
    graph.add_edge("squares", "fold")
    graph.add_edge("fold", "squares", has_more, name="more")
    graph.add_edge("fold", "end")
    graph.set_entry_point("begin")
    graph.set_exit_point("end")
    return graph


def nodes_with_routes() -> StateGraph:
    """draft -> look -> draft ... -> the end; an async route after draft, a sync one after look."""
    graph = StateGraph(
        GraphConfig("routes", observer=None, checkpoint=CheckpointConfig(interval=1, preserve=True, max_crashes=30))
    )

    async def judge(state: State) -> Any:
        await asyncio.sleep(0.3)
        return state["laps"]

    graph.add_node("draft", lambda state: {"laps": state.get("laps", 0) + 1})
    graph.add_node("look", lambda state: {"seen": state["laps"]})
    graph.add_conditional_edges("draft", judge, {1: "draft", 2: "look", 3: END})
    graph.add_conditional_edges("look", lambda state: "draft")
    graph.set_entry_point("draft")
    return graph


def choose(state: State, ctx: Context) -> dict[str, Any]:
    """Asks two things at once after a step, goes on with what is answered, and fails at the first attempt."""
    fitted = ctx.step("fit", lambda: [1, 2, 3])
    found, waits = {}, list[BaseException]()
    for name in ("degree", "colour"):
        try:
            found[name] = ctx.ask(name)
        except BaseException as paused:
            waits.append(paused)
        else:
            ctx.step(f"with {name}", lambda: 1)
    if waits:
        raise waits[0]
    if ctx.attempt == 1:
        raise ValueError("not yet")
    return {"best": (fitted[found["degree"]], found["colour"]), "laps": state["laps"] + 1}


ANSWERS = {"review": {"ok": True}, "degree": 2, "colour": "blue"}


def nodes_that_ask() -> StateGraph:
    """begin -> review -> choose -> review ... -> end."""
    graph = StateGraph(
        GraphConfig("asking", observer=None, checkpoint=CheckpointConfig(interval=1, preserve=True, max_crashes=30))
    )
    graph.add_node("begin", lambda state: {"laps": 0})
    graph.add_node("review", pause_node("review"))
    graph.add_node("choose", choose, retry=Retry(attempts=3, delay=0.2))
    graph.add_node("end", lambda state: {"report": repr(state["best"])})
    graph.sequence("begin", "review", "choose")
    graph.add_edge("choose", "review", has_more, name="more")
    graph.add_edge("choose", "end")
    graph.set_exit_point("end")
    return graph


def collect(state: State, ctx: Context) -> dict[str, Any]:
    """A map and a step inside a branch; the first attempt fails."""
    found = ctx.map("squares", lambda item: item * item, range(3), executor="inline")
    total = ctx.step("total", sum, found)
    if ctx.attempt == 1:
        raise ValueError("not yet")
    return {"rows": [*state["rows"], (ctx.node, ctx.seed("x") % 7, total)]}


def a_branch(name: str) -> StateGraph:
    """open -> collect -> collect ... -> close: a cycle of its own."""
    graph = StateGraph(name)
    graph.add_node("open", lambda state: {name: 0, "rows": [*state["rows"], name]})
    graph.add_node("collect", collect, retry=Retry(attempts=3, delay=0.2))
    graph.add_node("count", lambda state: {name: state[name] + 1})
    graph.add_edge("open", "collect")
    graph.add_edge("collect", "count")
    graph.add_edge("count", "collect", lambda state: state[name] < 2, name="more")
    graph.add_edge("count", "close")
    graph.add_node("close", lambda state: {"text": state["text"] + name})
    graph.set_entry_point("open")
    graph.set_exit_point("close")
    return graph


def graphs_in_nodes() -> StateGraph:
    """begin -> both -> lap -> both ... -> review -> end: two branches and a graph with a pause, in a cycle."""
    lap = StateGraph("lap")
    lap.add_node("add", lambda state: {"laps": state["laps"] + 1})
    lap.add_node("ask", pause_node("ask", form=bool))
    lap.add_conditional_edges("ask", answer_later, {True: "note", False: END}, version="1")
    lap.add_node("note", lambda state: state.drop("ask").set("text", state["text"] + "!"))
    lap.add_edge("add", "ask")
    lap.set_entry_point("add")
    lap.set_exit_point("note")
    graph = StateGraph(
        GraphConfig("inside", observer=None, checkpoint=CheckpointConfig(interval=1, preserve=True, max_crashes=30))
    )
    graph.add_node("begin", lambda state: {"rows": [], "laps": 0, "text": "x" * 600})
    both = {"a": a_branch("a"), "b": a_branch("b"), "c": lambda state: {"c": state["laps"]}}
    graph.add_node("both", branches_node(both, merge={"rows": "append", "text": "append"}))
    graph.add_node("lap", lap)
    graph.add_node("end", lambda state: {"report": repr(state["rows"])})
    graph.add_edge("begin", "both")
    graph.add_edge("both", "lap")
    graph.add_edge("lap", "both", has_more, name="more")
    graph.add_edge("lap", "end")
    graph.set_entry_point("begin")
    graph.set_exit_point("end")
    return graph


async def answer_later(state: State) -> bool:
    """An async route inside a graph inside a node."""
    await asyncio.sleep(0.01)
    return bool(state["ask"])


def that_grows() -> StateGraph:
    """grow -> in (work -> drop) -> grow ... -> rest."""
    inner = StateGraph("in")
    inner.add_node("work", lambda state, ctx: {"last": ctx.step("last", lambda: len(state["rows"])), "gone": 1})
    inner.add_node("drop", lambda state: state.drop("gone").set("seen", (*state["seen"], state["last"])))
    inner.sequence("work", "drop")
    around = StateGraph("around")
    around.add_node("grow", lambda state: {"rows": [*state["rows"], "x" * 300], "laps": state["laps"] + 1})
    around.add_node("in", inner)
    around.add_edge("grow", "in")
    around.add_edge("in", "grow", has_more, name="more")
    around.add_edge("in", "rest")
    around.add_node("rest", lambda state: {"laps": 0})
    around.set_entry_point("grow")
    around.set_exit_point("rest")
    return around


def graphs_in_graphs() -> StateGraph:
    """begin -> around (grow -> in (work -> drop) -> grow ...) -> end: graphs in one another, which go round."""
    graph = StateGraph(
        GraphConfig("graphs", observer=None, checkpoint=CheckpointConfig(interval=1, preserve=True, max_crashes=30))
    )
    graph.add_node("begin", lambda state: {"rows": [], "laps": 0, "seen": ()})
    graph.add_node("around", that_grows())
    graph.add_node("end", lambda state: {"report": repr(state["seen"]), "times": state.get("times", 0) + 1})
    graph.add_edge("begin", "around")
    graph.add_edge("around", "end")
    graph.set_entry_point("begin")
    graph.set_exit_point("end")
    return graph


def branches_that_ask() -> StateGraph:
    """both (ask | open -> collect -> collect ... -> close) -> end: a question that waits beside work."""
    asks = StateGraph("asks")
    asks.add_node("ask", pause_node("ask", form=bool))
    asks.add_node("told", lambda state: {"told": state["ask"]})
    asks.sequence("ask", "told")
    graph = StateGraph(
        GraphConfig("asking", observer=None, checkpoint=CheckpointConfig(interval=1, preserve=True, max_crashes=30))
    )
    graph.add_node("begin", lambda state: {"rows": [], "text": ""})
    graph.add_node("both", branches_node({"asks": asks, "b": a_branch("b")}))
    graph.add_node("end", lambda state: {"report": repr(state["rows"])})
    graph.sequence("begin", "both", "end")
    return graph


def branches_that_go_round() -> StateGraph:
    """both (a: grow -> in (work -> drop) -> grow ..., b: count -> count ..., c) -> end: cycles beside one another."""
    count = StateGraph("count")
    count.add_node("count", fragile_count, retry=Retry(attempts=3, delay=0.2))
    count.add_edge("count", "count", lambda state: state["count"] < 2 * state["wanted"], name="more")
    count.add_node("close", lambda state: state.drop("count").set("counted", state["count"]))
    count.add_edge("count", "close")
    count.set_entry_point("count")
    count.set_exit_point("close")
    graph = StateGraph(
        GraphConfig("round", observer=None, checkpoint=CheckpointConfig(interval=1, preserve=True, max_crashes=30))
    )
    graph.add_node("begin", lambda state: {"rows": [], "laps": 0, "seen": ()})
    graph.add_node("both", branches_node({"a": that_grows(), "b": count, "c": lambda state: {"c": 1}}))
    graph.add_node("end", lambda state: {"report": repr(state["rows"]) + repr(state["seen"])})
    graph.sequence("begin", "both", "end")
    return graph


def fragile_count(state: State, ctx: Context) -> dict[str, Any]:
    """Now and then the first attempt fails, with a step of it finished."""
    number = ctx.step("number", lambda: state.get("count", 0) + 1)
    if ctx.attempt == 1 and number % 3 == 0:
        raise ValueError("not yet")
    return {"count": number, "lines": [*state.get("lines", ()), "y" * 300]}
