"""`StateGraph.failure` and `StateGraph.runs`: what became of the runs of a graph, asked in Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from tau import CheckpointNotFoundError, ConfigError, ExecutionError, Retry, RunFailure, State, StateGraph
from tau.stores.memory import MemoryStore


def ingest(state: State) -> None:
    return None


def analyze(state: State) -> None:
    if state["broken"]:
        try:
            raise OSError("no such grid")
        except OSError as error:
            raise ValueError("cannot analyze") from error


def make(store: object) -> StateGraph:
    graph = StateGraph("climate", store=store)  # type: ignore[arg-type]
    graph.add_node("analyze", analyze, retry=Retry(attempts=2, delay=0.0))
    graph.sequence(ingest, "analyze")
    return graph


@pytest.mark.parametrize("url", ["memory:", "sqlite:///runs.db", "file:runs"])
def test_a_failed_run_says_why(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    graph = make(url)
    with pytest.raises(ExecutionError):
        graph.execute({"broken": True}, run_id="r")
    failure = graph.failure("r")
    assert isinstance(failure, RunFailure)
    assert (failure.node, failure.attempt, failure.type, failure.text) == ("analyze", 2, "ValueError", "cannot analyze")
    file, line, function = failure.frames[-1]
    assert (Path(file).name, function) == (Path(__file__).name, "analyze")
    assert line > 0
    assert failure.cause is not None
    assert (failure.cause.type, failure.cause.text) == ("OSError", "no such grid")


def test_a_run_that_has_not_failed_has_no_failure() -> None:
    graph = make(MemoryStore())
    graph.execute({"broken": False}, run_id="fine")
    graph.admit({"broken": True}, run_id="later")
    assert graph.failure("fine") is None
    assert graph.failure("later") is None
    with pytest.raises(CheckpointNotFoundError, match="nobody"):
        graph.failure("nobody")


def test_the_failure_is_gone_once_the_run_went_on() -> None:
    graph = make(MemoryStore())
    with pytest.raises(ExecutionError):
        graph.execute({"broken": True}, run_id="r")
    forked = graph.fork("r", changes={"broken": False})
    graph.resume(forked)
    assert graph.failure(forked) is None
    assert graph.failure("r") is not None


def test_a_failed_run_of_which_the_summary_is_left_is_not_said_to_be_fine() -> None:
    graph = make(MemoryStore())
    with pytest.raises(ExecutionError):
        graph.execute({"broken": True}, run_id="r")
    graph.store.delete("r", keep_summary=True)
    with pytest.raises(CheckpointNotFoundError, match="only its summary"):
        graph.failure("r")


def test_the_runs_of_a_graph_are_those_of_its_name() -> None:
    graph = make(MemoryStore())
    other = StateGraph("another", store=graph.store)
    other.sequence(ingest)
    other.execute({}, run_id="other")
    graph.execute({"broken": False}, run_id="first", tags=["kept"])
    with pytest.raises(ExecutionError):
        graph.execute({"broken": True}, run_id="second")
    assert [row.run_id for row in graph.runs()] == ["second", "first"]
    assert list(graph.runs()) == list(graph.store.runs(graph="climate"))
    assert [row.run_id for row in graph.runs(status="failed")] == ["second"]
    assert [row.run_id for row in graph.runs(tag="kept")] == ["first"]
    assert [row.run_id for row in graph.runs(limit=1)] == ["second"]


def test_a_graph_without_a_store_says_so() -> None:
    graph = StateGraph("climate")
    graph.sequence(ingest)
    with pytest.raises(ConfigError, match="checkpointing not enabled"):
        graph.runs()
    with pytest.raises(ConfigError, match="checkpointing not enabled"):
        graph.failure("r")
