"""Every `--json` document holds what docs/command-json.md says, and the page says nothing that no document holds."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cli_shell import Here, Shell, command
from json_tables import PAGE, Tables

import tau.agents  # noqa: F401 - here, a command forgets the modules that it was the first to import
from tau import State, open_store
from tau.cli.app import commands
from tau.host import Host
from tau.log.append import Append
from tau.log.journal import Journal
from tau.log.records import Answer, Pause, Planned

STORE = "sqlite:///runs.db"
GRAPH = "work.py:graph"
WORK = """
from tau import StateGraph, key_exists, register_type
import enum, os, solver

@register_type
class Colour(enum.Enum):
    RED = 1

graph = StateGraph("work")

@graph.node
def begin(state, ctx):
    with ctx.artifact("a.txt") as path:
        path.write_text("a")
    return {"colour": Colour.RED, "nan": float("nan"), "old": None, "none": None}

@graph.node
def middle(state, ctx):
    ctx.step("fit", lambda: 1)
    ctx.map("each", abs, [1, 2])
    if os.path.exists("broken"):
        error = ExceptionGroup("bad sensors", [ValueError("bad sensor")])
        error.add_note("of 9")
        raise error from OSError("no sun")
    return state.drop("old")

@graph.node
def end(state):
    pass

@graph.node
def never(state):
    pass

graph.add_edge(begin, middle, key_exists("none"), name="found")
graph.add_edge(middle, end)
graph.add_edge(never, end)
graph.set_entry_point(begin)
graph.set_exit_point(end)
"""


LOOP = """
from tau import StateGraph, key_equals, not_
graph = StateGraph("loop")
@graph.node
def step(state):
    return {"n": state["n"] + 1, "log": str(state["n"]) * 300}
graph.add_edge(step, step, not_(key_equals("n", 90)))
graph.set_entry_point(step)
@graph.node
def end(state):
    pass
graph.add_edge(step, end)
graph.set_exit_point(end)
"""


ASKS = """
from dataclasses import dataclass
from tau import Context, StateGraph, pause_node
import os

@dataclass
class Approval:
    ok: bool

graph = StateGraph("asks")
graph.add_node("begin", lambda state: {"x": 1})
graph.add_node("review", pause_node("review", form=Approval, deadline=1e6, prompt="Fine?"))
graph.add_node("free", pause_node("free"))
graph.sequence("begin", "review", "free")
"""


CALLS = """
from tau import StateGraph, agents
from tau.agents import Response, Usage

agent = agents.function(lambda call: Response("yes", usage=Usage(10, 2)), name="me", prices={"function": (1.0, 2.0)},
    journal_prompts=True)
graph = StateGraph("calls")

@graph.node
def ask(state, ctx):
    agent.chat("well?")
    ctx.journal("plain", str, 1)

graph.sequence(ask)
"""


def test_every_command_with_json_has_a_table() -> None:
    headings = re.findall(r"^## .*", PAGE.read_text("utf-8"), re.MULTILINE)
    for name, one in commands().items():
        if any("--json" in option.opts for option in one.params):
            assert any(f"`tau {name}`" in heading for heading in headings), name


AGAIN = """
from tau import StateGraph
graph = StateGraph("again")
graph.add_node("a", lambda state, ctx: {"again": ctx.attempt > 1})
graph.sequence("a")
"""


def test_the_fields_of_every_document_are_those_on_the_page(shell: Shell, here: Here) -> None:
    tables = Tables()
    shell.write("work.py", WORK)
    shell.env["PYTHONDONTWRITEBYTECODE"] = "1"
    for look in (
        of_a_failed_run,
        of_a_finished_run,
        of_a_graph,
        of_a_waiting_run,
        of_calls,
        of_a_graph_in_a_node,
        of_an_odd_log,
        of_a_damaged_log,
        of_the_end,
    ):
        look(shell, here, tables)
    tables.check("tau-demo", here.json("demo", "--store", STORE))
    shell.write("again.py", AGAIN)
    tables.check("tau-crash-test", here.json("crash-test", "again.py:graph", "--at", "before:2", code=1))
    of_workers(shell, here, tables)
    assert tables.unseen() == set()


def of_workers(shell: Shell, here: Here, tables: Tables) -> None:
    for name, code in (("sound", 0), ("refused", 4)):
        shell.write("lines.jsonl", json.dumps({"run_id": "line", "name": name}))
        tables.check("tau-submit", here.json("submit", "again.py:graph", "lines.jsonl", "--store", STORE, code=code))
    shell.write("lines.jsonl", "no JSON")
    tables.check("an-error", here.json("submit", "again.py:graph", "lines.jsonl", "--store", STORE, code=2))
    for row in here.json("runs", "--status", "admitted", "--store", STORE):
        tables.check("tau-runs", row)
    here("run", "again.py:graph", "--run-id", "stopped", "--store", STORE, "--max-runtime", "0", code=75)
    shell.write("again.py", AGAIN.replace('"a"', '"b"'))
    tables.check("tau-worker", here.json("worker", "again.py:graph", "--once", "--store", STORE))


ROUTED = """
from tau import END, StateGraph
graph = StateGraph("routed")
@graph.node
def begin(state):
    pass
async def verdict(state):
    return "done"
graph.add_conditional_edges(begin, verdict, {"done": END})
graph.set_entry_point(begin)
"""


def of_a_failed_run(shell: Shell, here: Here, tables: Tables) -> None:
    """In processes of its own until its values were shown where the class of one is not registered."""
    shell.write("solver.py", "__version__ = '1'")
    stopped = shell.json("run", GRAPH, "--run-id", "r", "--store", STORE, "--max-runtime", "0", "--tag", "t", code=75)
    tables.check("an-error", stopped)
    tables.check("tau-show", here.json("show", "r", "--store", STORE))
    tables.check("tau-runs", here.json("runs", "--store", STORE)[0])
    tables.check("tau-history---at", here.json("history", "r", "--at", "1", "--store", STORE))
    shell.write("broken", "")
    shell.write("solver.py", "__version__ = '22'")
    tables.check("an-error", shell.json("resume", "r", GRAPH, "--store", STORE, code=1))
    tables.check("tau-show", here.json("show", "r", "--store", STORE, "--values"))
    tables.check("tau-history", here.json("history", "r", "--store", STORE))
    tables.check("tau-resume---plan", here.json("resume", "r", GRAPH, "--plan", "--store", STORE))
    tables.check("tau-graph", here.json("graph", GRAPH, "--run", "r", "--format", "text", "--store", STORE))
    shell.write("work.py", WORK.replace("bad sensor", "worse sensor").replace("'fit'", "'fits'"))
    tables.check("tau-resume---plan", here.json("resume", "r", GRAPH, "--plan", "--store", STORE, code=4))
    tables.check(
        "tau-resume---plan", here.json("resume", "r", GRAPH, "--plan", "--on-change", "redo", "--store", STORE)
    )
    here.json("resume", "r", GRAPH, "--on-change", "redo", "--store", STORE, code=1)
    tables.check("tau-history", here.json("history", "r", "--store", STORE))


def of_a_finished_run(shell: Shell, here: Here, tables: Tables) -> None:
    shell.remove("broken")
    tables.check("tau-run-tau-resume", here.json("run", GRAPH, "--run-id", "s", "--store", STORE, "--values"))
    tables.check("tau-run-tau-resume", here.json("resume", "s", GRAPH, "--store", STORE))
    shown = here.json("show", "s", "--store", STORE, "--values")
    tables.check("tau-show", shown)
    tables.check("tau-fork", here.json("fork", "s", GRAPH, "--as", "fork", "--store", STORE))
    tables.check("tau-show", here.json("show", "fork", "--store", STORE))
    tables.check("tau-history", here.json("history", "fork", "--store", STORE))
    here("delete", "fork", "--yes", "--store", STORE)
    tables.check("tau-history", here.json("history", "s", "--store", STORE))
    tables.check("tau-history---at", here.json("history", "s", "--at", "6", "--store", STORE))
    Path(shown["artifacts"][0]["path"]).unlink()
    tables.check("tau-show", here.json("show", "s", "--store", STORE))
    tables.check("tau-verify", here.json("verify", "s", "--store", STORE, code=5))
    tables.check("tau-export-tau-import-tau-copy", here.json("export", "s", "s.tau", "--store", STORE))
    shell.write("work.py", WORK.replace("pass", "return None"))
    tables.check("tau-resume---plan", here.json("resume", "s", GRAPH, "--plan", "--store", STORE, code=4))
    for row in here.json("runs", "--store", STORE):
        tables.check("tau-runs", row)


def of_a_graph(shell: Shell, here: Here, tables: Tables) -> None:
    tables.check("tau-graph", here.json("graph", GRAPH))
    shell.write("routed.py", ROUTED)
    tables.check("tau-graph", here.json("graph", "routed.py:graph"))
    shell.write("invalid.py", "from tau import StateGraph\ngraph = StateGraph('empty')\n")
    tables.check("tau-graph", here.json("graph", "invalid.py:graph", code=2))
    here("run", "routed.py:graph", "--run-id", "routed", "--store", STORE)
    tables.check("tau-history", here.json("history", "routed", "--store", STORE))
    tables.check("an-error", here.json("graph", "nothing:graph", code=2))


def of_calls(shell: Shell, here: Here, tables: Tables) -> None:
    shell.write("calls.py", CALLS)
    here("run", "calls.py:graph", "--run-id", "calls", "--store", STORE)
    tables.check("tau-show", here.json("show", "calls", "--values", "--store", STORE))
    tables.check("tau-run-tau-resume", here.json("replay", "calls", "calls.py:graph", "--store", STORE))


def of_a_waiting_run(shell: Shell, here: Here, tables: Tables) -> None:
    shell.write("asks.py", ASKS)
    tables.check("an-error", here.json("run", "asks.py:graph", "--run-id", "asks", "--store", STORE, code=4))
    tables.check("tau-show", here.json("show", "asks", "--store", STORE))
    tables.check("tau-runs", here.json("runs", "--status", "waiting", "--store", STORE)[0])
    tables.check("tau-pauses", here.json("pauses", "--store", STORE)[0])
    answer = ("answer", "asks", "review", "--set", "ok=true", "--change", "x=2", "--store", STORE)
    tables.check("an-error", here.json(*answer[:3], "--value", "1", *answer[-2:], code=2))
    tables.check("tau-answer", here.json(*answer))
    tables.check("an-error", here.json(*answer, code=4))
    tables.check("tau-history", here.json("history", "asks", "--store", STORE))
    shell.write("asks.py", ASKS.replace("ok: bool", "ok: bool\n    who: str"))
    here("resume", "asks", "asks.py:graph", "--store", STORE, code=4)
    tables.check("tau-pauses", here.json("pauses", "asks", "--store", STORE)[0])
    here("answer", "asks", "review", "--set", "ok=true", "--set", "who=ada", "--store", STORE)
    here("resume", "asks", "asks.py:graph", "--store", STORE, code=4)
    tables.check("tau-pauses", here.json("pauses", "asks", "--store", STORE)[0])


NESTED = """
from tau import StateGraph
inner = StateGraph("inner")
@inner.node
def done(state):
    pass
@inner.node
def broken(state):
    raise ValueError("broken")
inner.sequence(done, broken)
graph = StateGraph("nested")
graph.add_node("around", inner)
graph.sequence("around")
"""


def of_a_graph_in_a_node(shell: Shell, here: Here, tables: Tables) -> None:
    shell.write("nested.py", NESTED)
    here("run", "nested.py:graph", "--run-id", "nested", "--store", STORE, code=1)
    found = here.json("show", "nested", "--store", STORE)
    assert [one["node"] for one in found["inside"]] == ["around/done"]
    assert [one["node"] for one in found["unfinished"]] == ["around", "around/broken"]
    tables.check("tau-show", found)
    tables.check("tau-history", here.json("history", "nested", "--store", STORE))


def of_an_odd_log(shell: Shell, here: Here, tables: Tables) -> None:
    """Of a run that is owned, one that was saved by hand, and one with records that later versions write."""
    with shell.held("run", "pipeline.py:graph", "--run-id", "held", "--store", STORE), watching(shell) as lines:
        tables.check("tau-runs", json.loads(next(lines)))
        tables.check("tau-show", here.json("show", "held", "--store", STORE))
        tables.check("an-error", here.json("resume", "held", "pipeline.py:graph", "--store", STORE, code=4))
    store = open_store(STORE)
    store.save(State({"a": 1}, run_id="hand"))
    journal = Journal(store, "r", Host(), Host().owner(0.0), interval=1)
    found = journal.look(None)
    assert found is not None
    assert found.progress is not None
    records = (Planned(name="p", keys=("1", "2")), Pause(name="q"), Answer(name="q"))
    batch = journal.prepare(Append(records, found.progress, {}, flush=True, expected=found.position))
    assert batch is not None
    journal.settle(batch, store.committer.commit(batch))
    store.close()
    for run_id in ("hand", "r"):
        tables.check("tau-show", here.json("show", run_id, "--store", STORE))
        tables.check("tau-history", here.json("history", run_id, "--store", STORE))


@contextmanager
def watching(shell: Shell) -> Iterator[Iterator[str]]:
    words = command("runs", "--watch", "--json", "--status", "running", "--store", STORE)
    with subprocess.Popen(words, cwd=shell.folder, env=shell.env, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield iter(process.stdout)
        process.kill()


def of_a_damaged_log(shell: Shell, here: Here, tables: Tables) -> None:
    url = "sqlite:///damaged.db"
    shell.write("broken", "")
    here("run", "pipeline.py:graph", "--run-id", "d", "--store", url, code=1)
    store = open_store(url)
    newest = store.read("d")[-1][1]
    store.close()
    file = shell.folder / "damaged.db"
    file.write_bytes(file.read_bytes().replace(newest[20:], newest[20:][::-1]))
    tables.check("tau-verify", here.json("verify", "--store", url, code=5))
    tables.check("tau-stats", here.json("stats", "--store", url))
    for _ in range(2):
        tables.check("tau-show", here.json("show", "d", "--store", url))
        tables.check("tau-history", here.json("history", "d", "--store", url))
        here("resume", "d", "pipeline.py:graph", "--store", url, code=1)
    open_store(url).close()
    with closing(sqlite3.connect(file)) as database:
        database.execute("update runs set summary = x'00'")
        database.commit()
    tables.check("tau-verify", here.json("verify", "--store", url, code=5))


def of_the_end(shell: Shell, here: Here, tables: Tables) -> None:
    tables.check("tau-stats", here.json("stats", "--store", STORE))
    tables.check("tau-stats", here.json("stats", "--limit", "1", "--graph", "no such", "--store", STORE))
    tables.check("tau-cancel", here.json("cancel", "r", "--store", STORE))
    tables.check("tau-history", here.json("history", "r", "--store", STORE))
    tables.check("tau-resume---plan", here.json("resume", "r", GRAPH, "--plan", "--store", STORE, code=4))
    tables.check("tau-delete", here.json("delete", "r", "--yes", "--store", STORE))
    shell.remove("broken")
    for run_id, options in (("gone", ()), ("moved", ("--max-runtime", "0"))):
        here("run", GRAPH, "--run-id", run_id, "--store", STORE, *options, code=75 if options else 0)
    here("copy", "moved", "--move", "--to", "file:there", "--store", STORE)
    shell.write("loop.py", LOOP)
    here("run", "loop.py:graph", "--set", "n=0", "--store", STORE)
    tables.check("tau-gc", here.json("gc", "--trim", "--store", STORE))
    tables.check("tau-gc", here.json("gc", "--keep-last", "0", "--graph", "work", "--dry-run", "--store", STORE))
    tables.check("an-error", here.json("show", "r", "--store", STORE, code=3))
