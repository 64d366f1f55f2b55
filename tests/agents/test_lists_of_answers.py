"""A script that is a list never answers in the wrong place: not after a kill, not in another process, not by halves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tau
from tau import agents
from tau.agents.errors import AgentError

PROGRAM = Path(__file__).with_name("list_program.py")


def run(kind: str, place: Path, kill: str = "") -> str:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), kind, f"sqlite:///{place}/runs.db"],
        env={**os.environ, "KILL": kill}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == (-9 if kill else 0), done.stderr
    return done.stdout.strip()


def test_after_a_kill_a_list_is_refused_and_a_mapping_goes_on(tmp_path: Path) -> None:
    run("list", tmp_path, kill="between")
    assert "answers from a list, which begins anew in each process, and run 'r' goes on" in run("list", tmp_path)
    assert run("mapping", tmp_path) == "up none"


def test_in_the_process_that_began_the_run_a_list_goes_on(tmp_path: Path) -> None:
    agent = agents.scripted(["up", "none"])
    graph = tau.StateGraph("lists", store=f"sqlite:///{tmp_path}/runs.db")
    failures = [ValueError("before the first answer"), ValueError("before the second")]

    def fail(at: int) -> None:
        if len(failures) == at:
            raise failures.pop(0)

    @graph.node
    def first(_: tau.State) -> dict[str, Any]:
        fail(2)
        return {"trend": agent.chat("the trend").text}

    @graph.node
    def second(_: tau.State) -> dict[str, Any]:
        fail(1)
        return {"outliers": agent.chat("an outlier").text}

    graph.sequence(first, second)
    with pytest.raises(tau.ExecutionError, match="before the first"):
        graph.execute({}, run_id="r")
    with pytest.raises(tau.ExecutionError, match="before the second"):
        graph.resume("r")
    final = graph.resume("r")
    assert (final["trend"], final["outliers"]) == ("up", "none")


def test_a_list_that_a_node_makes_is_refused_where_its_first_answer_was_recorded(tmp_path: Path) -> None:
    graph = tau.StateGraph("lists", store=f"sqlite:///{tmp_path}/runs.db")
    failures = [ValueError("between")]

    @graph.node
    def work(_: tau.State) -> dict[str, Any]:
        agent = agents.scripted(["up", "none"])
        found = [agent.chat("the trend").text]
        if failures:
            raise failures.pop()
        return {"found": [*found, agent.chat("an outlier").text]}

    graph.sequence(work)
    with pytest.raises(tau.ExecutionError, match="between"):
        graph.execute({}, run_id="r")
    with pytest.raises(tau.ExecutionError, match="has answers of it that this list did not give") as caught:
        graph.resume("r")
    assert isinstance(caught.value.__cause__, AgentError)


def test_a_list_is_refused_in_a_fork_of_a_run_that_it_did_not_answer(tmp_path: Path) -> None:
    def graph_of(agent: agents.Agent) -> tau.StateGraph:
        graph = tau.StateGraph("lists", store=f"sqlite:///{tmp_path}/runs.db")
        graph.add_node("first", agent.node("the trend", into="trend"))
        graph.add_node("second", agent.node("an outlier", into="outliers"))
        graph.sequence("first", "second")
        return graph

    known = agents.scripted(["up", "none", "few"], name="a")
    graph_of(known).execute({}, run_id="r")
    at = graph_of(known).history("r")[0].position
    graph_of(known).fork("r", at=at, new_run_id="other")
    with pytest.raises(tau.ExecutionError, match="is a fork of 'r'"):
        graph_of(agents.scripted(["up", "none"], name="a")).resume("other")
    assert graph_of(known).resume("other")["outliers"] == "few"
