"""A node that is defined twice: by mistake in one file, or again and again in a notebook."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any

import pytest

from tau import GraphError, StateGraph

TWICE = """
@graph.node
def load(state):
    return {"a": 1}

@graph.node
def clean(state):
    return {}

@graph.node
def load(state):
    return {"b": 2}
"""
ONCE = '@graph.node\ndef load(state):\n    return {"a": 1}\n'


def cell(source: str, graph: StateGraph, name: str = "cell.py", **given: Any) -> dict[str, Any]:
    """Run a cell, as a notebook or an editor does: compiled anew, under whatever name it gives it."""
    names = {"graph": graph, "__name__": "__main__", **given}
    exec(compile(source, name, "exec"), names)
    return names


def test_two_of_one_name_in_one_file_are_told_by_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Not refused: a notebook that was turned into a script defines a node again, and runs."""
    graph = StateGraph("g")
    cell(TWICE, graph)
    assert graph.nodes["load"].function(None) == {"b": 2}
    (told,) = [text for text in graph.warnings if "twice" in text]
    assert "node load is defined twice in cell.py, at lines 2 and 10" in told
    assert told in caplog.text


@pytest.mark.parametrize("again", [ONCE, ONCE.replace("1", "3"), f"\n\n{ONCE}", f"import os\n{ONCE}"])
@pytest.mark.parametrize("name", ["cell.py", "another.py"])
def test_a_cell_that_is_run_again_or_was_edited_replaces(again: str, name: str) -> None:
    graph = StateGraph("g")
    cell(ONCE, graph)
    names = cell(again, graph, name)
    assert graph.nodes["load"].function is names["load"]


def test_a_name_that_is_given_or_a_wrapper_hides_nothing() -> None:
    def logged(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(state: Any) -> Any:
            return function(state)

        return wrapper

    for decorator in ("@graph.node(name='load')", "@graph.node(version=1)", "@graph.node\n@logged"):
        graph = StateGraph("g")
        source = TWICE.replace("@graph.node", decorator, 1).replace("@graph.node\ndef load", f"{decorator}\ndef load")
        cell(source, graph, logged=logged)
        assert [text for text in graph.warnings if "node load is defined twice" in text]


def test_one_place_that_is_run_again_is_one_definition() -> None:
    graph = StateGraph("g")

    def build() -> Any:
        @graph.node
        def load(state: Any) -> dict[str, int]:
            return {"a": 1}

        return load

    build()
    again = build()
    assert graph.nodes["load"].function is again


def test_a_module_that_is_loaded_again_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = StateGraph("g")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("builtins.graph", graph, raising=False)
    (tmp_path / "nodes_of_it.py").write_text(ONCE)
    module = importlib.import_module("nodes_of_it")
    (tmp_path / "nodes_of_it.py").write_text("# a new line\n" + ONCE.replace("1", "17"))
    importlib.invalidate_caches()
    assert importlib.reload(module) is module
    assert graph.nodes["load"].function(None) == {"a": 17}


def test_a_name_or_a_list_that_is_put_in_the_wrong_place_is_told_its_right_one() -> None:
    graph = StateGraph("g")
    with pytest.raises(GraphError, match=r"write @graph\.node\(name='load'\)"):
        graph.node("load")  # type: ignore[call-overload]

    def a(state: Any) -> None: ...

    def b(state: Any) -> None: ...

    for wrong in ([a, b], (a, b)):
        with pytest.raises(GraphError, match=r"one by one, as in sequence\(a, b\), or sequence\(\*nodes\)"):
            graph.sequence(wrong)
    graph.sequence(*[a, b])
    assert list(graph.nodes) == ["a", "b"]
