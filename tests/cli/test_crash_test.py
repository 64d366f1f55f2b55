"""`tau crash-test`: what it says, how it ends, and that it leaves nothing behind."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from cli_shell import Here, Shell, command

ATTEMPTS = """
from tau import StateGraph

graph = StateGraph("careless", store="sqlite:///mine.db")

@graph.node
def count(state, ctx):
    return {"again": ctx.attempt > 1, "sum": state.get("first", 0) + 1}

graph.sequence(count)
"""

HOLDS = """
import os, signal, time
from tau import StateGraph

graph = StateGraph("held")
runs = 0

@graph.node
def hold(state):
    with open("pids", "a") as file:
        file.write(f"{os.getpid()}\\n")
    while os.path.exists("hold"):
        try:
            time.sleep(60)
        except BaseException:
            pass

graph.sequence(hold)
"""

ASKS = """
from tau import StateGraph, pause_node

graph = StateGraph("asks")

@graph.node
def send(state, ctx):
    with open("sent", "a") as file:
        file.write(f"{ctx.key}\\n")

graph.add_node("sign", pause_node("sign"))
graph.sequence("send", "sign")
"""


@pytest.fixture
def temporary(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place for temporary files."""
    place = shell.folder / "temporary"
    place.mkdir()
    shell.env["TMPDIR"] = str(place)
    return place


def test_a_graph_that_survives(shell: Shell, temporary: Path) -> None:
    """The plan first, then what was struck and compared; nothing of it stays."""
    before = sorted(shell.folder.iterdir())
    done = shell.run("crash-test", "tau.cli.demo_pipeline:graph", "--points", "1")
    said = r"a run has \d+ commits and takes .*; all \d+ kills would take about .*; 4 points, about "
    assert re.search(said, done.stderr)
    lines = dict(re.findall(r"^(\w+) +(.*)$", done.stdout, re.MULTILINE))
    assert lines["struck"] == "1 before a commit, 1 inside one, 1 after one, 1 by Ctrl-C in a node"
    assert lines["compared"] == "annual, days, text, warming"
    assert lines["survives"] == "yes: each resumed run ended as an undisturbed one does"
    assert sorted(shell.folder.iterdir()) == before
    assert not list(temporary.iterdir())


def test_a_finding_comes_with_the_command_that_shows_it_again(shell: Shell) -> None:
    shell.write("careless.py", ATTEMPTS)
    words = ("crash-test", "careless.py:graph", "--set", "first=2", "--at", "before:2", "--quiet")
    said = shell.run(*words, code=1).stdout
    assert "no: 1 broken promise" in said
    assert "killed before commit 2: the final state differs: again is another" in said
    again = re.findall(r"^ +again +tau (.+)$", said, re.MULTILINE)
    assert again == ["crash-test careless.py:graph --set=first=2 --at before:2"]
    assert shell.json(*shlex.split(again[0]), code=1)["findings"][0]["again"] == f"tau {again[0]}"
    assert not (shell.folder / "mine.db").exists()
    right = shell.json(*words, "--ignore", "again")
    assert right["keys"] == ["first", "sum"]


def test_a_graph_that_cannot_be_tested(shell: Shell, here: Here) -> None:
    shell.write("clock.py", ATTEMPTS.replace("ctx.attempt > 1", "__import__('time').time_ns()"))
    said = here("crash-test", "clock.py:graph", code=2).err
    assert "two undisturbed runs differ in again" in said
    assert "--ignore again" in said
    assert "no such file: no.py" in here("crash-test", "no.py:graph", code=2).err
    assert "not a point" in here("crash-test", "clock.py:graph", "--ignore", "again", "--at", "x", code=2).err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_leaves_neither_a_process_nor_a_directory(
    shell: Shell, temporary: Path, number: int, code: int
) -> None:
    """Not even of a graph that keeps all signals to itself."""
    shell.write("held.py", HOLDS)
    shell.write("hold", "")
    os.mkfifo(shell.folder / "pids")
    with subprocess.Popen(
        command("crash-test", "held.py:graph"), cwd=shell.folder, env=shell.env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as test:  # fmt: skip
        with open(shell.folder / "pids") as pids:
            pid = int(pids.readline())
        assert os.path.exists(f"/proc/{pid}")
        test.send_signal(number)
        assert test.stderr is not None
        said = test.stderr.read()
        assert test.wait() == code
    assert "the crash test was stopped" in said
    assert not os.path.exists(f"/proc/{pid}")
    assert not list(temporary.iterdir())


def test_a_graph_that_asks_and_has_effects_until_the_time_is_over(shell: Shell) -> None:
    shell.write("asks.py", ASKS)
    words = ("crash-test", "asks.py:graph", "--answer", "sign=ok", "--effects", "sent", "--quiet")
    found = shell.json(*words, "--all", "--max-time", "8")
    assert found["survives"] is True
    assert "sign" in found["keys"]
    assert found["points"] == found["left"] + sum(found["struck"].values()) > found["possible"]  # Ctrl-C, too
