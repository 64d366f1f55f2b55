"""The real command in processes of its own, and a pipeline that can be held in the middle of a node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from started_once import PATIENCE, Starter

import tau
import tau.cli.app
from tau.cli import main

GRAPH_OF = """
from tau import StateGraph

def graph_of(name, **nodes):
    graph = StateGraph(name)
    for node, function in nodes.items():
        graph.add_node(node, function)
    graph.sequence(*nodes)
    return graph
"""
"""For files that make several graphs: each a sequence of nodes."""

PIPELINE = """
import os
from tau import StateGraph

graph = StateGraph("climate")

def note(name):
    with open("calls.txt", "a") as file:
        file.write(name + "\\n")

@graph.node
def ingest(state):
    note("ingest")
    return {"raw": [1, 2, 3]}

@graph.node
def analyze(state):
    note("analyze")
    if os.path.exists("gate"):
        with open("gate") as gate:  # until the test has opened and closed it
            gate.read()
    if os.path.exists("broken"):
        raise ValueError("bad sensor")
    return {"mean": sum(state["raw"]) / 3 * state.get("factor", 1)}

@graph.node
def report(state):
    note("report")
    return {"text": f"mean {state['mean']:g}"}

graph.sequence(ingest, analyze, report)

def make():
    return graph

def needs(argument):
    return graph

def wrong():
    return 42

number = 7
"""


class Shell:
    """A working directory with ``pipeline.py`` in it, in which the command is started."""

    def __init__(self, folder: Path, starter: Starter | None = None) -> None:
        self.folder = folder
        self.starter = starter
        self.env = environment()
        self.write("pipeline.py", PIPELINE)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, "utf-8")

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()

    @property
    def calls(self) -> list[str]:
        """The nodes that were called, in order, over all processes."""
        return (self.folder / "calls.txt").read_text().split()

    def run(self, *words: str, code: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run ``tau`` with these words to its end, in a process of its own; the exit code must be ``code``.

        Python itself is started where streams are given as options, or where it would start otherwise.
        """
        if not options and self.starter is not None and self.starter.fits(self.env):
            done = self.starter.run(words, self.folder, self.env)
        else:
            done = subprocess.run(
                command(*words), cwd=self.folder, env=self.env, text=True, timeout=PATIENCE, check=False,
                encoding="utf-8", **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
            )  # fmt: skip
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *words: str, code: int = 0) -> Any:
        """The one JSON document that the command prints."""
        return json.loads(self.run(words[0], "--json", *words[1:], code=code).stdout)

    def error(self, *words: str, code: int) -> str:
        """What the command says on stderr when it ends with that code."""
        done = self.run(*words, code=code)
        assert "Traceback" not in done.stderr
        return done.stderr

    @contextmanager
    def held(self, *words: str) -> Any:
        """A command held inside the node ``analyze``, until `Held.let_go` or the end of the block."""
        os.mkfifo(self.folder / "gate")
        process = subprocess.Popen(
            command(*words), cwd=self.folder, env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            encoding="utf-8",
        )  # fmt: skip
        try:
            assert process.stderr is not None
            if not any("ingest" in line for line in process.stderr):
                raise AssertionError("the command ended before the node")
            gate = open(self.folder / "gate", "w")  # noqa: SIM115 - opens when the node does; held open on purpose
            with gate:
                yield Held(process, gate)
        finally:
            process.kill()
            process.communicate()
            self.remove("gate")


class Held:
    """A command in the middle of a node."""

    def __init__(self, process: subprocess.Popen[str], gate: IO[str]) -> None:
        self.process = process
        self.gate = gate

    def signal(self, number: int) -> None:
        """Send a signal, and return when the command has said that it will stop."""
        self.process.send_signal(number)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if "stopping when analyze is finished" in line:
                return
        raise AssertionError("the command ended without a word about the signal")

    def insist(self, number: int) -> None:
        """Send the signal until the command ends: one that comes just before the node blocks is seen with the next."""
        for _ in range(20):  # not sooner, as one that comes while the command ends would end it by itself
            self.process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
                return

    def let_go(self) -> None:
        """Let the node finish."""
        self.gate.close()

    def end(self) -> tuple[int, str]:
        """The exit code, and the rest of what it said on stderr."""
        said = self.process.communicate(timeout=60)[1]
        return self.process.returncode, said


class Here:
    """The command in this process; the user's modules that it imports are forgotten after each call."""

    def __init__(self, capture: Any) -> None:
        self.capture = capture

    def __call__(self, *words: str, code: int = 0) -> Any:
        """What was printed, as ``.out`` and ``.err``; the exit code must be ``code``."""
        modules = set(sys.modules)
        self.capture.readouterr()
        try:
            ended = main(words)
        finally:
            for name in set(sys.modules) - modules:
                if is_users(name):
                    del sys.modules[name]
        said = self.capture.readouterr()
        assert ended == code, f"exit code {ended}\n{said.out}\n{said.err}"
        return said

    def json(self, *words: str, code: int = 0) -> Any:
        """The one JSON document that the command prints."""
        return json.loads(self(words[0], "--json", *words[1:], code=code).out)


def is_users(module: str) -> bool:
    """Whether a module is from the working directory; of those that are installed, some can be imported only once."""
    found = sys.modules[module]
    places = [found.__file__] if getattr(found, "__file__", None) else list(getattr(found, "__path__", ()))
    return module == "tau.cli.demo_pipeline" or any(Path(one).is_relative_to(Path.cwd()) for one in places)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "tau", *words]


def environment() -> dict[str, str]:
    """That of a command, if a test wants no other."""
    found = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": str(Path(tau.__path__[0]).parent)}
    found.pop("TAU_STORE", None)
    return found
