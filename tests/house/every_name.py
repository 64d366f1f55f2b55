"""Uses every public name as a typed program does; mypy --strict reads it, nothing runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import tau
from tau import (
    END,
    START,
    AgentError,
    AnsweredError,
    AnswerError,
    Artifact,
    ArtifactError,
    BranchError,
    ChainConfig,
    ChainError,
    ChainResult,
    Checkpoint,
    CheckpointConfig,
    CheckpointNotFoundError,
    Collected,
    ConditionalConfig,
    ConditionalError,
    ConfigError,
    Context,
    CorruptCheckpointError,
    Damage,
    Event,
    ExecutionError,
    ExecutorError,
    GraphChangedError,
    GraphConfig,
    GraphError,
    Hub,
    HubError,
    LeaseLostError,
    LimitExceededError,
    MergeError,
    Message,
    NodeTimeoutError,
    OpenPause,
    ParallelConfig,
    ParallelError,
    ParallelResult,
    PauseExpiredError,
    PauseNotFoundError,
    RemoteError,
    Removal,
    ReplayError,
    ResumePlan,
    Retention,
    Retry,
    Routes,
    RunCancelledError,
    RunExistsError,
    RunFailure,
    RunFinishedError,
    RunInterruptedError,
    RunOwnedError,
    RunStats,
    RunWaitingError,
    SchemaError,
    State,
    StateGraph,
    Stats,
    Stop,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    Summary,
    TaskError,
    TauError,
    Transfer,
    UnknownObserverError,
    UnknownStoreError,
    UnserializableError,
    UnsupportedFormatError,
    Verification,
    WaitTimeoutError,
    WorkerError,
    WorkerReport,
    __version__,
    agents,
    always,
    and_,
    branches_node,
    chain_node,
    check,
    collect_runs,
    conditional_node,
    copy_run,
    current,
    export_run,
    graph_node,
    hub,
    import_run,
    key_equals,
    key_exists,
    not_,
    observers,
    open_store,
    or_,
    parallel_node,
    pause_node,
    process_chain,
    process_conditional,
    process_parallel,
    register_observer,
    register_store,
    register_type,
    stats,
    stop_on,
    testing,
    verify,
    worker,
)  # fmt: skip  # fmt: skip


@register_type
@dataclass
class Station:
    name: str
    height: float


@dataclass
class Data:
    count: int


def configuration() -> GraphConfig:
    kept = CheckpointConfig(store="sqlite:///tau.db", interval=1, retention=Retention(keep_last=3))
    config: GraphConfig = GraphConfig("climate", checkpoint=kept).replace(max_iterations=50)
    kept = config.checkpoint.replace(preserve=True)
    config = GraphConfig.from_json(config.replace(checkpoint=kept).to_json())
    return GraphConfig.from_dict(config.to_dict())


def fit(state: State, ctx: Context) -> Mapping[str, Any]:
    rows: list[int] = ctx.step("load", sorted, [3, 1])
    squares: list[int] = ctx.map("square", square, rows, workers=2, retry=Retry(attempts=2))
    length: int = ctx.journal("ask", len, "dry")
    seed: int = ctx.seed("fit")
    with ctx.artifact("fit.txt") as path:
        Path(path).write_text(f"{seed} {current().key} {length}")
    ctx.emit("fit.best", value=min(squares))
    ctx.progress(1, total=2)
    return {"best": min(squares), "go": ctx.ask("go", form=bool), "until": ctx.deadline, "left": ctx.should_stop}


def square(number: int) -> int:
    return number * number


def build() -> StateGraph[Data]:
    graph: StateGraph[Data] = StateGraph("climate", schema=Data, observer=observers.Recorder())
    inner = StateGraph("inner", store="memory:")
    inner.sequence(fit)
    graph.add_node("fit", fit, retry=Retry(attempts=3, on=OSError), timeout=60.0)
    graph.add_node("inner", graph_node(inner, outputs=["best"]))
    graph.add_node("both", branches_node({"sst": fit, "co2": inner}, merge={"log": "append"}))
    graph.add_node("chain", chain_node([1, 2], 0, lambda item, total: total + item, ChainConfig(observer=None)))
    graph.add_node("map", parallel_node(lambda state: state["rows"], square, ParallelConfig(max_workers=2)))
    routes: Routes[Any, Any] = Routes({"big": lambda state: {"best": 1}})
    graph.add_node("choice", conditional_node(lambda state: "big", routes, ConditionalConfig(observer="slog")))
    graph.add_node("review", pause_node("verdict", form=Literal["publish", "reject"]))
    graph.add_edge(START, "fit")
    graph.add_edge("fit", "inner", and_(key_exists("best"), not_(or_(key_equals("best", 0), always()))))
    graph.add_conditional_edges("inner", lambda state: state["kind"], {"a": "map", "b": END})
    graph.add_edge("map", END)
    svg: str = graph.to_svg() + graph.to_mermaid() + graph.to_text()
    assert svg
    return graph


def work(graph: StateGraph[Data]) -> None:
    with stop_on() as stop:
        final: State[Data] = graph.execute(Data(1), run_id="r", stop=stop, tags=["night"], seed=1, resources={"db": 1})
    typed: Data = final.typed
    plan: ResumePlan = graph.plan("r")
    entries: list[Checkpoint] = graph.history("r")
    failure: RunFailure | None = graph.failure("r")
    rows: list[Summary] = list(graph.runs(status="failed", limit=3))
    open_: list[OpenPause] = graph.pauses()
    if failure is not None:
        print(
            failure.node, failure.type, failure.text, failure.frames[-1][1], typed.count, plan.pending, entries[0].seq
        )
    graph.answer("r", "verdict", "publish", by="mara")
    forked: str = graph.fork("r", at=1, changes={"count": 2})
    print(graph.replay("r", new_run_id="again", missing="call").to_json())
    print(rows[0].tags, open_[0].prompt, graph.resume(forked, stop=Stop()).to_json(), __version__)
    print(graph.admit(State({"count": 1})), graph.wait(forked, timeout=1.0).to_dict()["data"])
    report: WorkerReport = worker(graph, once=True)
    print(report.finished)


async def in_a_loop(graph: StateGraph[Data]) -> None:
    print((await graph.aexecute({"count": 1})).run_id, (await graph.aresume("r")).timestamp, await graph.aadmit())
    async for one in graph.astream({"count": 1}):
        print(one.type if isinstance(one, Event) else one.checkpoint_node)
    await graph.aanswer("r", "verdict", "reject")
    await graph.await_run("r")


def keep() -> None:
    store = open_store("sqlite:///tau.db")
    register_store("mine", store)
    register_observer("mine", lambda event: print(event.to_json()))
    found: Verification = verify(store)
    damage: list[Damage] = list(found.damage)
    numbers: Stats = stats(store)
    each: RunStats = numbers.runs[0]
    moved: Transfer = export_run(store, "r", "r.tau")
    import_run(store, "r.tau", new_run_id="copy")
    copy_run(store, "r", "file:runs")
    collected: Collected = collect_runs(store, Retention(max_age=60.0), dry_run=True)
    removed: list[Removal] = list(collected.removed)
    print(damage, each.keys, moved.run_id, removed)


def talk() -> None:
    with hub.Hub("station") as station:
        station.register("engineer", lambda message: f"{message.data} bar")
        answer: Message = station.request("commander", "engineer", 2.1)
    print(answer.data, isinstance(station, Hub))


def by_hand() -> None:
    chain: ChainResult[int] = process_chain([1, 2], 0, lambda item, total: total + item)
    mapped: ParallelResult[int] = process_parallel([1, 2], square)
    routes: Routes[State, Any] = Routes({"a": lambda state: None})
    chosen = process_conditional(State(), lambda state: "a", routes)
    artifact: Artifact = State().require("fit.txt")
    artifact.check()
    check([Station("MLO", 3397.0), chain.final, mapped.results, chosen])
    state: State = State.from_json(State({"a": 1}).to_json())
    State.from_bytes(state.set("b", 2).merge({"c": 3}).drop("a").clone().to_bytes())
    observers.notify(observers.slog, Event("loss", "climate", datetime.now(UTC), {}))
    result: testing.SimulationResult = testing.simulate(build, {"count": 1}, faults=[testing.Fault(0, 1, "crash")])
    print(result.violations, tau.key_exists("a"), agents.__name__)


ERRORS: tuple[type[TauError], ...] = (
    AgentError, AnsweredError, AnswerError, ArtifactError, BranchError, ChainError, CheckpointNotFoundError,
    ConditionalError, ConfigError, CorruptCheckpointError, ExecutionError, ExecutorError, GraphChangedError, GraphError,
    HubError, LeaseLostError, LimitExceededError, MergeError, NodeTimeoutError, ParallelError, PauseExpiredError,
    PauseNotFoundError, RemoteError, ReplayError, RunCancelledError, RunExistsError, RunFinishedError,
    RunInterruptedError, RunOwnedError, RunWaitingError, SchemaError, StoreError, StoreFullError,
    StoreUnavailableError, TaskError,
    UnknownObserverError, UnknownStoreError, UnserializableError, UnsupportedFormatError, WaitTimeoutError, WorkerError,
)  # fmt: skip
