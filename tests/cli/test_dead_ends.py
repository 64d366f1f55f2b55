"""The command leaves nobody at a dead end: it says what there is, what was meant, and what to do next."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest
from cli_shell import PIPELINE, Here, Shell
from test_ids import at_terminal

from tau import CorruptCheckpointError, UnknownObserverError, open_store
from tau.cli.app import COMMANDS
from tau.cli.beside import NAMED, stores_beside
from tau.cli.outcome import Session, report
from tau.observers import resolve_observer

GRAPH = "pipeline.py:graph"


def test_the_help_lists_the_commands_in_the_order_of_use_and_cuts_nothing_off(here: Here) -> None:
    shown = here("--help").out
    names = [line.split()[0] for line in shown.partition("Commands:\n")[2].splitlines() if line[2:3].strip()]
    assert names[:5] == ["run", "resume", "runs", "show", "history"]
    assert {*COMMANDS} <= {*names}
    assert "..." not in shown.partition("Commands:")[2]
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize(
    ("words", "said", "help_of"),
    [
        (["shwo"], "error: no such command: shwo; did you mean 'show'?", "tau"),
        (["list"], "error: no such command: list; tau runs lists the runs of a store", "tau"),
        (["runs", "--limit", "x"], "error: Invalid value for '--limit'", "tau runs"),
        (["resume"], "error: Missing argument 'RUN_ID'", "tau resume"),
        (["run", GRAPH, "--run_id", "a"], "error: no such option: --run_id; did you mean '--run-id'?", "tau run"),
        (["run", GRAPH, "--timout", "5"], "error: no such option: --timout; did you mean '--max-runtime'?", "tau run"),
        (["worker", GRAPH, "--idl"], "error: no such option: --idl; did you mean '--once'?", "tau worker"),
        (
            ["crash-test", GRAPH, "--point=2"],
            "error: no such option: --point; did you mean '--points'?",
            "tau crash-test",
        ),
        (["runs", "a"], "error: tau runs takes no run id; tau show RUN_ID shows one run", "tau runs"),
        (["runs", "--zzz"], "error: no such option: --zzz", "tau runs"),
        (["--verson"], "error: no such option: --verson; did you mean '--version'?", "tau"),
        (["run", GRAPH, "--if-exists", "resume"], "error: --if-exists resume needs --run-id", "tau run"),
    ],
)
def test_a_wrong_command_line_is_told_as_other_errors_are(
    here: Here, words: list[str], said: str, help_of: str
) -> None:
    lines = here(*words, code=2).err.splitlines()
    assert lines[0].startswith(said) if "such option" not in said else lines[0] == said
    assert lines[1:] == [f"  help    {help_of} --help"]


REFUSED = """
from tau import Retry, StateGraph

graph = StateGraph("refused")

@graph.node
def ingest(state):
    return {"rows": 1}

@graph.node(retry=Retry(attempts=2, delay=0))
def analyze(state):
    return VALUE

graph.sequence(ingest, analyze)
"""


@pytest.mark.parametrize(
    ("value", "kind", "attempts"), [("{'x': object()}", "UnserializableError", 1), ("5", "TypeError", 2)]
)
def test_a_node_whose_result_cannot_be_stored_gets_no_tick_and_its_line_is_named(
    shell: Shell, here: Here, value: str, kind: str, attempts: int
) -> None:
    shell.write("refused.py", REFUSED.replace("VALUE", value))
    said = here("run", "refused.py:graph", "--run-id", "r", code=1).err
    told = [line for line in said.splitlines() if " analyze " in line and line[0] in "✓✗"]
    assert len(told) == attempts
    assert all(line.startswith("✗") and line.endswith(kind) for line in told)
    assert "✓ ingest " in said
    place = f"{shell.folder / 'refused.py'}:10 (analyze)"
    assert place in said
    assert place in here("show", "r").out


def test_show_names_the_command_that_goes_on_with_a_run(shell: Shell, here: Here) -> None:
    (shell.folder / "broken").touch()
    here("run", GRAPH, "--run-id", "r", code=1)
    assert "resume\ttau resume r FILE.py:GRAPH\n" in here("show", "r").out.replace("    ", "\t")
    (shell.folder / "broken").unlink()
    here("resume", "r", GRAPH)
    assert "tau resume" not in here("show", "r").out


def test_the_way_to_the_questions_is_named_once(shell: Shell, here: Here) -> None:
    (shell.folder / "broken").touch()
    here("run", GRAPH, "--run-id", "r", code=1)
    assert here("answer", "r", "review", "--value", "1", code=3).err.count("tau pauses") == 1


def test_a_cause_that_an_error_has_told_is_not_told_again(capsys: pytest.CaptureFixture[str]) -> None:
    error = CorruptCheckpointError("record 3 of run 'r' is damaged: its checksum is wrong")
    error.__cause__ = ValueError("its checksum is wrong")
    assert report(error, Session()) == 5
    assert capsys.readouterr().err.count("its checksum is wrong") == 1
    error.__cause__ = ValueError("found 4 bytes")
    report(error, Session())
    assert "cause   ValueError: found 4 bytes" in capsys.readouterr().err


def test_what_was_meant_is_told(shell: Shell, here: Here) -> None:
    assert "did you mean 'sqlite:///x.db'?" in here("runs", "--store", "sqlit:///x.db", code=2).err
    assert "did you mean 'postgres'?" in here("runs", "--store", "postgre", code=2).err
    assert "did you mean 'graph'?" in here("run", "pipeline.py:grph", code=2).err
    shell.write("pyproject.toml", '[tool.tau.graphs]\nclimate = "pipeline.py:graph"\n')
    assert "did you mean 'climate'?" in here("run", "climat", code=2).err
    shell.write("pyproject.toml", '[tool.tau]\nstores = "sqlite:///tau.db"\n')
    assert "tool.tau.stores is unknown; did you mean 'store'?" in here("runs", code=2).err
    shell.write("pyproject.toml", "")
    here("run", GRAPH, "--run-id", "r", "--tag", "monthly")
    for command in ("runs", "stats", "pauses", "gc"):
        more = ["--keep-last", "1"] if command == "gc" else []
        name = open_store("sqlite:///tau.db").runs()[0].graph
        assert f"did you mean {name!r}?" in here(command, "--graph", f"{name}s", *more).err
        assert "did you mean" not in here(command, "--graph", name, *more).err
    assert "did you mean 'monthly'?" in here("runs", "--tag", "montly").err
    with pytest.raises(
        UnknownObserverError, match=r"unknown observer: slogg; registered are .*; did you mean 'slog'\? Register"
    ):
        resolve_observer("slogg")


@pytest.mark.parametrize("command", ["runs", "verify", "stats", "pauses"])
def test_where_the_default_store_is_not_there_the_way_to_another_is_named(here: Here, command: str) -> None:
    assert "--store URL names another store" in here(command).err
    assert "--store URL" not in here(command, "--store", "sqlite:///none.db").err
    at_work = open_store("sqlite:///mine.db")
    assert list(at_work.runs()) == []
    assert here(command).err.endswith("note: in this directory: --store sqlite:///mine.db\n")
    at_work.close()


def test_a_worker_that_finds_nothing_says_so(shell: Shell, here: Here) -> None:
    assert here("worker", GRAPH, "--once").out == "no run was taken\n"


def test_where_the_default_store_has_nothing_those_in_the_directory_are_named(shell: Shell, here: Here) -> None:
    assert "in this directory" not in here("runs").err
    at_work = open_store("sqlite:///mine.db")  # while it is open, all of it may be in its write-ahead log
    assert list(at_work.runs()) == []
    shell.run("run", GRAPH, "--run-id", "r", "--store", "sqlite:///mine.db")
    shell.run("run", GRAPH, "--run-id", "s", "--store", "file:kept runs")
    closed = "sqlite:///closed.db"
    shell.run("run", GRAPH, "--run-id", "c", "--store", closed)
    assert not (shell.folder / "closed.db-wal").exists()
    assert (shell.folder / "mine.db-wal").exists()
    with closing(sqlite3.connect(shell.folder / "other.db")) as other:
        other.execute("create table t(x)")
    (shell.folder / "empty.db").touch()
    os.mkfifo(shell.folder / "pipe.db")
    (shell.folder / "plain").mkdir()
    hint = f"in this directory: --store {closed}, --store 'file:kept runs', --store sqlite:///mine.db\n"
    assert here("runs").err.endswith(f"note: {hint}")
    assert here("show", "r", code=3).err.endswith(f"  others  {hint}")
    assert here("resume", "r", GRAPH, code=3).err.endswith(f"  others  {hint}")
    assert not (shell.folder / "tau.db").exists()
    for words in (["--store", "sqlite:///none.db"], ["--graph", "climate"]):  # which were asked for
        assert "in this directory" not in here("runs", *words).err
    here("run", GRAPH, "--run-id", "t")
    assert "in this directory" not in here("runs").err
    said = here("show", "r", code=3).err
    assert hint in said
    assert "tau.db, " not in said
    for number in range(2 * NAMED):
        (shell.folder / f"a{number}.db").write_bytes((shell.folder / "closed.db").read_bytes())
    assert len(stores_beside("")) == NAMED
    at_work.close()


INVALID = """
from tau import StateGraph

graph = StateGraph("broken")
graph.add_node("begin", dict)
graph.add_node("dangling", dict)
graph.add_edge("begin", "dangling")
graph.set_entry_point("begin")
empty = StateGraph("empty")
"""


@pytest.mark.parametrize("form", ["text", "mermaid", "svg"])
def test_an_invalid_graph_is_drawn_and_its_problems_are_listed(
    shell: Shell, here: Here, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("PATH", str(shell.folder))  # without Graphviz
    shell.write("invalid.py", INVALID)
    done = here("graph", "invalid.py:graph", "--format", form, code=2)
    assert "begin" in done.out
    assert "dangling" in done.out
    assert done.err.splitlines() == [
        "error: no exit points set: call sequence(...) or set_exit_point(node)",
        "error: node dangling has no outgoing edges and is not an exit point",
    ]
    found = here.json("graph", "invalid.py:graph", "--format", form, code=2)
    assert found["problems"] == [line.removeprefix("error: ") for line in done.err.splitlines()]
    assert found["drawing"].rstrip() == done.out.rstrip()
    assert "graph has no nodes" in here("graph", "invalid.py:empty", "--format", form, code=2).err


def test_on_a_terminal_a_run_shows_what_came_out(shell: Shell, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pipe, as into a log, only the names."""
    shell.write(
        "many.py",
        "from tau import StateGraph\ngraph = StateGraph('many')\n@graph.node\ndef fill(state):\n"
        "    return {**{f'key{n}': n for n in range(20)}, 'token': 'CANARY', 'text': 'x' * 500}\n"
        "graph.sequence(fill)\n",
    )
    lines = at_terminal(monkeypatch, here, "run", GRAPH, "--run-id", "r")
    assert [line.split() for line in lines[-3:]] == [
        ["raw", "list", "4", "B", "[1,", "2,", "3]"],
        ["mean", "float", "9", "B", "2.0"],
        ["text", "str", "7", "B", "'mean", "2'"],
    ]
    assert "2.0" not in here("run", GRAPH, "--run-id", "s").out
    text = "\n".join(at_terminal(monkeypatch, here, "run", "many.py:graph", "--run-id", "m", "--quiet", width=120))
    assert "CANARY" not in text
    assert "[redacted]" in text
    assert "key19" in text
    assert "key9" not in text
    assert "... (502 characters)" in text
    assert "and 10 more; tau show --store sqlite:///" in text


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("sqlit:///tau.db", "'sqlit:///tau.db' is not a store URL; did you mean 'sqlite:///tau.db'?"),
        ("postgressql://u:pw@h/d", "'postgressql://***@h/d' is not a store URL; did you mean 'postgresql://***@h/d'?"),
        ("sqllite", "unknown checkpoint store: 'sqllite'; did you mean 'sqlite'?"),
        ("runs.db", "unknown checkpoint store: 'runs.db'; write a path as sqlite:///runs.db"),
    ],
)
def test_where_it_is_clear_which_store_is_meant_no_list_of_forms_is_told(here: Here, store: str, said: str) -> None:
    assert here("runs", "--store", store, code=2).err.splitlines() == [f"error: {said}"]


def test_the_forms_of_a_store_url_take_little_room(here: Here) -> None:
    said = here("runs", "--store", "mysql://host/db", code=2).err
    assert "sqlite:///FILE, file:DIRECTORY" in said
    assert len(said) < 200


def test_a_command_that_was_given_no_store_names_none(shell: Shell, here: Here) -> None:
    own = PIPELINE.replace('StateGraph("climate")', 'StateGraph("climate", store="sqlite:///tau.db")')
    for text in (PIPELINE, own):  # the default store, chosen by the command and by the graph
        shell.write("pipeline.py", text)
        again = ("run", GRAPH, "--run-id", "a", "--if-exists", "resume")
        here(*again)
        assert "remedy  tau delete a frees the id" in here(*again, "--set", "factor=9", code=4).err
        here("delete", "a", "--yes")
    shell.write("pipeline.py", own.replace("tau.db", "own.db"))
    here(*again)
    assert "own.db a frees the id" in here(*again, "--set", "factor=9", code=4).err
