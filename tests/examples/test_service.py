"""The example service, as a real server on loopback: watched, left, killed and stopped."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICE = ROOT / "examples" / "service"
# The app over a graph whose second node waits until a file is there, and that writes down what it runs.
GRAPH = """
import sys
import threading
from pathlib import Path
from pydantic import BaseModel
from tau import StateGraph

class Input(BaseModel, extra="forbid"):
    topic: str

def note(state, name):
    with open("effects", "a") as file:
        file.write(f"{state['topic']} {name}\\n")
    print(f"at {state['topic']} {name}", file=sys.stderr, flush=True)

def build(store):
    graph = StateGraph("gated", store=store)

    @graph.node
    def first(state):
        note(state, "first")

    @graph.node
    def second(state):
        note(state, "second")
        poll = threading.Event()
        while not Path("open").exists():
            poll.wait(0.01)

    @graph.node
    def third(state):
        note(state, "third")
        return {"report": state["topic"]}

    graph.sequence(first, second, third)
    return graph
"""


# The service, telling on its log when a request is over: for a stream, that its client has gone or the run has ended.
PROGRAM = """
import sys
sys.path[:0] = {paths!r}
import serve

def told(inner):
    async def app(scope, receive, send):
        try:
            await inner(scope, receive, send)
        finally:
            print("over:", scope.get("path"), file=sys.stderr, flush=True)
    return app

serve.app = told(serve.app)
serve.main()
"""


class Service:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "pipeline.py").write_text(GRAPH)

    def start(self) -> None:
        program = PROGRAM.format(paths=[str(self.folder), str(SERVICE)])
        env = {**os.environ, "PORT": "0", "PYTHONPATH": str(ROOT / "src"), "TAU_STORE": "sqlite:///service.db"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", program], cwd=self.folder, env=env, stderr=subprocess.PIPE, text=True
        )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, args=(self.process.stderr, self.lines), daemon=True).start()
        found = re.search(r"http://127\.0\.0\.1:\d+", self.said("Uvicorn running on"))
        assert found
        self.client = httpx.Client(base_url=found[0], timeout=60, trust_env=False)

    @staticmethod
    def _read(log: Any, lines: queue.Queue[str]) -> None:
        with log:
            for line in log:
                lines.put(line)
        lines.put("")

    def said(self, text: str) -> str:
        """Wait for the next line of the server's log that holds ``text``."""
        passed = []
        while line := self.lines.get(timeout=60):
            if text in line:
                return line
            passed.append(line)
        raise AssertionError(f"the server ended without {text!r}: {''.join(passed)}")

    def end(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.wait(60)
        self.client.close()

    def effects(self) -> list[str]:
        path = self.folder / "effects"
        return path.read_text().splitlines() if path.exists() else []

    def begin(self, name: str) -> None:
        """Start a run, up to the node that waits."""
        assert self.client.put(f"/runs/{name}", json={"topic": name}).status_code == 202
        self.said(f"at {name} second")

    def let_go(self) -> None:
        (self.folder / "open").touch()

    def finished(self, name: str) -> None:
        with self.client.stream("GET", f"/runs/{name}/events") as watched:
            watched.read()  # until the run has ended
        assert self.client.get(f"/runs/{name}").json() == {"status": "finished", "report": name}


def told(lines: Iterator[str]) -> list[str]:
    """The types of the events; a line is empty or carries one JSON object."""
    shown = [line for line in lines if line]
    assert all(line.startswith("data: {") for line in shown)
    return [json.loads(line.removeprefix("data: "))["type"] for line in shown]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    one = Service(tmp_path)
    try:
        one.start()
        yield one
    finally:
        one.process.kill()
        one.process.wait(60)


def test_several_watch_one_run_and_one_that_leaves_cancels_nothing(service: Service) -> None:
    service.begin("r")
    with service.client.stream("GET", "/runs/r/events") as stays:
        assert stays.headers["content-type"].startswith("text/event-stream")
        with service.client.stream("GET", "/runs/r/events") as leaves:
            assert leaves.status_code == 200
        service.said("over: /runs/r/events")  # the server has noticed, and the other one is still served:
        assert service.effects() == ["r first", "r second"]
        service.let_go()
        assert told(stays.iter_lines())[-1] == "graph.complete"
    service.finished("r")
    assert service.effects() == ["r first", "r second", "r third"]


def test_a_killed_server_goes_on_and_runs_no_finished_node_again(service: Service) -> None:
    service.begin("r")
    service.end(signal.SIGKILL)
    service.let_go()
    service.start()
    service.finished("r")
    assert service.effects() == ["r first", "r second", "r second", "r third"]


def test_sigterm_interrupts_runs_though_somebody_watches_and_the_next_start_goes_on(service: Service) -> None:
    service.begin("r")
    with service.client.stream("GET", "/runs/r/events") as watched:
        service.process.send_signal(signal.SIGTERM)
        service.said("Shutting down")
        service.let_go()
        assert told(watched.iter_lines())[-1] == "graph.interrupted"
    service.end(signal.SIGTERM)
    from tau import open_store

    with open_store(f"sqlite:///{service.folder}/service.db") as store:
        assert [row.status for row in store.runs()] == ["interrupted"]
    service.start()
    service.finished("r")
    assert service.effects() == ["r first", "r second", "r third"]


def test_what_is_asked_wrongly_is_refused_and_stores_nothing(service: Service) -> None:
    client = service.client
    assert client.get("/runs/unknown").status_code == 404
    assert client.get("/runs/unknown/events").status_code == 404
    for bad in ({}, {"topic": 3}, {"topic": "x", "more": 1}, []):
        assert client.put("/runs/r", json=bad).status_code == 422
    assert client.put("/runs/r", content=b"{").status_code == 422
    for name in ("..%2Fx", "%2E%2E", "a%00b", "a%0A", ".hidden", "x" * 65, "a b"):
        assert client.put(f"/runs/{name}", json={"topic": "x"}).status_code in (404, 405, 422), name
        assert client.get(f"/runs/{name}").status_code in (404, 422), name
    service.begin("r")
    again = client.put("/runs/r", json={"topic": "other"}, headers={"Origin": "http://other.example"})
    assert again.status_code == 409
    assert "access-control-allow-origin" not in again.headers
    assert service.effects() == ["r first", "r second"]
