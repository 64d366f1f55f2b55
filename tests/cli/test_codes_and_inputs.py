"""Exit codes, and what is said about input that cannot be used: what was found, and what to do."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_shell import PIPELINE, Shell, command

from tau.cli.exits import EXIT_CODES

GRAPH = "pipeline.py:graph"
PAGE = Path(__file__).parents[2] / "docs" / "command.md"


def test_the_exit_codes_are_those_of_the_page_and_of_the_help(shell: Shell) -> None:
    codes = {str(int(code)): meaning for code, meaning in EXIT_CODES.items()}
    page = PAGE.read_text("utf-8").partition("## Exit codes")[2]
    assert dict(re.findall(r"^\| (\d+) \| (.*) \|$", page, re.MULTILINE)) == codes
    said = re.sub(r"\n {7}(?=\S)", " ", shell.run("--help").stdout.partition("Exit codes:")[2])  # what goes on below
    assert dict(re.findall(r"^ +(\d+)  (.*)$", said, re.MULTILINE)) == codes


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nope.py:graph", "no such file: nope.py"),
        ("pipeline.py:nope", "pipeline.py has no 'nope'; it has the graph graph"),
        ("pipeline.py", "write pipeline.py:graph"),
        ("pipeline.py:number", "is of type int; name a StateGraph"),
        ("pipeline.py:wrong", "returned int; it must return a StateGraph"),
        ("pipeline.py:needs", "cannot be called without arguments: missing a required argument: 'argument'"),
        ("nope.module:graph", "no such module: nope.module"),
        ("two words:graph", "neither a file that ends in .py nor the name of a module"),
        ("./pipeline.txt:graph", "does not end in .py"),
        ("climate", "'climate' names no graph"),
        (":", "names no graph"),
        ("broken_syntax.py:graph", "/broken_syntax.py:2"),
        ("imports_broken.py:graph", "/broken_syntax.py:2"),
        ("raises.py:graph", "importing raises.py raised ZeroDivisionError: division by zero, at "),
        ("bare.py:graph", "importing bare.py raised ValueError, at "),
        ("leaves.py:graph", "importing leaves.py raised SystemExit: 3"),
        ("relative.py:graph", "a file of a package is named by its module"),
        ("needy.py:graph", "ModuleNotFoundError: No module named 'not_there'"),
        ("raises_later.py:make", "calling raises_later.py:make() raised KeyError"),
        ("invalid.py:graph", "graph validation failed"),
    ],
)
def test_a_target_that_cannot_be_used(shell: Shell, refused: Callable[..., str], target: str, said: str) -> None:
    shell.write("broken_syntax.py", "\ngraph = = 3\n")
    shell.write("imports_broken.py", "import broken_syntax\n")
    shell.write("raises.py", "1 / 0\n")
    shell.write("bare.py", "raise ValueError\n")
    shell.write("leaves.py", "import sys\nsys.exit(3)\n")
    shell.write("relative.py", "from . import pipeline\n")
    shell.write("needy.py", "import not_there\n")
    shell.write("raises_later.py", "def make():\n    return {}['graph']\n")
    shell.write("invalid.py", "from tau import StateGraph\ngraph = StateGraph('empty')\n")
    assert said in refused("run", target)
    assert not (shell.folder / "tau.db").exists()


def test_the_frames_of_a_failed_import_are_shown_on_demand(shell: Shell) -> None:
    shell.write("raises.py", "1 / 0\n")
    assert "raises.py" in shell.run("run", "raises.py:graph", "--traceback", code=2).stderr


def test_a_target_may_be_a_module_a_factory_or_a_file_elsewhere(shell: Shell) -> None:
    package = shell.folder / "lab" / "graphs"
    package.mkdir(parents=True)
    shell.write("lab/graphs/__init__.py", "")
    shell.write("lab/graphs/weekly.py", "from pipeline import graph\n")
    shell.write("lab/apart.py", "import beside\ngraph = beside.graph\n")
    shell.write("lab/beside.py", (shell.folder / "pipeline.py").read_text())
    shell.write("lab/click.py", (shell.folder / "pipeline.py").read_text())
    for target in (
        "pipeline:graph",
        "lab/click.py:graph",
        "lab.graphs.weekly:graph",
        "pipeline.py:make",
        "lab/apart.py:graph",
    ):
        assert shell.json("run", target)["graph"] == "climate", target
    assert shell.json("run", f"{shell.folder}/lab/beside.py:graph")["graph"] == "climate"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "factor"], "write --set name=value"),
        (["--set", "=3"], "write --set name=value"),
        (["--set", 'a={"b": 1, "b": 2}'], "the name 'b' appears twice"),
        (["--input", "nope.json"], "--input nope.json: cannot be read"),
        (["--input", "pipeline.py"], "--input pipeline.py: it is not JSON"),
        (["--input", "list.json"], "it holds a JSON array; an input is an object"),
        (["--input", "twice.json"], "the name 'a' appears twice"),
        (["--input", "deep.json"], "--input deep.json: it is not JSON"),
        (["--run-id", ""], "this one is empty; a new run without one is given one"),
        (["--run-id", "x" * 1025], "a run id has 1 to 1,024 characters"),
        (["--run-id", "\udcff"], "lone surrogate"),
        (["--max-runtime", "soon"], "'soon' is not a number of seconds"),
        (["--wait", "-1"], "'-1' is not a number of seconds"),
        (["--wait", "nan"], "'nan' is not a number of seconds"),
        (["--if-exists", "perhaps"], "'perhaps' is not one of 'error', 'resume'"),
        (
            ["--store", "redis://u:p@h/runs"],
            "with a path from the root and a number as database",
        ),
        (["--store", "./runs.db"], "unknown checkpoint store: './runs.db'; write a path as sqlite:///./runs.db"),
        (["--store", "runs.db"], "unknown checkpoint store: 'runs.db'; write a path as sqlite:///runs.db"),
        (["--store", "nope"], "unknown checkpoint store: 'nope'"),
        (["--store", "sqlite://runs.db"], "three slashes"),
        (["--nope"], "no such option: --nope"),
    ],
)
def test_words_that_cannot_be_used(shell: Shell, refused: Callable[..., str], words: list[str], said: str) -> None:
    shell.write("list.json", "[1]")
    shell.write("twice.json", '{"a": 1, "a": 2}')
    shell.write("deep.json", "[" * 100_000)
    assert said in refused("run", GRAPH, *words)


def test_a_run_that_is_not_there(shell: Shell, store: str) -> None:
    for words in (["show", "r"], ["cancel", "r"], ["resume", "r"]):
        said = shell.error(*words, "--store", store, code=3)
        assert "no run 'r' in" in said
        assert "nothing was ever stored there" in said
    assert not (shell.folder / "runs.db").exists()
    assert not (shell.folder / "runs").exists()
    said = shell.error("resume", "r", GRAPH, "--store", store, code=3)
    assert "no run 'r' in" in said
    assert "--store names another store" in said


def test_a_run_id_in_use(shell: Shell, store: str) -> None:
    shell.run("run", GRAPH, "--run-id", "r", "--store", store)
    said = shell.error("run", GRAPH, "--run-id", "r", "--store", store, code=4)
    assert f"tau resume --store {store} r pipeline.py:graph" in said
    again = ("run", GRAPH, "--run-id", "r", "--store", store, "--if-exists", "resume")
    assert "another input" in shell.error(*again, "--set", "factor=9", code=4)
    shell.run(*again)
    assert shell.calls == ["ingest", "analyze", "report"]


@pytest.mark.parametrize("words", [[], ["--if-exists", "resume"]], ids=["error", "resume"])
def test_a_run_with_another_input_names_the_keys_and_a_way_on_that_leads_on(
    shell: Shell, store: str, words: list[str]
) -> None:
    shell.write("pipeline.py", PIPELINE.replace('state.get("factor", 1)', 'state["factor"]'))
    given = ("run", GRAPH, "--run-id", "r", "--store", store, *words)
    said = shell.error(*given, "--set", "site=ALT", code=1)
    assert "tau delete" not in said
    (fork,) = re.findall(r"tau (fork .+) --set factor=VALUE, then resume", said)
    forked = shell.json(*shlex.split(fork), "--set", "factor=2", "--as", "new")
    shell.run(*shlex.split(forked["resume"])[1:])
    assert shell.calls == ["ingest", "analyze", "analyze", "report"]
    said = shell.error(*given, "--set", "factor=2", "--set", "token=s3cret", code=4)
    assert "'factor' is new; 'token' is new; 'site' is left out" in said
    assert "s3cret" not in said
    (delete,) = re.findall(r"tau (delete .+) frees", said)
    shell.run(*shlex.split(delete), "--yes")
    shell.run(*given, "--set", "factor=2")


def test_where_nothing_is_finished_a_forgotten_input_is_given_to_a_run_that_begins_anew(shell: Shell) -> None:
    shell.write("pipeline.py", PIPELINE.replace('return {"raw": [1, 2, 3]}', 'return {"raw": state["place"]}'))
    said = shell.error("run", GRAPH, "--run-id", "r", "--set", "site=ALT", code=1)
    assert "if 'place' should have been in the input" in said
    assert re.search(r"tau delete .+, then tau run with --set place=VALUE", said)


def test_a_resume_that_is_given_an_input_names_the_fork(refused: Callable[..., str]) -> None:
    for words in (["--set", "factor=2"], ["--input", "in.json"]):
        said = refused("resume", "r", GRAPH, *words)
        assert "tau fork RUN_ID TARGET --set NAME=VALUE" in said


def test_a_cancelled_run_cannot_be_resumed(shell: Shell, store: str) -> None:
    shell.run("run", GRAPH, "--run-id", "r", "--store", store, "--max-runtime", "0", code=75)
    assert shell.json("cancel", "r", "--store", store)["status"] == "cancelled"
    shell.run("cancel", "r", "--store", store)
    assert "was cancelled" in shell.error("resume", "r", GRAPH, "--store", store, code=4)


def test_a_run_that_is_cancelled_while_it_runs_ends(shell: Shell, store: str) -> None:
    with shell.held("run", GRAPH, "--run-id", "r", "--store", store) as run:
        shell.run("cancel", "r", "--store", store)
        run.let_go()
        code, said = run.end()
    assert code == 4
    assert "was cancelled" in said
    assert shell.json("show", "r", "--store", store)["status"] == "cancelled"


def test_a_finished_run_is_not_cancelled(shell: Shell) -> None:
    shell.run("run", GRAPH, "--run-id", "r")
    assert "finished already; nothing was changed" in shell.error("cancel", "r", code=4)
    assert shell.json("show", "r")["status"] == "finished"


def test_a_store_that_is_damaged_or_no_store(shell: Shell) -> None:
    shell.write("runs.db", "this is a letter to my mother, and no database\n" * 100)
    for words in (["runs"], ["show", "r"], ["cancel", "r"], ["resume", "r"], ["run", GRAPH], ["resume", "r", GRAPH]):
        assert "runs.db" in shell.error(*words, "--store", "sqlite:///runs.db", code=5)


def test_a_store_in_a_place_that_cannot_be(shell: Shell) -> None:
    assert "error: " in shell.error("run", GRAPH, "--store", "sqlite:////proc/nope/runs.db", code=5)


FULL = "error: cannot write the output: No space left on device\n"


@pytest.mark.parametrize(("unbuffered", "coloured"), [("", False), ("1", False), ("1", True)])
def test_output_that_cannot_be_written(shell: Shell, unbuffered: str, coloured: bool) -> None:
    shell.env["PYTHONUNBUFFERED"] = unbuffered
    if coloured:
        shell.env["FORCE_COLOR"] = "1"
    shell.run("run", GRAPH, "--run-id", "r")
    for words in (
        ["runs"], ["runs", "--json"], ["show", "r"], ["show", "r", "--json"], ["history", "r"], ["graph", GRAPH],
        ["resume", "r", GRAPH, "--plan"], ["demo", "--help"], ["--help"], ["--version"],
        ["runs", "--watch", "--every", "0.1"], ["runs", "--watch", "--json"],
    ):  # fmt: skip
        with open("/dev/full", "w") as full:
            assert re.sub(r"\x1b\[\d*m", "", shell.run(*words, stdout=full, code=74).stderr) == FULL


@pytest.mark.parametrize("more", [[], ["--json"], ["--values"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_run_that_cannot_tell_its_result_is_finished(shell: Shell, more: list[str], unbuffered: str) -> None:
    shell.env["PYTHONUNBUFFERED"] = unbuffered
    for words in (["run", GRAPH, "--run-id", "r"], ["resume", "r", GRAPH]):
        with open("/dev/full", "w") as full:
            said = shell.run(*words, *more, stdout=full, code=74).stderr
        assert FULL in said
        assert "the run is finished; tau show --store " in said
        assert shell.json("show", "r")["status"] == "finished"
    assert shell.calls == ["ingest", "analyze", "report"]
    with open("/dev/full", "w") as full:
        assert (
            "the run is deleted"
            in shell.run("delete", "r", "--yes", *[one for one in more if one == "--json"], stdout=full, code=74).stderr
        )


def test_a_command_that_fails_keeps_its_code_where_nothing_can_be_written(shell: Shell) -> None:
    shell.write("broken", "")
    for words, code in (
        (["run", GRAPH, "--json"], 1), (["show", "nope"], 3), (["show", "nope", "--json"], 3), (["nope"], 2),
    ):  # fmt: skip
        for name in ("stdout", "stderr", "both"):
            with open("/dev/full", "w") as full:
                shell.run(*words, code=code, **{one: full for one in ("stdout", "stderr") if name in (one, "both")})


def test_a_stderr_that_cannot_be_written_changes_nothing(shell: Shell) -> None:
    shell.write("chatty.py", PIPELINE + "\nimport sys\nprint('on stdout')\n")
    shell.env["PYTHONUNBUFFERED"] = ""  # else the print is refused, as it is in any program
    with open("/dev/full", "w") as full:
        said = shell.run("run", "chatty.py:graph", "--run-id", "r", "--json", stderr=full).stdout
    assert json.loads(said)["status"] == "finished"
    with open("/dev/full", "w") as full:
        shell.run("delete", "r", stderr=full, stdin=subprocess.DEVNULL, code=4)
    assert shell.json("show", "r")["status"] == "finished"


def test_a_reader_that_has_seen_enough_is_no_error(shell: Shell) -> None:
    shell.run("run", GRAPH, "--run-id", "r")
    for words in (["runs"], ["show", "r"], ["show", "r", "--json"]):
        reading, writing = os.pipe()
        os.close(reading)
        with open(writing, "w") as closed:
            assert shell.run(*words, stdout=closed).stderr == ""


NOISY = """
import os
from tau import StateGraph

graph = StateGraph("noisy")

@graph.node
def speak(state):
    print("one")
    os.system("echo two; echo three >&2")

graph.sequence(speak)
"""


@pytest.mark.parametrize(
    ("closed", "out", "error"),
    [("<&-", True, True), (">&-", False, True), ("2>&-", True, False), ("<&- >&- 2>&-", False, False)],
)
def test_streams_that_are_closed_take_nothing_away(
    shell: Shell, store: str, closed: str, out: bool, error: bool
) -> None:
    shell.write("noisy.py", NOISY)
    words = command("run", "noisy.py:graph", "--run-id", "r", "--store", store)
    starts = ["sh", "-c", f'exec "$@" {closed}', "sh", *words]
    done = subprocess.run(starts, cwd=shell.folder, env=shell.env, capture_output=True, text=True, check=True)
    assert ("one" in done.stdout, "two" in done.stdout) == (out, out)
    assert ("three" in done.stderr) == error
    assert shell.json("show", "r", "--store", store)["status"] == "finished"


def test_a_project_names_graphs_and_the_store(shell: Shell) -> None:
    shell.write("pyproject.toml", '[tool.tau]\nstore = "file:kept"\n[tool.tau.graphs]\nclimate = "pipeline.py:graph"\n')
    shell.run("run", "climate", "--run-id", "r", "--max-runtime", "0", code=75)
    assert (shell.folder / "kept").is_dir()
    assert shell.json("resume", "r")["status"] == "finished"
    assert "pyproject.toml names climate" in shell.error("run", "nope", code=2)
    assert [row["run_id"] for row in shell.json("runs")] == ["r"]


def test_without_a_target_the_name_of_the_graph_is_a_hint_and_never_imported(shell: Shell) -> None:
    shell.write("pyproject.toml", '[tool.tau.graphs]\nother = "pipeline.py:graph"\n')
    shell.run("run", GRAPH, "--run-id", "r", "--max-runtime", "0", code=75)
    said = shell.error("resume", "r", code=2)
    assert "run 'r' was made by graph 'climate'; name it: tau resume r FILE.py:GRAPH" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool", "pyproject.toml cannot be read"),
        ("[tool]\ntau = 3\n", "tool.tau is not a table"),
        ("[tool.tau]\nstores = 'x'\n", "tool.tau.stores is unknown"),
        ("[tool.tau]\nstore = 3\n", "tool.tau.store must be a string"),
        ("[tool.tau]\ngraphs = ['x']\n", "tool.tau.graphs maps names to strings"),
        ("[tool.tau.graphs]\nx = 3\n", "tool.tau.graphs maps names to strings"),
    ],
)
def test_a_project_that_cannot_be_used(shell: Shell, refused: Callable[..., str], text: str, said: str) -> None:
    shell.write("pyproject.toml", text)
    assert said in refused("runs")


def test_the_order_of_stores(shell: Shell) -> None:
    """--store, then the graph's own, then TAU_STORE, then pyproject.toml, then tau.db."""
    own = (shell.folder / "pipeline.py").read_text().replace('("climate")', '("climate", store="file:own")')
    shell.write("own.py", own)
    shell.run("run", GRAPH)
    assert (shell.folder / "tau.db").exists()
    shell.write("pyproject.toml", '[tool.tau]\nstore = "file:project"\n')
    places = {GRAPH: "file:project", "own.py:graph": "file:own"}
    for target, place in places.items():
        assert shell.json("run", target)["store"].endswith(place.removeprefix("file:"))
    shell.env["TAU_STORE"] = "file:variable"
    for target, place in {**places, GRAPH: "file:variable"}.items():
        assert shell.json("run", target)["store"].endswith(place.removeprefix("file:"))
        assert shell.json("run", target, "--store", "file:option")["store"].endswith("option")
    assert len(shell.json("runs", "--store", "file:option")) == 2
    assert len(shell.json("runs")) == 1


def test_an_input_that_does_not_fit_the_schema_is_a_wrong_use_and_such_a_node_a_failure(shell: Shell) -> None:
    shell.write(
        "typed_pipeline.py",
        "from dataclasses import dataclass\n"
        "from tau import StateGraph\n"
        "@dataclass\n"
        "class Model:\n"
        "    count: int\n"
        "graph = StateGraph('typed', schema=Model)\n"
        "@graph.node\n"
        "def grow(state: Model):\n"
        "    return {'count': state.count + 1 if state.count < 5 else 'many'}\n"
        "graph.sequence(grow)\n",
    )
    target = ("run", "typed_pipeline.py:graph")
    assert "'coutn': Model has no such field; did you mean 'count'?" in shell.error(*target, "--set", "coutn=1", code=2)
    assert shell.json(*target, "--set", "count=1")["status"] == "finished"
    assert "node 'grow' set does not fit" in shell.error(*target, "--set", "count=5", code=1)
