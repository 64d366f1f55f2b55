"""Replays on every store: nothing is asked again, whatever dies."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tau import open_store

PROGRAM = """
import os, signal, sys
from tau import StateGraph, agents, current, open_store

url, requests, verb, last = sys.argv[1:5]

def note(prompt):
    with open(requests, "a") as file:
        file.write(f"{prompt}\\n")

def request(prompt):
    note(prompt)
    return f"about {prompt}"

def step(number):
    return current().journal("in step", request, f"s{number}")

agent = agents.function(lambda call: note(call.messages[-1]["content"]) or "fine")

def node(state, ctx):
    out = []
    for number in range(3):
        out.append(ctx.journal("ask", request, f"p{number}"))
        out.append(ctx.step(f"s{number}", step, number))
        out.append(agent.chat(f"a{number}").text)
        if str(number) == last:
            os.kill(os.getpid(), signal.SIGKILL)
    return {"out": out, "map": ctx.map("m", request, ["x", "y"]), "seed": ctx.seed("a")}

graph = StateGraph("g", store=open_store(url))
graph.add_node("n", node)
graph.sequence("n")
verbs = {"execute": lambda: graph.execute({}, run_id="r"), "replay": lambda: graph.replay("r", new_run_id="b")}
print(dict(verbs.get(verb, lambda: graph.resume("b"))()))
"""


@pytest.fixture(params=["sqlite", "file", "postgres", "redis", pytest.param("s3", marks=pytest.mark.deep)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param in ("sqlite", "file"):
        return f"sqlite:///{tmp_path}/runs.db" if request.param == "sqlite" else f"file://{tmp_path}/runs"
    return str(request.getfixturevalue(f"{request.param}_url"))


def test_a_replay_that_is_killed_goes_on_as_a_replay_in_every_store(url: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    requests = tmp_path / "requests"

    def run(verb: str, last: str = "") -> subprocess.CompletedProcess[str]:
        words = [sys.executable, str(tmp_path / "program.py"), url, str(requests), verb, last]
        return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)

    first = run("execute")
    assert first.returncode == 0, first.stderr
    asked = requests.read_text()
    assert sorted(asked.split()) == ["a0", "a1", "a2", "p0", "p1", "p2", "s0", "s1", "s2", "x", "y"]
    assert run("replay", "1").returncode == -signal.SIGKILL
    with open_store(url) as store:
        assert {one.run_id: one.status for one in store.runs()} == {"r": "finished", "b": "dead"}
    done = run("resume")
    assert done.returncode == 0, done.stderr
    assert done.stdout == first.stdout
    assert requests.read_text() == asked
