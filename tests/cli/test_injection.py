"""Whatever a run id or a filter holds, the command takes it as text: it comes back exactly and steers nothing."""

from __future__ import annotations

import json
import re

import pytest
from cli_shell import Here, Shell
from click.testing import CliRunner

from tau import StateGraph, open_store
from tau.cli.app import tau as group

PIECES = [
    "'; DROP TABLE runs; --",
    '" OR ""="',
    "' UNION SELECT * FROM runs --",
    "%",
    "_",
    "*",
    "?",
    "[a-z]",
    "\\",
    "../../x",
    "/etc/passwd",
    "a/b",
    "C:\\x",
    "$(touch hacked)",
    "`touch hacked`",
    "; touch hacked",
    "| touch hacked",
    "&& x",
    "\n\n",
    "\r",
    "\t",
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\u202e",
    "\u2028",
    "\ufeff",
    "\x7f",
    "\x9b31m",
    "[red]",
    "[/]",
    ":boom:",
    "{0.__class__}",
    "%s%n",
    "<script>alert(1)</script>",
    "&amp;",
    "--store",
    "-h",
    "--",
    "=",
    ",",
    " ",
    "\u00e9",
    "e\u0301",
    "\U0001f98a",
    "null",
    "true",
    "0",
    "{}",
    "[]",
    "@file",
]
TEXTS = list(dict.fromkeys([*PIECES, *(one + other for one in PIECES for other in PIECES)]))[:2_100]
STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2028\ufeff]")


def test_run_ids_come_back_exactly_and_steer_nothing(here: Here, shell: Shell, store: str) -> None:
    graph = StateGraph("g", store=open_store(store))
    graph.add_node("n", lambda state: None, version="1")
    graph.sequence("n")
    some = TEXTS[::30]
    for text in some:
        graph.execute(run_id=text, tags=[text])
    assert sorted(row["run_id"] for row in here.json("runs", "--store", store)) == sorted(some)
    shown = here("runs", "--store", store).out
    assert not STEERING.search(shown)
    assert len(shown.splitlines()) == len(some) + 1
    for text in some:
        found = here.json("show", "--store", store, "--", text)
        assert (found["run_id"], found["tags"]) == (text, [text])
        assert [row["run_id"] for row in here.json("runs", "--store", store, f"--tag={text}")] == [text]
    assert not (shell.folder / "hacked").exists()


@pytest.mark.usefixtures("here")
def test_filters_and_unknown_ids_find_nothing_else(store: str) -> None:
    """At least 2,000 texts, as ids and as names of graphs, against a store that holds one harmless run."""
    assert len(TEXTS) >= 2_000
    graph = StateGraph("g", store=open_store(store))
    graph.add_node("n", lambda state: None, version="1")
    graph.sequence("n")
    graph.execute(run_id="harmless")
    place = open_store(store)
    for text in TEXTS:
        assert place.runs(graph=text) == place.runs(tag=text) == []
        assert place.summary(text) is None
    for text in TEXTS[::10]:
        done = CliRunner().invoke(group, ["runs", "--json", "--store", store, f"--graph={text}"], standalone_mode=False)
        assert json.loads(done.stdout) == []
        done = CliRunner().invoke(group, ["show", "--store", store, "--", text], standalone_mode=False)
        assert done.return_value == 3
        assert not STEERING.search(done.output)
    assert [row.run_id for row in place.runs()] == ["harmless"]
