"""The child processes of a crash test: how one is started, waited for and ended, with all that it started."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import msgspec
from msgspec import Struct

from tau.engine.stop import Stop
from tau.errors import RunInterruptedError, TauError
from tau.testing.crashes.work import Job, Report, report_of

PROGRAM = "tau.cli.crash_child"
"""What a new interpreter runs: it reads `Order` from its standard input."""

_NAP = 0.02  # seconds, the longest between two looks at a child


class Order(Struct):
    """What a new interpreter is told: the graph, as the command takes it, and what to do with it."""

    target: str
    job: Job


class End(Struct):
    """How a child ended: ``signal`` is what killed it, 0 where nothing did; ``hung`` that it was ended because its time
    was up. ``report`` is there where it came to its end, ``said`` the end of what it wrote to stdout and stderr."""

    signal: int
    code: int
    hung: bool
    report: Report | None
    said: str
    seconds: float


class Start(Protocol):
    """Starts a child for a job, whose output goes to the file of that descriptor; returns its pid. The child is the
    leader of a session of its own."""

    def __call__(self, job: Job, output: int) -> int: ...


def run(start: Start, job: Job, limit: float, stop: Stop | None = None) -> End:
    """Let a child do the job, for ``limit`` seconds at most. When this returns or raises, the child has ended, and what
    it had started in its session too. Raises `RunInterruptedError` when ``stop`` is set."""
    began = time.monotonic()
    output = os.open(job.file("said"), os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    pid = 0
    try:
        pid = start(job, output)
        status, hung = _wait(pid, began + limit, stop)
    finally:
        if pid:
            _end(pid)
        os.close(output)
    how, code = (os.WTERMSIG(status), 0) if os.WIFSIGNALED(status) else (0, os.WEXITSTATUS(status))
    return End(how, code, hung, report_of(job), _tail(job.file("said")), time.monotonic() - began)


def _wait(pid: int, until: float, stop: Stop | None) -> tuple[int, bool]:
    nap = 0.0005
    while time.monotonic() < until:
        if stop is not None and stop.is_set():
            raise RunInterruptedError(f"the crash test was stopped ({stop.reason})", reason=stop.reason)
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status, False
        time.sleep(nap)
        nap = min(_NAP, nap * 1.5)
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1], True


def _end(pid: int) -> None:
    """Whatever happened, nothing of it is left: the leader was waited for or is ended here, its session with it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _tail(name: str) -> str:
    with open(name, "rb") as file:
        file.seek(max(0, os.path.getsize(name) - 4_000))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return "\n".join(lines[-12:])


def in_new_interpreter(target: str) -> Start:
    """Each child is a new interpreter that imports the graph, as after a real kill."""
    # What this process may import from the working directory, the child may too, and nothing more.
    flags = [] if {"", os.getcwd()} & set(sys.path) else ["-P"]

    def start(job: Job, output: int) -> int:
        process = subprocess.Popen(
            [sys.executable, *flags, "-m", PROGRAM], stdin=subprocess.PIPE, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(msgspec.json.encode(Order(target, job)))
        process.returncode = 0  # it is waited for by its pid
        return process.pid

    return start


def in_fork(work: Callable[[Job], object]) -> Start:
    """Each child is a copy of this process, so that the graph need not be importable."""
    if not hasattr(os, "fork"):
        raise TauError("a graph that is given as an object needs os.fork; name it as FILE.py:GRAPH")

    def start(job: Job, output: int) -> int:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # other threads: the docs say what that means
            pid = os.fork()
        if pid:
            return pid
        try:
            _leave_the_parent(output)
            work(job)
        finally:
            os._exit(0)

    return start


def _leave_the_parent(output: int) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for stream in (1, 2):
        os.dup2(output, stream)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1, closefd=False) for stream in (1, 2))
    sys.settrace(None)
    sys.setprofile(None)


def clear(place: str) -> None:
    """Remove what an attempt left."""
    shutil.rmtree(place, ignore_errors=True)
