"""`tau pauses` and `tau answer`: a run that waits is answered from the command line, a process later."""

from __future__ import annotations

import pytest
from cli_shell import Here, Shell

ASKS = """
from dataclasses import dataclass
from tau import StateGraph, pause_node

@dataclass
class Approval:
    ok: bool
    note: str = ""

graph = StateGraph("article")
calls = open("calls.txt", "a")

@graph.node
def draft(state):
    print("draft", file=calls, flush=True)
    return {"text": "hello"}

graph.add_node("review", pause_node("review", form=Approval, prompt="May this go out?"))
graph.add_node("degree", pause_node("degree", form=int, deadline=1e6))

@graph.node
def publish(state):
    print("publish", file=calls, flush=True)
    return {"out": [state["text"], state["review"], state["degree"]]}

graph.sequence(draft, "review", "degree", publish)
"""
TARGET = "asks.py:graph"


@pytest.fixture
def asking(shell: Shell) -> Shell:
    shell.write("asks.py", ASKS)
    return shell


def test_a_run_is_answered_from_the_command_line_a_process_later(asking: Shell, store: str) -> None:
    at = ("--store", store)
    said = asking.error("run", TARGET, "--run-id", "r", *at, code=4)
    assert "waiting: run 'r' is waiting for an answer to 'review'" in said
    assert "--value JSON, or --set FIELD=VALUE for a form; tau pauses shows what is asked" in said
    assert "tau resume" in said
    assert asking.json("runs", *at)[0]["status"] == "waiting"
    shown = asking.run("pauses", *at).stdout.splitlines()[-1].split("\t")
    assert [shown[place] for place in (0, 1, 2, 5, 6)] == [
        "r", "review", "review", "{ok: boolean, note?: string}", "May this go out?",
    ]  # fmt: skip
    assert "review (May this go out?)" in asking.run("show", "r", *at).stdout
    done = asking.json("answer", "r", "review", "--set", "ok=true", "--set", "note=5", "--by", "ada", *at)
    assert (done["status"], done["by"]) == ("interrupted", "ada")
    assert done["resume"] == f"tau resume --store {store} r FILE.py:GRAPH"
    asking.run("resume", "r", TARGET, *at, code=4)
    asking.run("answer", "r", "degree", "--value", "2", "--change", "text=HELLO", *at)
    final = asking.json("resume", "r", TARGET, "--values", *at)
    assert {key["name"]: key["value"] for key in final["keys"]}["out"] == ["HELLO", {"ok": True, "note": "5"}, 2]
    assert asking.calls == ["draft", "publish"]
    history = asking.run("history", "r", *at).stdout
    assert "review, by ada" in history
    assert "degree, by " in history
    assert "set text" in history


def test_an_answer_may_come_from_a_file_or_from_stdin(asking: Shell, here: Here) -> None:
    here("run", TARGET, "--run-id", "r", code=4)
    asking.write("answer.json", '{"ok": false, "note": "no"}')
    here("answer", "r", "review", "--input", "answer.json", "--set", "note=not yet")
    here("resume", "r", TARGET, code=4)
    asking.run("answer", "r", "degree", "--input", "-", input="3")
    found = here.json("resume", "r", TARGET, "--values")
    assert found["keys"][-1]["value"] == ["hello", {"ok": False, "note": "not yet"}, 3]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["r", "review"], 2, "there is no answer: give {ok: boolean, note?: string} with --set NAME=VALUE"),
        (["r", "review", "--set", "ok=maybe"], 2, "ok: expected boolean, found string"),
        (["r", "review", "--set", "yes=true"], 2, "yes is not known; there are ok, note"),
        (["r", "review", "--set", "ok"], 2, "found no name before an equals sign"),
        (["r", "review", "--value", "1", "--set", "ok=true"], 2, "--value is the whole answer"),
        (["r", "review", "--input", "none.json"], 2, "cannot be read"),
        (["r", "review", "--input", "list.json", "--set", "ok=true"], 2, "holds no JSON object"),
        (["r", "revue", "--set", "ok=true"], 3, "it waits for an answer to 'review'"),
        (["q", "review", "--set", "ok=true"], 3, "no run 'q'"),
    ],
)
def test_an_answer_that_cannot_be_taken_says_why(
    asking: Shell, here: Here, words: list[str], code: int, said: str
) -> None:
    asking.write("list.json", "[1]")
    here("run", TARGET, "--run-id", "r", code=4)
    assert said in here("answer", *words, code=code).err
    assert here.json("runs")[0]["status"] == "waiting"


def test_what_is_over_is_refused(asking: Shell, here: Here) -> None:
    for run_id in ("r", "q"):
        here("run", TARGET, "--run-id", run_id, code=4)
    here("answer", "r", "review", "--set", "ok=true", "--by", "ada")
    assert "was answered by ada at" in here("answer", "r", "review", "--set", "ok=true", code=4).err
    here("cancel", "q")
    assert "was cancelled, so it waits for no answer" in here("answer", "q", "review", "--set", "ok=true", code=4).err
    assert here.json("pauses") == []


def test_nothing_that_waits_is_said(asking: Shell, here: Here) -> None:
    assert "nothing waits for an answer in sqlite:///" in here("pauses").err
    here("pauses", "r", code=3)
    here("run", TARGET, "--run-id", "r", code=4)
    assert len(here.json("pauses", "r")) == len(here.json("pauses", "--graph", "article")) == 1
    assert here.json("pauses", "--graph", "other") == []
    assert "waiting for an answer" in here("resume", "r", TARGET, "--plan", code=4).out


def test_the_command_that_goes_on_leaves_out_a_graph_that_pyproject_names(asking: Shell, here: Here) -> None:
    name = here.json("graph", TARGET)["graph"]
    asking.write("pyproject.toml", f'[tool.tau.graphs]\n{name} = "{TARGET}"\n')
    here("run", name, "--run-id", "r", code=4)
    assert here.json("answer", "r", "review", "--set", "ok=true")["resume"] == "tau resume r"
    here("resume", "r", code=4)
