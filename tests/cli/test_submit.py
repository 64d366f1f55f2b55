"""`tau submit`: lines of a file become runs, once; `tau worker` runs them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading

import pytest
from cli_shell import Here, Shell, environment

from tau.cli.output import screen

PROGRAM = """
from typing import TypedDict
from tau import StateGraph

class Fields(TypedDict):
    x: int

graph = StateGraph("doubling", schema=Fields)
graph.add_node("double", lambda state: {"x": state["x"] * 2}, version="1")
graph.set_entry_point("double")
graph.set_exit_point("double")
"""
TARGET = "doubling.py:graph"


@pytest.fixture
def lines(shell: Shell) -> Shell:
    shell.write("doubling.py", PROGRAM)
    shell.write("a.jsonl", '{"x": 1}\n\n{"run_id": "two", "x": 2}\n{"x": 1}\n')
    return shell


def submitted(here: Here, store: str, name: str = "a.jsonl", code: int = 0) -> dict[str, object]:
    found: dict[str, object] = here.json("submit", TARGET, name, "--store", store, code=code)
    return found


@pytest.mark.usefixtures("lines")
def test_each_line_becomes_a_run_and_submitting_again_sends_what_is_missing(
    here: Here, shell: Shell, store: str
) -> None:
    first = submitted(here, store)
    assert (first["admitted"], first["known"], first["refused"]) == (2, 0, [])
    rows = here.json("runs", "--status", "admitted", "--store", store)
    ids = {row["run_id"] for row in rows}
    assert len(ids) == 2
    assert "two" in ids
    (digest,) = ids - {"two"}
    assert len(digest) == 40
    assert all(row["not_before"] is not None for row in rows)
    shell.write("a.jsonl", '{"x": 1}\n{"run_id": "two", "x": 2}\n{"x": 3}')
    again = submitted(here, store)
    assert (again["admitted"], again["known"]) == (1, 2)
    assert len(here.json("runs", "--store", store)) == 3
    done = here.json("worker", TARGET, "--once", "--store", store)
    assert (done["finished"], done["left"]) == (3, {})
    assert submitted(here, store)["known"] == 3
    assert {row["status"] for row in here.json("runs", "--store", store)} == {"finished"}


@pytest.mark.usefixtures("lines")
def test_bad_lines_are_named_by_number_and_nothing_is_sent(here: Here, shell: Shell, store: str) -> None:
    bad = ["{", "[1]", '{"x": "one"}', '{"y": 1}', '{"run_id": "", "x": 1}', '{"x": 1, "x": 2}', '{"x": NaN}']
    shell.write("b.jsonl", "\n".join(['{"x": 1}', *bad, '{"run_id": "a", "x": 1}', '{"run_id": "a", "x": 2}']))
    said = here("submit", TARGET, "b.jsonl", "--store", store, code=2)
    for number in range(2, 9):
        assert f"line {number}: " in said.err
    assert "line 10: line 9 has the same run_id 'a' and another input" in said.err
    assert "8 lines cannot be submitted, and nothing was sent" in said.err
    told = submitted(here, store, "b.jsonl", code=2)["refused"]
    assert [(one["line"], f"line {one['line']}: {one['why']}" in said.err) for one in told] == [  # type: ignore[attr-defined]
        (number, True) for number in (*range(2, 9), 10)
    ]
    shell.write("c.jsonl", '{"run_id": "a", "x": 1}\n{"run_id": "a", "x": 1}\n{"run_id": "a", "x": true}')
    assert "line 3: line 1 has the same run_id" in here("submit", TARGET, "c.jsonl", "--store", store, code=2).err
    assert here.json("runs", "--store", store) == []
    assert "cannot be read" in here("submit", TARGET, "none.jsonl", "--store", store, code=2).err


@pytest.mark.usefixtures("lines")
def test_an_id_that_is_in_use_with_another_input_is_refused_and_the_rest_is_sent(
    here: Here, shell: Shell, store: str
) -> None:
    submitted(here, store)
    shell.write("c.jsonl", '{"run_id": "two", "x": 22}\n{"run_id": "three", "x": 3}\n')
    found = submitted(here, store, "c.jsonl", code=4)
    assert found["admitted"] == 1
    (refused,) = json.loads(json.dumps(found["refused"]))
    assert refused["line"] == 1
    assert "another input ('x' differs)" in refused["why"]


@pytest.mark.usefixtures("lines")
def test_a_store_that_fails_half_way_is_told(here: Here, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    from tau.errors import StoreFullError
    from tau.operations import submit
    from tau.stores.sqlite import SQLiteStore

    monkeypatch.setattr(submit, "GROUP", 10)
    shell.write("d.jsonl", "\n".join(json.dumps({"x": number}) for number in range(35)))
    commit, calls = SQLiteStore.commit, list[int]()

    def failing(store: SQLiteStore, batches: object) -> object:
        calls.append(1)
        if len(calls) > 2:
            raise StoreFullError("no space left", location="here")
        return commit(store, batches)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(SQLiteStore, "commit", failing)
        said = here("submit", TARGET, "d.jsonl", "--store", "sqlite:///runs.db", code=5).err
    sent = len(here.json("runs", "--store", "sqlite:///runs.db"))
    assert f"{sent} of 35 runs are in the store; submit the file again to send the rest" in said
    assert 0 < sent < 35
    assert submitted(here, "sqlite:///runs.db", "d.jsonl")["admitted"] == 35 - sent


HELD_BACK = """
import time
from doubling import graph
graph.admit({"x": 1}, run_id="later", not_before=time.time() + 86400)
"""


def test_a_worker_says_in_words_what_it_left(lines: Shell, store: str) -> None:
    """What became of a run is said once, on one line."""
    lines.write("doubling.py", PROGRAM.replace('"doubling", ', f'"doubling", store={store!r}, '))
    lines.write("hold.py", HELD_BACK)
    subprocess.run([sys.executable, "hold.py"], cwd=lines.folder, env=environment(), check=True)
    options = ("--run-id", "stopped", "--store", store, "--max-runtime", "0")
    lines.run("run", TARGET, "--set", "x=1", *options, code=75)
    lines.write("doubling.py", PROGRAM.replace('"double"', '"triple"'))
    said = lines.run("worker", TARGET, "--once", "--store", store)
    assert said.stderr.count("left alone") == 1
    assert "run stopped left alone: " in said.stderr
    assert "\\n" not in said.stderr
    assert "1 admitted for later are left: their not_before is yet to come" in said.stdout


def test_values_line_up_behind_the_longest_label(capsys: pytest.CaptureFixture[str]) -> None:
    screen.fields({"failed": 1, "interrupted": 1})
    assert capsys.readouterr().out == "failed      1\ninterrupted 1\n"


def test_a_worker_takes_all_that_it_is_asked_for(lines: Shell, store: str) -> None:
    lines.json("submit", TARGET, "a.jsonl", "--tag", "night", "--store", store)
    lines.run("run", TARGET, "--set", "x=1", "--run-id", "stopped", "--store", store, "--max-runtime", "0", code=75)
    options = ("--concurrency", "2", "--once", "--all-interrupted", "--grace", "5", "--max-runtime", "3600", "--quiet")
    done = lines.json("worker", TARGET, *options, "--store", store)
    assert (done["finished"], done["deaths"]) == (3, 0)
    assert len(lines.json("runs", "--tag", "night", "--status", "finished", "--store", store)) == 2


ENDING = """
import atexit, pathlib, time

def ending():
    pathlib.Path("ending").touch()
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        time.sleep(0.01)

atexit.register(ending)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_more_as_a_worker_ends_does_not_change_its_exit_code(lines: Shell, store: str, number: int) -> None:
    lines.write("doubling.py", PROGRAM + ENDING)
    command = [sys.executable, "-m", "tau", "worker", TARGET, "--once", "--json", "--store", store]
    with subprocess.Popen(command, cwd=lines.folder, env=environment(), stdout=subprocess.PIPE, text=True) as worker:
        while worker.poll() is None and not (lines.folder / "ending").exists():
            threading.Event().wait(0.01)
        worker.send_signal(number)
        out, _ = worker.communicate(timeout=50)
    assert (worker.returncode, json.loads(out)["exit_code"]) == (0, 0)
