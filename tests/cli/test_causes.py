"""What the command says of errors inside nodes: the user's own error and line, once, and what to do about it."""

from __future__ import annotations

import pytest
from cli_shell import GRAPH_OF, Here, Shell

from tau import BranchError
from tau.log.records import describe

INSIDE = (
    GRAPH_OF
    + """
import os
from tau import branches_node

def bad(state):
    raise ValueError("bad sensor")

def worse(state):
    raise OSError("no sensor")

def one(x):
    if x == 3 and os.path.exists("broken"):
        raise OSError("away")
    return x * 10

def other(x):
    return x * 11

def mapped(state, ctx):
    return {"r": ctx.map("one", other if os.path.exists("edited") else one, range(5), workers=1)}

def group(state):
    raise ExceptionGroup("both", [ValueError("first"), OSError("second")])

single = graph_of("single", outer=graph_of("inner", clean=bad))
both = graph_of("both", n=branches_node({"a": bad, "b": worse, "c": lambda state: None}))
grouped = graph_of("grouped", n=group)
maps = graph_of("maps", m=mapped)
deep = graph_of("deep", outer=graph_of("inner", m=mapped))
"""
)

BAD, WORSE = (INSIDE.splitlines().index(f"def {name}(state):") + 2 for name in ("bad", "worse"))
"""The lines at which these fail."""


@pytest.fixture
def file(shell: Shell) -> str:
    shell.write("inside.py", INSIDE)
    return "inside.py"


def causes(said: str) -> list[str]:
    return [line.split(None, 1)[1] for line in said.splitlines() if line.startswith("  cause ")]


def test_the_cause_is_the_users_error_at_their_line_inside_a_graph(here: Here, file: str, store: str) -> None:
    words = ("--run-id", "r", "--store", store)
    (cause,) = causes(here("run", f"{file}:single", *words, code=1).err)
    assert cause.startswith("ValueError at ")
    assert cause.endswith(f"inside.py:{BAD} in bad")
    error = here.json("resume", "r", f"{file}:single", "--store", store, code=1)["error"]
    assert error["cause"] == {"type": "ValueError", "message": "bad sensor"}
    assert error["node"] == "outer"
    shown = here("show", "r", "--store", store).out
    assert "raised from: ValueError\n" in shown
    assert "visits.py" not in shown
    assert here.json("show", "r", "--store", store)["failure"]["frames"] == []


def test_of_an_item_that_failed_its_own_line_is_told(here: Here, shell: Shell, file: str, store: str) -> None:
    shell.write("broken", "")
    (cause,) = causes(here("run", f"{file}:maps", "--store", store, code=1).err)
    assert cause.startswith("ParallelError: OSError at ")
    assert cause.endswith(f"inside.py:{INSIDE.splitlines().index('def one(x):') + 3} in one")


def test_every_branch_that_failed_has_its_cause_and_line(here: Here, file: str, store: str) -> None:
    first, second = causes(here("run", f"{file}:both", "--run-id", "r", "--store", store, code=1).err)
    assert first.startswith("ValueError: bad sensor, in node n/a, at ")
    assert first.endswith(f"inside.py:{BAD} in bad")
    assert second.startswith("OSError: no sensor, in node n/b, at ")
    assert second.endswith(f"inside.py:{WORSE} in worse")
    shown = here("show", "r", "--store", store).out
    for line, name in ((BAD, "bad"), (WORSE, "worse")):
        assert f"inside.py:{line} in {name}\n" in shown
    assert "/engine/" not in shown
    assert here.json("resume", "r", f"{file}:both", "--store", store, code=1)["error"]["cause"]["type"] == "BranchError"
    first, second = causes(here("run", f"{file}:grouped", "--store", store, code=1).err)
    assert (first.partition(",")[0], second.partition(",")[0]) == ("ValueError: first", "OSError: second")


def test_a_stored_error_of_branches_has_each_of_theirs_once() -> None:
    first, second = ValueError("1"), OSError("2")
    error = BranchError("both", errors={"a": first, "b": second})
    error.__cause__ = first
    found = describe(error)
    assert [one.text for one in found.errors] == ["1", "2"]
    assert found.cause is None


@pytest.mark.parametrize("name", ["maps", "deep"])
def test_a_map_of_an_edited_function_is_refused_with_code_4_and_the_way_on(
    shell: Shell, here: Here, file: str, store: str, name: str
) -> None:
    target, words = f"{file}:{name}", ("--store", store)
    shell.write("broken", "")
    here("run", target, "--run-id", "r", *words, code=1)
    shell.remove("broken")
    shell.write("edited", "")
    said = here("resume", "r", target, *words, code=4).err
    assert "error: node '" in said
    assert "the function of map 'one' is not the one that its finished items are of\n" in said
    assert (
        "\n  remedy  --on-change continue keeps what is finished and takes this as it is now; or --on-change redo"
        in said
    )
    assert said.count("the function of map") == 1
    for wrong in ("graph.resume", "\\n", "cause ", "resume  tau", "What to do"):
        assert wrong not in said
    said = here("run", target, "--run-id", "r", "--if-exists", "resume", *words, code=4).err
    assert f"That is an option of: tau resume --store {store} r {target}\n" in said
    found = here.json("resume", "r", target, *words, code=4)
    assert found["exit_code"] == 4
    assert found["error"]["type"] == "GraphChangedError"
    assert found["error"]["node"] == ("m" if name == "maps" else "outer")
    assert "graph.resume" not in found["error"]["message"]
    assert {"cause", "resume"}.isdisjoint({*found, *found["error"]})
    here("resume", "r", target, "--on-change", "continue", *words)


def test_a_run_that_went_on_is_not_said_to_have_failed(shell: Shell, here: Here, store: str) -> None:
    shell.write("broken", "")
    here("run", "pipeline.py:graph", "--run-id", "r", "--store", store, code=1)
    here("resume", "r", "pipeline.py:graph", "--store", store, code=1)
    assert "failed at analyze (attempt 2)\n" in here("show", "r", "--store", store).out.replace("\t", " ")
    shell.remove("broken")
    here("resume", "r", "pipeline.py:graph", "--store", store)
    assert "failed at" not in here("show", "r", "--store", store).out


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        ("Agent('ollama', 'm', base_url='http://127.0.0.1:1', retry=tau.Retry(attempts=1)).chat('hi')",
         "AgentConnectionError"),
        ("scripted([ToolCall('no', {})]).run('go', [go], max_rounds=1)", "AgentLimitError"),
        ("tau.Hub('station').request('visitor', 'nobody', 1)", "UnknownAgentError"),
    ],
)  # fmt: skip
def test_errors_of_agents_and_hubs_are_named_as_they_are(shell: Shell, here: Here, raised: str, kind: str) -> None:
    imports = "import tau\nfrom tau.agents import Agent, ToolCall, scripted\ndef go(x: int): ...\n"
    shell.write("asks.py", f"{GRAPH_OF}\n{imports}\ngraph = graph_of('asks', ask=lambda state: {raised})\n")
    assert causes(here("run", "asks.py:graph", "--run-id", "r", code=1).err)[0].startswith(f"{kind} at ")
    again = here.json("resume", "r", "asks.py:graph", code=1)["error"]["cause"]
    assert again["type"] == kind, again


def test_a_model_that_is_asked_again_is_told_as_it_happens(shell: Shell, here: Here) -> None:
    asks = "Agent('ollama', 'm', base_url='http://127.0.0.1:1', retry=tau.Retry(attempts=2, delay=0.2, jitter=0))"
    text = f"import tau\nfrom tau.agents import Agent\ngraph = graph_of('asks', ask=lambda state: {asks}.chat('hi'))\n"
    shell.write("asks.py", f"{GRAPH_OF}\n{text}")
    told = (
        "note: m: failed to connect to ollama at http://127.0.0.1:1: start it with `ollama serve`; asks again in 0.2 s"
    )
    said = " ".join(here("run", "asks.py:graph", code=1).err.split())
    assert told in said
    assert "asks again" not in here("run", "asks.py:graph", "--quiet", code=1).err
