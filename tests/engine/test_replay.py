"""`StateGraph.replay`: a run once more, answered from the log of the other one; only the code of nodes runs."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_steps import config, elsewhere

from tau import (
    CheckpointNotFoundError,
    ConfigError,
    Context,
    ExecutionError,
    ReplayError,
    RunExistsError,
    RunFinishedError,
    RunWaitingError,
    State,
    StateGraph,
    UnsupportedFormatError,
    branches_node,
    collect_runs,
    current,
    pause_node,
    process_chain,
)
from tau.log.encoding import unseal
from tau.log.records import Admitted, Item
from tau.stores.contract import Store


class Service:
    """What must not be asked in a replay: numbers its answers."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def ask(self, prompt: Any) -> str:
        self.asked.append(prompt)
        return f"{prompt} {len(self.asked)}"


def graph_of(store: Any, *nodes: Any, **options: Any) -> StateGraph:
    graph = StateGraph(config(store, **options))
    for number, node in enumerate(nodes):
        graph.add_node(f"n{number}", node)
    graph.sequence(*(f"n{number}" for number in range(len(nodes))))
    return graph


def items(store: Store, run_id: str) -> list[Item]:
    records = [unseal(run_id, position, data) for position, data in store.read(run_id)]
    return [record for record in records if isinstance(record, Item)]


def everything(service: Service) -> Callable[..., Any]:
    """A node that asks in every way there is."""

    def item(number: int) -> str:
        return current().journal("in item", service.ask, number)

    def step() -> str:
        return current().journal("in step", service.ask, "s")

    def link(item: int, state: Any) -> Any:
        service.asked.append(item)
        return state.set("sum", state["sum"] + item) if isinstance(state, State) else [*state, item]

    def node(state: State, ctx: Context) -> dict[str, Any]:
        return {
            "calls": [ctx.journal("ask", service.ask, "p") for _ in range(3)],
            "step": ctx.step("s", step),
            "large": ctx.step("large", lambda: service.ask("l") * 1000),
            "map": ctx.map("m", item, range(5)),
            "chain": process_chain(range(4), ["x" * 600], link, name="c").final,
            "states": dict(process_chain(range(4), State({"sum": 1, "big": "y" * 900}), link, name="d").final),
            "seed": ctx.seed("a"),
        }

    return node


def test_nothing_is_asked_again_and_the_result_is_the_same(store: Store) -> None:
    service = Service()
    graph = graph_of(store, everything(service), lambda state: {"seen": len(state["map"])})
    first = graph.execute({"in": 1}, run_id="r")
    asked = len(service.asked)
    with elsewhere(store) as fresh:
        again = graph_of(fresh, everything(service), lambda state: {"seen": len(state["map"])})
        second = again.replay("r", new_run_id="b")
        assert dict(second) == dict(first)
        assert len(service.asked) == asked
        places = [{(one.scope, one.key) for one in items(fresh, run_id)} for run_id in "br"]
        assert places[0] < places[1]  # what steps and items had called is not asked for
        assert all(one.body["replayed"] for one in items(fresh, "b"))
        row = unseal("b", *next(iter(fresh.read("b"))))
        assert isinstance(row, Admitted)
        assert row.manifest is not None
        assert (row.manifest.progress.parent, row.manifest.progress.replays) == ("r", "error")
        third = again.replay("b")  # its own log has all of it
        assert dict(third) == dict(first)
        assert len(service.asked) == asked


def test_a_replay_outlives_its_parent_once_it_has_ended(store: Store) -> None:
    service = Service()
    graph = graph_of(store, everything(service))
    first = graph.execute({}, run_id="r")
    graph.replay("r", new_run_id="b")
    store.delete("r")
    assert dict(graph.resume("b")) == dict(first)
    assert dict(graph.replay("b")) == dict(first)


def test_changed_code_of_a_node_runs_on_the_answers_of_then(store: Store) -> None:
    service = Service()

    def before(state: State, ctx: Context) -> dict[str, Any]:
        return {"n": int(ctx.journal("ask", service.ask, "p").split()[0])}

    def after(state: State, ctx: Context) -> dict[str, Any]:
        return {"n": int(ctx.journal("ask", service.ask, "p").split()[1])}

    with pytest.raises(ExecutionError):
        graph_of(store, before).execute({}, run_id="r")
    assert graph_of(store, after).replay("r")["n"] == 1
    assert service.asked == ["p"]


def test_an_item_that_failed_is_done_by_changed_code_on_the_answers_in_it(store: Store) -> None:
    service = Service()

    def parsed(which: int) -> Callable[[int], str]:
        return lambda number: current().journal("ask", service.ask, f"{number}").split()[which]

    def node(which: int) -> Callable[..., Any]:
        def work(state: State, ctx: Context) -> dict[str, Any]:
            step = ctx.step("s", parsed(which), 7)
            return {"out": [step, *ctx.map("m", parsed(which), [1, 2, 3], workers=1)]}

        return work

    with pytest.raises(ExecutionError):
        graph_of(store, node(5)).execute({}, run_id="r")
    assert graph_of(store, node(0)).replay("r", missing="call")["out"] == ["7", "1", "2", "3"]
    assert service.asked[0] == "7"
    assert sorted(service.asked) == ["1", "2", "3", "7"]


@pytest.mark.parametrize("what", ["call", "step", "item"])
def test_what_the_other_run_has_not_done_is_an_error_that_names_it(store: Store, what: str) -> None:
    service = Service()

    def node(prompt: str) -> Callable[..., Any]:
        def work(state: State, ctx: Context) -> dict[str, Any]:
            if what == "call":
                return {"out": ctx.journal("ask", service.ask, prompt)}
            if what == "step":
                return {"out": ctx.step(prompt, service.ask, prompt)}
            return {"out": ctx.map("m", service.ask, [prompt])}

        return work

    graph_of(store, node("a")).execute({}, run_id="r")
    changed = graph_of(store, node("b"))
    with pytest.raises(ExecutionError) as caught:
        changed.replay("r", new_run_id="b")
    error = caught.value.__cause__
    assert isinstance(error, ReplayError)
    assert (error.parent, error.what) == (
        "r",
        {"call": "call 'ask'", "step": "step 'b'", "item": "an item of map 'm'"}[what],
    )
    assert "node 'n0' (visit 1)" in str(error)
    assert "missing='call'" in error.hint
    assert service.asked == ["a"]
    with pytest.raises(ExecutionError):
        changed.resume("b")  # it stays a replay
    assert service.asked == ["a"]
    out = changed.replay("r", missing="call")["out"]
    assert service.asked == ["a", "b"]
    assert "b 2" in out


def test_a_missing_call_is_not_retried_nor_collected(store: Store) -> None:
    service = Service()

    def node(prompt: str) -> Callable[..., Any]:
        def work(state: State, ctx: Context) -> dict[str, Any]:
            out = ctx.map("m", lambda p: ctx.journal("ask", service.ask, p), [prompt], errors="collect")
            return {"out": [one.status for one in out]}

        return work

    graph_of(store, node("a")).execute({}, run_id="r")
    with pytest.raises(ExecutionError, match="not in the log of run 'r'"):
        graph_of(store, node("b")).replay("r")
    assert service.asked == ["a"]


def test_all_visits_are_answered_each_by_its_own(store: Store) -> None:
    service = Service()
    graph = StateGraph(config(store))
    graph.add_node("lap", lambda state, ctx: {"out": [*state["out"], ctx.journal("ask", service.ask, "p")]})
    graph.add_node("end", lambda state: None)
    graph.add_edge("lap", "lap", lambda state: len(state["out"]) < 3)
    graph.add_edge("lap", "end")
    graph.set_entry_point("lap")
    graph.set_exit_point("end")
    first = graph.execute({"out": []}, run_id="r")
    assert first["out"] == ["p 1", "p 2", "p 3"]
    assert graph.replay("r")["out"] == first["out"]
    assert len(service.asked) == 3


def test_branches_are_answered_too(store: Store) -> None:
    service = Service()

    def branch(state: State, ctx: Context) -> dict[str, Any]:
        return {ctx.node.rpartition("/")[2]: ctx.journal("ask", service.ask, "p")}

    graph = graph_of(store, branches_node({"one": branch, "two": branch}))
    first = graph.execute({}, run_id="r")
    assert dict(graph.replay("r")) == dict(first)
    assert len(service.asked) == 2


def test_people_are_not_asked_again(store: Store) -> None:
    def node(state: State, ctx: Context) -> dict[str, Any]:
        return {"got": [state["review"], ctx.ask("more", form=int), state.get("note")]}

    graph = graph_of(store, pause_node("review", form=bool), node)
    with pytest.raises(RunWaitingError):
        graph.execute({}, run_id="r")
    graph.answer("r", "review", True, changes={"note": "seen"})
    with pytest.raises(RunWaitingError):
        graph.resume("r")
    with pytest.raises(ExecutionError, match="an answer to 'more'") as caught:
        graph.replay("r")
    assert isinstance(caught.value.__cause__, ReplayError)
    first = graph.resume("r", answers={"more": 7})
    assert first["got"] == [True, 7, "seen"]
    assert dict(graph.replay("r")) == dict(first)


def test_a_default_that_counted_counts_again(store: Store) -> None:
    graph = graph_of(store, pause_node("review", form=bool, deadline=1e-6, default=False))
    try:
        graph.execute({}, run_id="r")
    except RunWaitingError:
        graph.resume("r")
    assert graph.replay("r")["review"] is False


def test_an_artifact_of_a_step_that_is_answered_is_in_the_state(store: Store, tmp_path: Path) -> None:
    def make() -> int:
        with current().artifact("a.txt") as path:
            path.write_text("made")
        return 1

    graph = graph_of(store, lambda state, ctx: {"n": ctx.step("s", make)}, artifacts=str(tmp_path / "files"))
    graph.execute({}, run_id="r")
    assert graph.replay("r")["a.txt"].path.read_text() == "made"


async def test_areplay_does_it_in_an_event_loop(store: Store) -> None:
    service = Service()

    async def ask(prompt: str) -> str:
        await asyncio.sleep(0)
        return service.ask(prompt)

    async def node(state: State, ctx: Context) -> dict[str, Any]:
        calls = await asyncio.gather(*(ctx.journal("ask", ask, n) for n in "aab"))
        return {"out": [*calls, *await ctx.map("m", ask, "cd"), await ctx.step("s", ask, "e")]}

    graph = graph_of(store, node)
    first = await graph.aexecute({}, run_id="r")
    assert (await graph.areplay("r", new_run_id="b"))["out"] == first["out"]
    assert len(service.asked) == 6


def test_a_run_of_which_too_little_is_left_is_refused_by_what_is_missing(store: Store) -> None:
    graph = graph_of(store, lambda state: {"n": state.get("n", 0) + 1})
    with pytest.raises(CheckpointNotFoundError):
        graph.replay("nobody")
    graph.execute({}, run_id="r")
    with pytest.raises(RunExistsError):
        graph.replay("r", new_run_id="r")
    with pytest.raises(ConfigError, match="missing must be"):
        graph.replay("r", missing="never")  # type: ignore[arg-type]
    gone = graph_of(store, lambda state: None, preserve=False)
    gone.execute({}, run_id="gone")
    with pytest.raises(RunFinishedError):
        gone.replay("gone")
    State({"n": 5}, run_id="hand").checkpoint(store)
    graph_again = graph_of(store, lambda state: None)
    assert graph_again is not None


def test_a_trimmed_run_is_refused(store: Store) -> None:
    graph = StateGraph(config(store))
    graph.add_node("lap", lambda state: {"n": state["n"] + 1, "blob": "x" * 300 + str(state["n"])})
    graph.add_node("end", lambda state: None)
    graph.add_edge("lap", "lap", lambda state: state["n"] < 120)
    graph.add_edge("lap", "end")
    graph.set_entry_point("lap")
    graph.set_exit_point("end")
    graph.execute({"n": 0}, run_id="r")
    assert collect_runs(store, None, trim=True).trimmed == ("r",)
    with pytest.raises(ConfigError, match="was dropped"):
        graph.replay("r")


def test_an_older_version_refuses_a_replay_and_does_not_run_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of(store, lambda state: None)
    graph.execute({}, run_id="r")
    graph.replay("r", new_run_id="b")
    position, data = next(iter(store.read("b")))
    assert data[3] == 6
    monkeypatch.setattr("tau.log.encoding.FORMAT", 5)
    with pytest.raises(UnsupportedFormatError):
        unseal("b", position, data)


WORKER = """
import os, signal, sys
from tau import StateGraph, open_store

url, requests, verb, deadly = sys.argv[1:5]

def request(prompt):
    with open(requests, "a") as file:
        file.write(prompt + "\\n")
    return prompt.upper()

def node(state, ctx):
    out = []
    for n in range(5):
        out.append(ctx.journal("ask", request, f"p{n}"))
        out.append(ctx.step(f"s{n}", request, f"s{n}"))
        if n == 2 and deadly == "die":
            os.kill(os.getpid(), signal.SIGKILL)
    return {"out": out}

graph = StateGraph("g", store=open_store(url))
graph.add_node("n", node)
graph.sequence("n")
final = graph.execute({}, run_id="r") if verb == "execute" else (
    graph.replay("r", new_run_id="b") if verb == "replay" else graph.resume("b"))
print(final["out"])
"""


@pytest.mark.parametrize("place", ["sqlite:///{}/runs.db", "file://{}/runs"])
def test_a_replay_that_is_killed_goes_on_as_a_replay(tmp_path: Path, place: str) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    requests = tmp_path / "requests"
    words = [sys.executable, str(tmp_path / "worker.py"), place.format(tmp_path), str(requests)]
    first = subprocess.run([*words, "execute", "no"], capture_output=True, text=True, timeout=120, check=True)
    asked = requests.read_text()
    killed = subprocess.run([*words, "replay", "die"], capture_output=True, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = subprocess.run([*words, "resume", "no"], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == first.stdout
    assert requests.read_text() == asked
