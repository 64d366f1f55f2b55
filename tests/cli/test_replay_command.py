"""`tau replay`: a run once more, answered from the log of the other one."""

from __future__ import annotations

import pytest
from cli_shell import Here, Shell

GRAPH = "asking.py:graph"
ASKING = """
from tau import StateGraph

graph = StateGraph("asking", store="sqlite:///runs.db")

def ask(prompt):
    with open("asked", "a") as file:
        file.write(prompt + "\\n")
    return prompt.upper()

@graph.node
def work(state, ctx):
    return {"out": ctx.journal("ask", ask, "PROMPT")}

graph.sequence(work)
"""


@pytest.fixture
def asking(shell: Shell) -> Shell:
    shell.write("asking.py", ASKING.replace("PROMPT", "one"))
    return shell


def test_it_runs_the_code_of_nodes_on_the_answers_of_then(asking: Shell, here: Here) -> None:
    here("run", GRAPH, "--run-id", "r")
    asking.write("asking.py", ASKING.replace("PROMPT", "one").replace('"out":', '"other":'))
    found = asking.json("replay", "r", GRAPH, "--as", "b", "--values", "--max-runtime", "60", "--quiet")
    assert (found["run_id"], found["status"], found["exit_code"]) == ("b", "finished", 0)
    assert [(key["name"], key["value"]) for key in found["keys"]] == [("other", "ONE")]
    assert (asking.folder / "asked").read_text().split() == ["one"]
    assert here.json("show", "b", "--store", "sqlite:///runs.db")["parent"] == "r"


def test_a_call_that_is_missing_is_named_or_made(asking: Shell) -> None:
    asking.run("run", GRAPH, "--run-id", "r")
    asking.write("asking.py", ASKING.replace("PROMPT", "two"))
    said = asking.run("replay", "r", GRAPH, code=4).stderr
    assert "call 'ask' of node 'work' (visit 1) is not in the log of run 'r'" in said
    assert (asking.folder / "asked").read_text().split() == ["one"]
    asking.run("replay", "r", GRAPH, "--missing", "call")
    assert (asking.folder / "asked").read_text().split() == ["one", "two"]


def test_what_cannot_be_replayed_is_told(asking: Shell) -> None:
    asking.run("replay", "r", GRAPH, code=3)
    asking.run("run", GRAPH, "--run-id", "r")
    assert "already exists" in asking.run("replay", "r", GRAPH, "--as", "r", code=4).stderr
