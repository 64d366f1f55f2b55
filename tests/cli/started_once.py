"""The real command in processes of its own, each a fork of one that has loaded it: a start takes a tenth of the time.

As a script this is the process that forks: for each request on its socket a child takes on the request's folder,
environment and files, and is ``python -m tau`` from there on.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PATIENCE = 120.0
"""Seconds that a command may take."""
NOT_LOADED = ("tau.testing", "tau.executors", "tau.values.types", "tau.cli.demo")


class Starter:
    """The process that forks, in the environment that it was given."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._for_python = for_python(environment)
        self._here, there = socket.socketpair()
        with there:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(there.fileno())],
                env=dict(environment), pass_fds=[there.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        self._here.settimeout(PATIENCE)
        self._replies = self._here.makefile("r")
        assert self._replies.readline() == "ready\n"

    def fits(self, environment: Mapping[str, str]) -> bool:
        """Whether Python itself would start alike there."""
        return for_python(environment) == self._for_python

    def run(
        self, words: tuple[str, ...], folder: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory() as place:
            out, err = Path(place, "out"), Path(place, "err")
            request = {"words": words, "folder": str(folder), "environment": dict(environment)}
            self._here.sendall(json.dumps({**request, "out": str(out), "err": str(err)}).encode() + b"\n")
            try:
                code = int(self._replies.readline())
            except TimeoutError:
                self.close()
                raise AssertionError(f"tau {' '.join(words)} did not end: {err.read_text()}") from None
            return subprocess.CompletedProcess(words, code, out.read_text("utf-8"), err.read_text("utf-8"))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._replies.close()
        self._here.close()


def for_python(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith("PYTHON")}


def load() -> None:
    """What a command loads on its way, but for what is only loaded where it is needed."""
    import tau

    for module in pkgutil.walk_packages(tau.__path__, "tau."):
        if not module.name.startswith(NOT_LOADED) and not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ImportError:  # a library that is not there
                continue


def next_request(connection: socket.socket) -> dict[str, Any]:
    """In a child of this process: what it is to be. This process itself ends with its connection."""
    requests = connection.makefile("r")
    while line := requests.readline():
        pid = os.fork()
        if not pid:
            return json.loads(line)
        _, status = os.waitpid(pid, 0)
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def become(request: dict[str, Any]) -> None:
    for descriptor, name in ((1, "out"), (2, "err")):
        opened = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[0] = os.getcwd()
    sys.argv[1:] = request["words"]


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    connected = socket.socket(fileno=int(sys.argv[1]))
    load()
    gc.freeze()
    connected.sendall(b"ready\n")
    become(next_request(connected))
    connected.close()
    runpy.run_module("tau", run_name="__main__", alter_sys=True)
