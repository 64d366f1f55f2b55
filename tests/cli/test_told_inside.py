"""What the command tells of a node in flight: what of it is kept, what was in flight at a kill, what it waits for."""

from __future__ import annotations

import signal

import pytest
from cli_shell import GRAPH_OF, Here, Shell

TOLD = (
    GRAPH_OF
    + """
import os, signal
from tau import *

def one(x):
    if x == 3 and os.path.exists("broken"):
        raise OSError("away")
    return x

def load(state):
    return {"raw": 1}

def fit(state, ctx):
    return {"r": ctx.map("one", one, range(5), workers=1)}

def stop(state):
    if os.path.exists("stop"):
        from tau.engine.stop import StopNow
        raise StopNow("max_runtime")

def slow(state, ctx):
    if os.path.exists("die"):
        ctx.step("die", os.kill, os.getpid(), signal.SIGKILL)

items = graph_of("items", load=load, fit=fit)
alone = graph_of("alone", fit=fit)
deep = graph_of("deep", prep=graph_of("inner", load=load, fit=fit))
stopped = graph_of("stopped", prep=graph_of("inner", load=load, stop=stop))
killed = graph_of("killed", n=branches_node({"f": slow, "g": graph_of("g", load=slow)}))
nested = graph_of("nested", o=graph_of("x", load=load, n=branches_node({"f": slow, "g": slow})))
asks = graph_of("asks", prep=graph_of("inner", load=load, ok=pause_node("ok", form=bool)))
two = graph_of("two", n=branches_node({"b": pause_node("ok", form=bool), "a": pause_node("n", form=int)}))
def first(state):
    one(3)

late = graph_of("late", n=branches_node(
    {"b": graph_of("b", first=first, ok=pause_node("ok", form=bool)), "a": pause_node("n", form=int)}
))
top = graph_of("top", load=load, review=pause_node("ok", form=bool), last=load)
"""
)


@pytest.fixture
def file(shell: Shell) -> str:
    shell.write("told.py", TOLD)
    return "told.py"


@pytest.mark.parametrize(
    "case",
    [
        ("items", "resumes at fit, after load; 3 finished items are kept\n"),
        ("alone", "resumes at fit, 3 finished items are kept\n"),
        ("deep", "resumes at prep, 1 finished visit inside it and 3 finished items are kept\n"),
    ],
    ids=lambda case: case[0],
)
def test_a_resume_says_what_of_its_node_is_kept(
    shell: Shell, here: Here, file: str, store: str, case: tuple[str, str]
) -> None:
    name, told = case
    target, words = f"{file}:{name}", ("--store", store)
    shell.write("broken", "")
    here("run", target, "--run-id", "r", *words, code=1)
    assert told in here("resume", "r", target, *words, code=1).err
    shell.remove("broken")
    assert "finished item" not in here("resume", "r", target, "--on-change", "redo", *words).err


def test_a_stop_inside_is_not_shown_as_a_failure_of_what_is_around(
    shell: Shell, here: Here, file: str, store: str
) -> None:
    shell.write("stop", "")
    said = here("run", f"{file}:stopped", "--run-id", "r", "--store", store, code=75).err
    lines = [line for line in said.splitlines() if " prep" in line and line[0] == "-"]
    assert [line.split()[1] for line in lines] == ["prep/stop", "prep"]
    assert all(" stopped; resume " in line for line in lines)
    assert "RunInterruptedError" not in said
    shell.remove("stop")
    here("resume", "r", f"{file}:stopped", "--store", store)


@pytest.mark.parametrize("name", ["killed", "nested"])
def test_a_plan_lists_the_branches_that_were_in_flight_at_a_kill(
    shell: Shell, here: Here, file: str, store: str, name: str
) -> None:
    target, words = f"{file}:{name}", ("--store", store)
    shell.write("die", "")
    shell.run("run", target, "--run-id", "r", *words, code=-signal.SIGKILL)
    plan = here.json("resume", "r", target, "--plan", *words)["plan"]
    runs = {line["node"]: line["why"] for line in plan if line["what"] == "run"}
    untold = {node for node, why in runs.items() if why == "nothing of it is stored"}
    assert untold >= {"n/f"} if name == "killed" else untold == {"o/n/f", "o/n/g"}
    assert "n" in runs or "o" in runs
    shell.remove("die")
    here("resume", "r", target, *words)


def test_a_branch_that_is_known_is_listed_once(shell: Shell, here: Here, file: str, store: str) -> None:
    words = ("--store", store)
    here("run", f"{file}:two", "--run-id", "r", *words, code=4)
    here("answer", "r", "ok", "--value", "true", *words)
    plan = here.json("resume", "r", f"{file}:two", "--plan", *words)["plan"]
    assert sorted(line["node"] for line in plan) == ["n", "n/a", "n/b"]


def test_the_plan_of_a_run_that_waits_lists_what_is_finished_inside(here: Here, file: str, store: str) -> None:
    here("run", f"{file}:asks", "--run-id", "r", "--store", store, code=4)
    plan = here.json("resume", "r", f"{file}:asks", "--plan", "--store", store, code=4)["plan"]
    assert [(line["what"], line["node"]) for line in plan] == [("skip", "prep/load"), ("refuse", None)]


def test_questions_are_named_in_one_order(shell: Shell, here: Here, file: str, store: str) -> None:
    """The first asked first, also where the branch that is declared first asks in a later attempt."""
    shell.write("broken", "")
    here("run", f"{file}:late", "--run-id", "r", "--store", store, code=1)
    shell.remove("broken")
    told = "waiting for an answer to 'n', 'ok'\n"
    assert told in here("resume", "r", f"{file}:late", "--store", store, code=4).err
    assert told in here("resume", "r", f"{file}:late", "--store", store, code=4).err
    assert here.json("show", "r", "--store", store)["waits_for"] == ["n", "ok"]


def test_history_names_the_node_of_a_pause_and_its_answer(here: Here, file: str, store: str) -> None:
    here("run", f"{file}:top", "--run-id", "r", "--store", store, code=4)
    here("answer", "r", "ok", "--value", "true", "--store", store)
    here("resume", "r", f"{file}:top", "--store", store)
    entries = here.json("history", "r", "--store", store)["entries"]
    assert {one["kind"]: one.get("node") for one in entries if one["kind"] in ("pause", "answer")} == {
        "pause": "review", "answer": "review",
    }  # fmt: skip
    rows = [line.split("\t") for line in here("history", "r", "--limit", "6", "--store", store).out.splitlines()]
    assert {row[2]: row[3] for row in rows if row[2] in ("pause", "answer")} == {"pause": "review", "answer": "review"}


def test_a_seed_that_is_none_is_said_to_be_no_whole_number(here: Here, file: str) -> None:
    said = here("run", f"{file}:top", "--seed", "abc", code=2).err
    assert "'abc' is not a valid whole number" in said


def test_tau_stands_once_in_the_provenance(here: Here, file: str, store: str) -> None:
    """A module with ``from tau import *`` has a copy of its version."""
    here("run", f"{file}:alone", "--run-id", "r", "--store", store)
    facts = here.json("show", "r", "--store", store)["provenance"]
    assert "tau" in facts
    assert {"package.tau", "package.told"}.isdisjoint(facts)
