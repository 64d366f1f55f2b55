"""What happens in a notebook: cells run again, values shown, runs interrupted, in one kernel and in the next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import tau
from tau import State, StateGraph, open_store
from tau.predicates import key_equals
from tau.state import cells_of, raw, view
from tau.values.stored import StoredValue

KERNEL = Path(__file__).with_name("cells.py")
GRAPH = 'from tau import StateGraph\ngraph = StateGraph("g", store="sqlite:///runs.db")'
FIRST = '@graph.node\ndef first(state):\n    print("first")\n    return {"x": 1}'
SECOND = '@graph.node\ndef second(state):\n    print("second")\n    return {"y": state["x"] + 1}'
SEQUENCE = "graph.sequence(first, second)"
RUN = 'graph.execute({}, run_id="r", if_exists="resume")["y"]'


def kernel(folder: Path, *cells: str) -> list[dict[str, Any]]:
    """A fresh kernel runs these cells; what each printed, showed and raised."""
    (folder / "cells.json").write_text(json.dumps(cells))
    environment = {**os.environ, "PYTHONPATH": str(Path(tau.__path__[0]).parent), "IPYTHONDIR": str(folder / "ipython")}
    command = [sys.executable, str(KERNEL), str(folder / "cells.json")]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_all_cells_can_be_run_again_before_and_after_the_first_run(tmp_path: Path) -> None:
    cells = (FIRST, SECOND, SEQUENCE, RUN)
    found = kernel(tmp_path, GRAPH, FIRST, SECOND, SEQUENCE, *cells, *cells)
    assert [one["error"] for one in found] == [None] * 12
    assert (found[7]["printed"], found[7]["shown"]["text/plain"]) == ("first\nsecond\n", "2")
    assert (found[11]["printed"], found[11]["shown"]["text/plain"]) == ("", "2")


def test_an_edited_cell_replaces_its_node_until_the_first_run_and_then_says_what_to_do(tmp_path: Path) -> None:
    edited = SECOND.replace("+ 1", "+ 2")
    found = kernel(tmp_path, GRAPH, FIRST, SECOND, SEQUENCE, edited, RUN, SECOND, GRAPH, FIRST, edited, SEQUENCE, RUN)
    assert found[5]["shown"]["text/plain"] == "3"
    kind, text = found[6]["error"]
    assert kind == "GraphError"
    assert "node second is not what it was; build the graph again, from StateGraph(...) on" in text
    assert [one["error"] for one in found[7:]] == [None] * 5
    assert found[11]["shown"]["text/plain"] == "3"


def test_an_edited_node_of_a_finished_run_is_noticed_in_the_next_kernel(tmp_path: Path) -> None:
    kernel(tmp_path, GRAPH, FIRST, SECOND, SEQUENCE, RUN)
    *_, last = kernel(tmp_path, GRAPH, FIRST, SECOND.replace("+ 1", "+ 2"), SEQUENCE, RUN)
    assert last["error"][0] == "GraphChangedError"


def test_an_interrupted_cell_leaves_a_run_that_goes_on_in_the_same_kernel_and_in_the_next(tmp_path: Path) -> None:
    stop = "import os, signal\nstops = True"
    interrupted = SECOND.replace("    return", "    if stops: os.kill(os.getpid(), signal.SIGINT)\n    return")
    build = (GRAPH, stop, FIRST, interrupted, SEQUENCE)
    found = kernel(tmp_path, *build, RUN, "graph.plan('r')", RUN, "stops = False", RUN)
    assert [found[n]["error"][0] for n in (5, 7)] == ["KeyboardInterrupt"] * 2
    assert found[7]["printed"].startswith("second\n")
    assert "can be resumed" in found[6]["shown"]["text/html"]
    assert (found[9]["printed"], found[9]["shown"]["text/plain"]) == ("second\n", "2")
    again = RUN.replace('"r"', '"again"')
    assert kernel(tmp_path, *build, again)[5]["error"][0] == "KeyboardInterrupt"
    *_, last = kernel(tmp_path, *build, "stops = False", again)
    assert (last["printed"], last["shown"]["text/plain"]) == ("second\n", "2")


def test_async_nodes_and_async_verbs_work_in_cells(tmp_path: Path) -> None:
    node = "import asyncio\n@graph.node\nasync def first(state):\n    await asyncio.sleep(0)\n    return {'x': 1}"
    awaited = '(await graph.aexecute({}, run_id="a"))["y"]'
    stream = '[one async for one in graph.astream({}, run_id="s")][-1]["y"]'
    found = kernel(tmp_path, GRAPH, node, SECOND, SEQUENCE, RUN, awaited, stream)
    assert [one["error"] for one in found] == [None] * 7
    assert [one["shown"].get("text/plain") for one in found[4:]] == ["2", "2", "2"]


def test_what_a_notebook_shows(tmp_path: Path) -> None:
    shows = ("graph", 'graph.resume("r")', "graph.plan('r')", "graph.history('r')", "graph.store.runs()")
    graph, state, plan, history, runs = kernel(tmp_path, GRAPH, FIRST, SECOND, SEQUENCE, RUN, *shows)[5:]
    assert graph["shown"]["text/vnd.mermaid"].startswith("flowchart TD\n")
    assert graph["shown"]["text/html"].startswith("<svg ")
    assert texts(state)[-8:] == ["x", "int", "1 B", "1", "y", "int", "1 B", "2"]
    assert "Run r can be resumed" in texts(plan)
    assert texts(history)[6:10] == ["3", "first", "1", "second"]
    assert texts(runs)[9:14] == ["r", "g", "finished", "second", "2"]


class Texts(HTMLParser):
    """The texts of a page, and the tags and attributes in it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.found.append(data)


def parsed(html: str) -> Texts:
    page = Texts()
    page.feed(html)
    return page


def texts(cell: dict[str, Any]) -> list[str]:
    return parsed(cell["shown"]["text/html"]).found


HOSTILE = "<script>alert(\"1\")</script><img src=x onerror='alert(2)'>&\x00\ud800".encode("utf-8", "ignore").decode()
PASSIVE = {"div", "p", "b", "table", "thead", "tbody", "tr", "th", "td", "svg", "path", "rect", "text"}


def hostile(tmp_path: Path) -> StateGraph:
    name = HOSTILE.replace("\x00", "")
    graph = StateGraph(name, store=f"sqlite:///{tmp_path}/runs.db")
    graph.add_node(name, lambda state: {name: name, "list": [name]}, version="1")
    graph.add_node("b", lambda state: None, version="1")
    graph.add_edge(name, "b", key_equals("k", name), name=name)
    graph.add_edge(name, "b")
    graph.set_entry_point(name)
    graph.set_exit_point("b")
    graph.execute({}, run_id=name, tags=[name])
    return graph


def test_nothing_that_is_shown_can_do_anything(tmp_path: Path) -> None:
    graph = hostile(tmp_path)
    (row,) = rows = graph.store.runs()
    history = graph.history(row.run_id)
    for shown in (graph, graph.resume(row.run_id), graph.plan(row.run_id), history, history[0], rows, row):
        page = parsed(shown._repr_html_())
        assert page.tags <= PASSIVE
        assert not {name for name in page.attributes if name.startswith("on")} | page.attributes & {"src", "href"}
        assert any("<script>" in text for text in page.found), "it is there, as text"
    graph.store.close()


def test_secrets_are_not_shown_and_large_values_are_types_and_sizes() -> None:
    state = State({"api_key": "sk-CANARY", "n": 1, "long": "x" * 10_000, "big": list(range(1000)), "other": object()})
    page = state._repr_html_()
    assert "CANARY" not in page
    assert "[redacted]" in page
    assert "1,000 items" in page
    assert len(page) < 3000
    assert str(id(state["other"])) not in page


@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_showing_a_state_reads_nothing_and_leaves_it_as_it_was(kind: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db" if kind == "sqlite" else f"file://{tmp_path}/runs"
    graph = StateGraph("g", store=url)
    graph.add_node("a", lambda state: {"large": ["text"] * 1000, "small": (1, 2), "n": 7, "secret": "x"}, version="1")
    graph.sequence("a")
    graph.execute({}, run_id="r")
    graph.store.close()
    state = open_store(url).load("r")
    before = {key: (cell.encoded, cell.atom) for key, cell in raw(state).items()}
    large = raw(state)["large"]
    assert type(large) is StoredValue
    large.fetch = lambda parts: pytest.fail("a value was fetched to be shown")
    page = state._repr_html_()
    assert {key: (cell.encoded, cell.atom) for key, cell in raw(state).items()} == before
    assert state._visit is None
    assert "not read yet" in page
    assert "tuple" in page
    assert "[redacted]" in page
    open_store(url).close()


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (["text"] * 1000, "list"), ({"k": "text" * 1000}, "dict"), ("text" * 1000, "str"), (b"text" * 1000, "bytes"),
        (("text",) * 1000, "tuple"), ({*range(1000)}, "set"), (10**2000, "int"),
    ],
)  # fmt: skip
def test_the_type_of_a_long_encoding_is_told_by_its_first_bytes(value: Any, kind: str) -> None:
    cells = cells_of({"k": value})
    page = view(dict(cells), "r", None, 0.0)._repr_html_()
    assert f">{kind}<" in page
