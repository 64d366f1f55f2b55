"""`tau run` and `tau resume`: what is finished survives every way to end a process."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest
from cli_shell import Here, Shell

import tau

GRAPH = "pipeline.py:graph"


def test_a_run_finishes_and_shows_its_result(shell: Shell, store: str) -> None:
    done = shell.run("run", GRAPH, "--set", "factor=2", "--run-id", "r", "--store", store, "--values")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[:5] == [["run", "r"], ["graph", "climate"], ["status", "finished"], ["node", "report"], lines[4]]
    assert ["mean", "float", "9", "B", "4.0"] in lines
    assert [line.split()[:2] for line in done.stderr.splitlines()[1:]] == [
        ["✓", "ingest"],
        ["✓", "analyze"],
        ["✓", "report"],
    ]


def test_killed_in_a_node_the_run_goes_on_in_another_process(shell: Shell, store: str) -> None:
    with shell.held("run", GRAPH, "--run-id", "r", "--store", store) as run:
        run.process.kill()
        assert run.end()[0] == -signal.SIGKILL
    assert [row["status"] for row in shell.json("runs", "--store", store, "--status", "dead")] == ["dead"]
    done = shell.run("resume", "r", GRAPH, "--store", store)
    assert "resumes at analyze, after ingest" in done.stderr
    assert shell.calls == ["ingest", "analyze", "analyze", "report"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)])
def test_a_signal_stops_after_the_node_in_flight(shell: Shell, number: int, code: int) -> None:
    with shell.held("run", GRAPH, "--run-id", "r") as run:
        run.signal(number)
        run.let_go()
        ended, said = run.end()
    assert ended == code, said
    assert "resume  tau resume r pipeline.py:graph" in said
    shell.run("resume", "r", GRAPH)
    assert shell.calls == ["ingest", "analyze", "report"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_second_signal_breaks_the_node_off(shell: Shell, number: int, code: int) -> None:
    with shell.held("run", GRAPH, "--run-id", "r") as run:
        run.signal(number)
        run.insist(number)
        ended, said = run.end()
    assert ended == code, said
    assert "analyze" in said
    shell.run("resume", "r", GRAPH)
    assert shell.calls == ["ingest", "analyze", "analyze", "report"]


def test_a_walltime_limit_stops_in_time_and_the_same_command_goes_on(shell: Shell) -> None:
    again = ("run", GRAPH, "--run-id", "r", "--if-exists", "resume", "--set", "factor=2")
    assert "(max_runtime)" in shell.error(*again, "--max-runtime", "0", code=75)
    assert shell.json(*again)["status"] == "finished"
    assert shell.calls == ["ingest", "analyze", "report"]


def test_a_failure_names_the_node_the_cause_and_the_way_on(shell: Shell, store: str) -> None:
    shell.write("broken", "")
    said = shell.error("run", GRAPH, "--run-id", "-r 1", "--store", store, code=1)
    assert "error: execution failed at node analyze: node execution failed: bad sensor" in said
    assert re.search(r"cause +ValueError at .*pipeline\.py:\d+ in analyze", said)
    assert said.count("bad sensor") == 1
    words = f"tau resume --store {store} -- '-r 1' pipeline.py:graph"
    assert words in said
    shell.remove("broken")
    shell.run("resume", "--store", store, "--", "-r 1", GRAPH)
    assert shell.calls == ["ingest", "analyze", "analyze", "report"]


PLACES = {
    "a key that is not there": 'state["nope"]',
    "a step": 'ctx.step("one", lambda: json.loads("{"))',
    "a value that a step cannot keep": 'ctx.step("one", lambda: open(__file__))',
}


@pytest.mark.parametrize("call", PLACES.values(), ids=PLACES)
def test_the_place_of_an_error_is_a_line_of_the_users(shell: Shell, here: Here, call: str) -> None:
    """Also where it was raised inside tau, or inside a library that the line called."""
    head = "import json\nfrom tau import StateGraph\ngraph = StateGraph('one')\n"
    shell.write("one.py", f"{head}@graph.node\ndef only(state, ctx):\n    {call}\ngraph.sequence(only)\n")
    place = f"{shell.folder}/one.py:6 in "
    assert f" at {place}" in here("run", "one.py:graph", "--run-id", "r", code=1).err
    shown = here("show", "r").out
    assert f"  {place}" in shown
    assert "/tau/" not in shown.partition("Error")[2]
    frames = json.loads(here("show", "r", "--json").out)["failure"]["frames"]
    assert frames[0]["file"] == f"{shell.folder}/one.py"


def test_a_failure_as_a_document(shell: Shell) -> None:
    shell.write("broken", "")
    found = shell.json("run", GRAPH, "--run-id", "r", code=1)
    assert found["run_id"] == "r"
    assert found["exit_code"] == 1
    assert found["resume"] == "tau resume r pipeline.py:graph"
    assert found["error"]["type"] == "ExecutionError"
    assert found["error"]["node"] == "analyze"
    assert found["error"]["cause"] == {"type": "ValueError", "message": "bad sensor"}


def test_the_frames_are_shown_on_demand(shell: Shell) -> None:
    shell.write("broken", "")
    done = shell.run("run", GRAPH, "--traceback", code=1)
    assert 'raise ValueError("bad sensor")' in done.stderr


def test_values_are_json_where_they_are_json_and_later_ones_win(shell: Shell) -> None:
    shell.write("input.json", '{"a": 1, "factor": 3, "deep": {"list": [1, 2.5, null]}}')
    settings = ["a=2", "a=3", 'b="3"', "c=[1, 2]", "d=two words", "e=", "f=NaN", "g=1e999", "h=x=y", "i=null", "j=-0.5"]
    words = [word for setting in settings for word in ("--set", setting)]
    found = shell.json("run", GRAPH, "--input", "input.json", *words, "--values", "--quiet")
    values = {key["name"]: key["value"] for key in found["keys"]}
    given = {"a": 3, "b": "3", "c": [1, 2], "d": "two words", "e": "", "f": "NaN", "g": "1e999", "h": "x=y"}
    given |= {"i": None, "j": -0.5, "factor": 3, "deep": {"list": [1, 2.5, None]}}
    assert given.items() <= values.items()
    assert values["text"] == "mean 6"


def test_without_a_run_id_one_is_made_up_and_shown(shell: Shell) -> None:
    done = shell.run("run", GRAPH)
    run_id = done.stderr.split()[1]
    assert run_id in done.stdout
    assert shell.json("show", run_id)["status"] == "finished"


def test_quiet_leaves_the_progress_out(shell: Shell) -> None:
    assert shell.run("run", GRAPH, "-q").stderr == ""


def test_what_nodes_and_their_programs_print_does_not_mix_with_the_document(shell: Shell) -> None:
    shell.write(
        "loud.py",
        "import subprocess\nfrom tau import StateGraph\ngraph = StateGraph('loud')\nprint('imported')\n"
        "@graph.node\ndef talk(state):\n    print('a node')\n    subprocess.run(['echo', 'a program'], check=True)\n"
        "graph.sequence(talk)\n",
    )
    assert shell.json("run", "loud.py:graph")["status"] == "finished"
    said = shell.run("run", "loud.py:graph", "--json").stderr
    assert all(text in said for text in ("imported", "a node", "a program"))


def test_a_run_that_is_owned_is_left_alone(shell: Shell, store: str) -> None:
    with shell.held("run", GRAPH, "--run-id", "r", "--store", store) as run:
        said = shell.error("resume", "r", GRAPH, "--store", store, "--wait", "0.1", code=4)
        assert f"owned by pid {run.process.pid}" in said
        assert "waits for its owner" in said
        run.let_go()
        assert run.end()[0] == 0


def test_a_changed_graph_is_refused_and_continued_on_demand(shell: Shell) -> None:
    shell.write("broken", "")
    shell.run("run", GRAPH, "--run-id", "r", code=1)
    shell.remove("broken")
    text = (shell.folder / "pipeline.py").read_text()
    shell.write("pipeline.py", text.replace("[1, 2, 3]", "[4, 5, 6]"))
    said = shell.error("resume", "r", GRAPH, code=4)
    assert "ingest" in said
    assert "--on-change continue" in said
    again = shell.error("run", GRAPH, "--run-id", "r", "--if-exists", "resume", code=4)
    assert "--on-change continue" in again
    assert f"an option of: tau resume r {GRAPH}" in again
    found = shell.json("resume", "r", GRAPH, "--on-change", "continue", "--values")
    assert {key["name"]: key.get("value") for key in found["keys"]}["text"] == "mean 2"


def test_a_node_that_leaves_the_program_interrupts_the_run(shell: Shell) -> None:
    text = (shell.folder / "pipeline.py").read_text()
    shell.write("pipeline.py", text.replace('raise ValueError("bad sensor")', "raise SystemExit(0)"))
    shell.write("broken", "")
    assert "SystemExit: 0" in shell.error("run", GRAPH, "--run-id", "r", code=75)
    shell.remove("broken")
    shell.run("resume", "r", GRAPH)


def test_a_graph_that_keeps_its_runs_in_memory_says_so(shell: Shell) -> None:
    assert "in memory" in shell.run("run", GRAPH, "--store", "memory:").stderr
    shell.write("broken", "")
    assert "tau resume" not in shell.error("run", GRAPH, "--store", "memory:", code=1), "nothing is left to resume"


def test_runs_made_in_python_and_by_the_command_are_the_same(shell: Shell, store: str) -> None:
    shell.run("run", GRAPH, "--run-id", "r", "--store", store)
    place = store.replace("///", f"///{shell.folder}/").replace("file:", f"file://{shell.folder}/")
    opened = tau.open_store(place.replace("file:///" + os.sep, "file:///"))
    assert opened.load("r")["text"] == "mean 2"
    opened.close()


def test_if_exists_resume_needs_a_run_id(shell: Shell) -> None:
    said = shell.error("run", GRAPH, "--if-exists", "resume", "--store", "file:runs", code=2)
    assert "--if-exists resume needs --run-id" in said
    assert not (shell.folder / "runs").exists()


def test_a_wait_for_nothing_is_said(shell: Shell) -> None:
    done = shell.run("run", GRAPH, "--run-id", "r", "--wait", "1", "--store", "file:runs")
    assert "--wait has no effect without --if-exists resume" in done.stderr


def test_the_commands_say_how_to_go_on_once(shell: Shell) -> None:
    shell.write("broken", "")
    said = shell.run("run", GRAPH, "--run-id", "r", "--store", "file:runs", "--traceback", code=1).stderr
    assert said.count("tau resume") == 1
    assert "is kept in" not in said
