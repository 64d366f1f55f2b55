"""Sources are parsed where a run is admitted and where something changed, and not for a resume of what it was."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from tau import ExecutionError
from tau.graph import syntax_digest

PROGRAM = """
from tau import StateGraph

def first(state):
    return {"x": 1}

def holds(state):
    return True

def fails(state):
    raise OSError("away")

def works(state):
    pass

def graph_of(last, place):
    graph = StateGraph("parsing", store=f"sqlite:///{place}/runs.db")
    graph.add_node("first", first, depends_on=[fails])
    graph.add_node("last", last)
    graph.add_edge("first", "last", holds)
    graph.set_entry_point("first")
    graph.set_exit_point("last")
    return graph
"""


def test_no_source_is_parsed_for_what_did_not_change(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    program: dict[str, Any] = runpy.run_path(str(tmp_path / "program.py"))
    graph_of, fails, works = program["graph_of"], program["fails"], program["works"]
    with pytest.raises(ExecutionError):
        graph_of(fails, tmp_path).execute({}, run_id="r")
    syntax_digest._functions.cache_clear()
    syntax_digest._trees.clear()
    with pytest.raises(ExecutionError):
        graph_of(fails, tmp_path).resume("r")
    assert syntax_digest._functions.cache_info().misses == 0
    graph_of(works, tmp_path).resume("r")
    assert syntax_digest._functions.cache_info().misses == 1
    assert graph_of(works, tmp_path).plan("r").notes == ()
