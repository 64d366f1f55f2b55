"""For each public error a program that meets it, as docs/troubleshooting.md shows its text."""

from __future__ import annotations

import asyncio
import importlib
import os
import resource
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

import tau
import tau.agents
from tau import Context, GraphConfig, StateGraph
from tau.stores.contract import Store

STORE = "sqlite:///runs.db"
RUN = "climate-2024"
QUIET = tau.ParallelConfig(observer=None)
PROGRAMS: dict[str, Callable[[], Any]] = {}


def meets(program: Callable[[], Any]) -> Callable[[], Any]:
    """Register a program under the error's name, of which its own name is made."""
    PROGRAMS["".join(part.capitalize() for part in program.__name__.strip("_").split("_")) + "Error"] = program
    return program


def analysis(**options: Any) -> StateGraph:
    graph = StateGraph("climate", store=STORE)
    graph.add_node("ingest", lambda state: {"values": [1, 2]})
    graph.add_node("analyze", options.pop("analyze", lambda state: {"mean": 1.5}), **options)
    graph.sequence("ingest", "analyze")
    return graph


def caused(program: Callable[[], Any]) -> None:
    """Raise what is behind the failure of a run."""
    try:
        program()
    except tau.ExecutionError as error:
        raise error.__cause__ or error from None


def fails(*_: Any) -> Any:
    raise OSError("the file server is away")


@meets
def tau_() -> None:
    tau.current()


@meets
def config() -> None:
    GraphConfig("climate", max_iterations=0)


@meets
def unknown_store() -> None:
    StateGraph("climate", store="runs")


@meets
def unknown_observer() -> None:
    StateGraph("climate", observer="log")


@meets
def graph() -> None:
    unfinished = StateGraph("climate")
    unfinished.add_node("ingest", lambda state: {})
    unfinished.add_node("analyze", lambda state: {})
    unfinished.add_edge("ingest", "analyse")
    unfinished.execute({})


@meets
def execution() -> None:
    analysis(analyze=fails).execute({}, run_id=RUN)


@meets
def node_timeout() -> None:
    async def slow(state: Any) -> Any:
        await asyncio.Event().wait()

    caused(lambda: analysis(analyze=slow, timeout=0.01).execute({}, run_id=RUN))


@meets
def unserializable() -> None:
    caused(lambda: analysis(analyze=lambda state: {"log": threading.Lock()}).execute({}, run_id=RUN))


@meets
def schema() -> None:
    class Climate(TypedDict):
        year: int

    typed = StateGraph("climate", schema=Climate)
    typed.add_node("ingest", lambda state: {})
    typed.sequence("ingest")
    typed.execute({"year": "2024"})


@meets
def limit_exceeded() -> None:
    endless = StateGraph(GraphConfig("climate", max_iterations=3, observer=None))
    endless.add_node("simulate", lambda state: {})
    endless.add_node("report", lambda state: {})
    endless.add_edge("simulate", "simulate", lambda state: "done" not in state, name="more")
    endless.add_edge("simulate", "report")
    endless.set_entry_point("simulate")
    endless.set_exit_point("report")
    caused(lambda: endless.execute({}, run_id=RUN))


@meets
def checkpoint_not_found() -> None:
    analysis().resume(RUN)


@meets
def run_finished() -> None:
    config = GraphConfig("climate", observer=None, checkpoint=tau.CheckpointConfig(store=STORE, interval=1))
    forgetful = StateGraph(config)
    forgetful.add_node("ingest", lambda state: {})
    forgetful.sequence("ingest")
    forgetful.execute({}, run_id=RUN)
    forgetful.resume(RUN)


@meets
def run_exists() -> None:
    analysis().execute({}, run_id=RUN)
    analysis().execute({}, run_id=RUN)


@meets
def run_owned() -> None:
    caused(lambda: analysis(analyze=lambda state: analysis().resume(RUN)).execute({}, run_id=RUN))


def waiting() -> StateGraph:
    approval = StateGraph("approval", store=STORE)
    approval.add_node("review", tau.pause_node("review", form=bool, prompt="May this go out?"))
    approval.sequence("review")
    return approval


def waits() -> StateGraph:
    approval = waiting()
    try:
        approval.execute({}, run_id="monday")
    except tau.RunWaitingError:
        return approval
    raise AssertionError


@meets
def run_waiting() -> None:
    waiting().execute({}, run_id="monday")


@meets
def answer() -> None:
    waits().answer("monday", "review", "yes")


@meets
def pause_not_found() -> None:
    waits().answer("monday", "approval", True)


@meets
def answered() -> None:
    approval = waits()
    approval.answer("monday", "review", True, by="ada")
    approval.answer("monday", "review", False, by="bob")


@meets
def pause_expired() -> None:
    late = StateGraph("approval", store=STORE)
    late.add_node("review", tau.pause_node("review", form=bool, deadline=datetime(2024, 3, 1, 12, 0, tzinfo=UTC)))
    late.sequence("review")
    caused(lambda: late.execute({}, run_id="monday"))


@meets
def run_interrupted() -> None:
    stop = tau.Stop()

    def asks(state: Any) -> dict[str, Any]:
        stop.set("walltime")
        return {"mean": 1.5}

    graph = StateGraph("climate", store=STORE)
    graph.add_node("analyze", asks)
    graph.add_node("report", lambda state: {})
    graph.sequence("analyze", "report")
    graph.execute({}, run_id=RUN, stop=stop)


@meets
def run_cancelled() -> None:
    graph = analysis(analyze=fails)
    try:
        graph.execute({}, run_id=RUN)
    except tau.ExecutionError:
        graph.cancel(RUN)
        graph.resume(RUN)


@meets
def wait_timeout() -> None:
    graph = analysis()
    graph.admit({}, run_id=RUN)
    graph.wait(RUN, timeout=0.0)


@meets
def lease_lost() -> None:
    analysis(analyze=lambda state: tau.open_store(STORE).delete(RUN)).execute({}, run_id=RUN)


@meets
def graph_changed() -> None:
    try:
        analysis(analyze=fails).execute({}, run_id=RUN)
    except tau.ExecutionError:
        edited = StateGraph("climate", store=STORE)
        edited.add_node("ingest", lambda state: {"values": [1, 2, 3]})
        edited.add_node("analyze", fails)
        edited.sequence("ingest", "analyze")
        edited.resume(RUN)


@meets
def replay() -> None:
    def notes(prompt: str) -> StateGraph:
        graph = StateGraph("notes", store=STORE)
        graph.add_node("notes", lambda state, ctx: {"notes": ctx.journal("ask", str, prompt)})
        graph.sequence("notes")
        return graph

    notes("the trend").execute({}, run_id="june")
    caused(lambda: notes("the outlier").replay("june"))


@meets
def corrupt_checkpoint() -> None:
    Path("runs.db").write_text("notes of last week")
    analysis().resume(RUN)


@meets
def unsupported_format() -> None:
    with tau.open_store(STORE) as store:
        store.list()
    with closing(sqlite3.connect("runs.db")) as later:
        later.execute("pragma user_version = 2")
    analysis().resume(RUN)


@meets
def store() -> None:
    """What `tau gc` meets in a store that can only delete whole runs."""
    Store.trim(tau.open_store("memory:"), RUN, 2, [], expected=2)


@meets
def store_full() -> None:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    with tau.open_store("file:runs") as place:
        place.list()
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # as on a full disk
        try:
            graph = StateGraph("climate", store=place)
            graph.add_node("ingest", lambda state: {})
            graph.sequence("ingest")
            graph.execute({}, run_id=RUN)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


@meets
def store_unavailable() -> None:
    Path("archive").write_text("")
    tau.open_store("sqlite:///archive/runs.db").load(RUN)


@meets
def chain() -> None:
    tau.process_chain([2021, 2022], 0, fails, tau.ChainConfig(observer=None))


@meets
def parallel() -> None:
    tau.process_parallel([2021, 2022], lambda year: fails() if year == 2022 else year, QUIET)


@meets
def task() -> None:
    try:
        parallel()
    except tau.ParallelError as error:
        raise error.errors[0] from None


@meets
def conditional() -> None:
    tau.process_conditional(
        {}, lambda state: "Winter", tau.Routes({"winter": dict, "summer": dict}), tau.ConditionalConfig(observer=None)
    )


class Odd(Exception):
    """An error that needs more than its text to be made."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(f"{number}: {why}")


def raises_oddly(item: int) -> int:
    raise Odd(item, "no data")


def dies(item: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return item


def elsewhere(function: Callable[[int], int]) -> None:
    """Raise what becomes of an item in another process."""
    try:
        tau.process_parallel([2021], function, tau.ParallelConfig(executor="processes", max_workers=1, observer=None))
    except tau.ParallelError as failed:
        raise failed.errors[0].error or failed from None


@meets
def remote() -> None:
    elsewhere(raises_oddly)


@meets
def worker() -> None:
    elsewhere(dies)


@meets
def executor() -> None:
    """The file of a function is edited after the program has loaded it."""
    place = Path("yearly_trends.py")
    place.write_text("def trend(year):\n    return year\n")
    sys.path.insert(0, str(place.parent.resolve()))
    try:
        trends = importlib.import_module("yearly_trends")
        place.write_text("def trend(year):\n    return year + 1\n")
        elsewhere(trends.trend)
    finally:
        sys.path.pop(0)
        sys.modules.pop("yearly_trends", None)


def in_branches(sst: Callable[[Any], Any], co2: Callable[[Any], Any]) -> None:
    graph = StateGraph("climate")
    graph.add_node("ingest", tau.branches_node({"sst": sst, "co2": co2}))
    graph.sequence("ingest")
    caused(lambda: graph.execute({}))


@meets
def branch() -> None:
    in_branches(lambda state: {"sst": 15.1}, fails)


@meets
def merge() -> None:
    in_branches(lambda state: {"log": ["sst"]}, lambda state: {"log": ["co2"]})


@meets
def artifact() -> None:
    def writes(state: Any, ctx: Context) -> None:
        with ctx.artifact("clean.csv") as path:
            path.write_text("315.98")

    graph = StateGraph("climate", store=STORE)
    graph.add_node("ingest", writes)
    graph.add_node("analyze", fails)
    graph.sequence("ingest", "analyze")
    try:
        graph.execute({}, run_id=RUN)
    except tau.ExecutionError as error:
        error.state["clean.csv"].path.unlink()
        graph.resume(RUN)


@meets
def agent() -> None:
    tau.agents.scripted([]).chat("How warm was 2024?")


@meets
def hub() -> None:
    station = tau.Hub("station")
    for _ in range(2):
        station.register("engineer", print)
