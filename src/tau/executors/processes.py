"""Worker processes of tau's own: each has a pipe and works on one item at a time.

Nothing is shared but that pipe, so a worker may be killed at any moment: it costs the item that it was at. Pools that
share a queue lose its lock, or all of their processes, with the first that dies.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from io import FileIO
from multiprocessing import process
from multiprocessing.connection import Connection
from typing import Any, Final

from msgspec.msgpack import Decoder, Encoder

from tau import forks
from tau.errors import ConfigError, ExecutorError, WorkerError
from tau.events import text_of
from tau.executors import wire
from tau.executors.contract import Call, Executor, Function, NotWantedError, TimeIsUpError
from tau.executors.processors import processors
from tau.executors.worker import is_importing_main
from tau.waiting import LOOK

_log = logging.getLogger("tau")
_encode = Encoder().encode
_read_answer = Decoder(wire.Answer).decode

STARTS: Final = 3
"""How many workers may die before they are ready, one after the other: then none can be started."""

GRACE: Final = 5.0
"""The seconds that a worker which has nothing to do may take to end."""

MOMENT: Final = 1.0
"""The seconds that what it left running may take."""

BLAS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""How many threads the libraries of a worker use: unless set, its share of the processors."""

_BOOT: Final = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[3]); "
    "from tau.executors.worker import main; main(int(sys.argv[1]), int(sys.argv[2]))"
)


def open_executor(function: Function, place: Any) -> Executor:
    """Worker processes for one map. Raises `ConfigError` for a function that cannot be sent to them, and in a script
    that starts its work when it is imported."""
    return ProcessExecutor(function)


class ProcessExecutor(Executor):
    """Starts a worker when one is needed, at most one for each thread that calls, and keeps it for the next item."""

    def __init__(self, function: Function) -> None:
        if is_importing_main():
            raise ConfigError(
                f"{function.named} was begun while a worker process imports the script; put what starts the work "
                "under `if __name__ == '__main__':`"
            )
        self._named, self._kind, self._deaths = function.named, function.kind, function.deaths
        setup = wire.Setup(
            wire.packed_function(function.call, function.named, function.is_async), _where(), wire.script()
        )
        self._setup = _encode(setup)
        self._environment = _environment(function.workers)
        self._idle: deque[_Worker] = deque()
        self._workers: set[_Worker] = set()
        self._is_closed = False
        self._process = forks.process

    def call(self, call: Call) -> Any:
        job = wire.Job(wire.packed(call.item, "the item"), call.about)
        deaths = 0
        while True:
            worker = self._taken(call)
            try:
                answer = worker.ask(_encode(job), call)
            except _DiedError as died:
                self._lost(worker)
                self._check(call)
                deaths += died.is_at_work
                if deaths == self._deaths:
                    raise self._killed(worker) from None
                _log.warning("a worker process of %s %s; its item is tried again", self._named, worker.how_it_died())
                continue
            except BaseException:
                self._lost(worker)
                raise
            self._keep(worker)
            if not answer.again:
                return _result(answer)
            job = wire.Job(wire.packed(call.item, "the item", by_codecs=False), call.about)

    def close(self) -> None:
        if self._process is not forks.process:
            return  # a child of this process: they are the parent's
        self._is_closed = True
        idle, busy = list[_Worker](), [*self._workers]
        try:
            with suppress(IndexError):
                while True:
                    idle.append(self._idle.pop())
            for worker in idle:
                worker.let_go()
            ends = time.monotonic() + GRACE
            ended = [worker for worker in idle if worker.has_ended(ends - time.monotonic())]
            ends = time.monotonic() + MOMENT
            for worker in ended:
                worker.clear(ends)
        finally:
            for worker in busy:
                worker.interrupt()
            for worker in busy:
                worker.has_ended(GRACE)

    def _keep(self, worker: _Worker) -> None:
        """For the next item."""
        self._idle.append(worker)
        if self._is_closed:
            with suppress(IndexError):
                while True:
                    self._lost(self._idle.pop())

    def _check(self, call: Call) -> None:
        if self._is_closed:
            raise NotWantedError
        _check(call)

    def _taken(self, call: Call) -> _Worker:
        """A worker that is ready, a new one if there is none."""
        with suppress(IndexError):
            return self._idle.pop()
        for _ in range(STARTS):
            worker = _Worker(self._environment)
            self._workers.add(worker)
            try:
                self._check(call)
                answer = worker.ask(self._setup, call, is_first=True)
            except _DiedError:
                self._lost(worker)
                self._check(call)
                _log.warning("a worker process of %s %s before it was ready", self._named, worker.how_it_died())
            except BaseException:
                self._lost(worker)
                raise
            else:
                if answer.error is None:
                    return worker
                self._lost(worker)
                raise ExecutorError(
                    f"a worker process of {self._named} cannot begin: {answer.error.text}"
                ) from wire.unpacked_error(answer.error)
        raise ExecutorError(
            f"{STARTS} worker processes of {self._named} ended before they were ready, the last "
            f"{worker.how_it_died()}; what they wrote to standard error may say why"
        )

    def _killed(self, worker: _Worker) -> WorkerError:
        deaths, how = self._deaths, worker.how_it_died()
        died = f"its worker process {how}"
        if deaths > 1:
            died = f"it was tried {deaths} times, and each time its worker process died; the last {how}"
        less = "fewer workers run at a time" if self._kind == "map" else "less run beside it"
        return WorkerError(f"{died}. If memory is short, let {less}", deaths=deaths)

    def _lost(self, worker: _Worker) -> None:
        worker.kill()
        self._workers.discard(worker)


class _Starts(forks.Forked):
    """No fork while a worker is started, and a child of this process lets go of the pipes, which are its parent's."""

    def __init__(self) -> None:
        self.gate = threading.Lock()  # in C; taken by threads that no signal interrupts
        self.workers: weakref.WeakSet[_Worker] = weakref.WeakSet()
        forks.watch(self)

    def before_fork(self, patience: bool) -> None:
        self.gate.acquire(timeout=GRACE if patience else 0.0)

    def after_fork(self, in_child: bool, kept_out: bool) -> None:
        if in_child:
            self.gate = threading.Lock()
            for worker in self.workers:
                worker.forget()
            self.workers.clear()
        elif kept_out:
            self.gate.release()


_starts = _Starts()


class _DiedError(Exception):
    """A worker is gone. ``is_at_work``: it had been given something to do."""

    def __init__(self, is_at_work: bool) -> None:
        super().__init__()
        self.is_at_work = is_at_work


class _Worker:
    """One worker process, as its parent knows it."""

    def __init__(self, environment: dict[str, str]) -> None:
        """Raises `ExecutorError` if none can be started."""
        self._at: Call | None = None
        with _starts.gate:
            ours, theirs = socket.socketpair()
            life, ends = os.pipe()
            self._life = FileIO(ends, "w")
            try:
                self._popen = subprocess.Popen(
                    [*_interpreter(), "-c", _BOOT, str(theirs.fileno()), str(life), json.dumps(_path())],
                    pass_fds=(theirs.fileno(), life),
                    stdin=subprocess.DEVNULL,
                    env=environment,
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                ours.close()
                self._life.close()
                raise ExecutorError(f"no worker process can be started: {error}; try fewer workers") from error
            finally:
                theirs.close()
                os.close(life)
            self._pipe = Connection(ours.detach())
            _starts.workers.add(self)

    def ask(self, data: bytes, call: Call, is_first: bool = False) -> wire.Answer:
        """What it answers. Raises `_DiedError`, `NotWantedError`, and `TimeIsUpError` after the timeout of the call."""
        self._at = call
        call.stop.then(lambda: self._stop(call))
        try:
            try:
                self._pipe.send_bytes(data)
            except OSError:
                raise _DiedError(is_first) from None
            ends = None if call.timeout is None or is_first else time.monotonic() + call.timeout
            while not self._pipe.poll(LOOK if ends is None else max(0.0, min(LOOK, ends - time.monotonic()))):
                _check(call)
                if ends is not None and time.monotonic() >= ends:
                    raise TimeIsUpError(has_ended=True)
                if self._is_dead() and not self._pipe.poll(0):
                    raise _DiedError(True)
            return _read_answer(self._pipe.recv_bytes())
        except (EOFError, OSError):
            raise _DiedError(True) from None
        finally:
            self._at = None

    def let_go(self) -> None:
        """Nothing more is for it: it ends."""
        self._pipe.close()

    def has_ended(self, seconds: float) -> bool:
        """Whether it ends within that time; then what it left running is asked to end, too."""
        ends, pause = time.monotonic() + seconds, 0.0005
        while not self._is_dead():
            if time.monotonic() >= ends:
                return False
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        self._signal(signal.SIGTERM)
        self._popen.wait()
        return True

    def clear(self, ends: float) -> None:
        """After its end: kill what is left of its session at that time. While there is any, its number is taken."""
        with suppress(ProcessLookupError, PermissionError):
            while time.monotonic() < ends:
                os.killpg(self._popen.pid, 0)
                time.sleep(0.01)
            os.killpg(self._popen.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End it at once, with all that it started."""
        self.interrupt()
        self.has_ended(GRACE)
        self._pipe.close()
        self._life.close()

    def forget(self) -> None:
        """In a child of this process: it is the parent's."""
        with suppress(OSError):
            self._pipe.close()
        with suppress(OSError):
            self._life.close()

    def how_it_died(self) -> str:
        code = self._popen.poll()
        if code is None or code >= 0:
            return f"(pid {self._popen.pid}) exited with {code}"
        with suppress(ValueError):
            return f"(pid {self._popen.pid}) was killed by {signal.Signals(-code).name}"
        return f"(pid {self._popen.pid}) was killed by signal {-code}"

    def interrupt(self) -> None:
        """Kill it and all that it started; whoever waits for its answer learns that it died."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        """To it and all that it started."""
        if self._popen.returncode is None:
            with suppress(ChildProcessError, ProcessLookupError, PermissionError):
                self._ending()  # nothing has waited for it, so the number is still its own
                os.killpg(self._popen.pid, number)

    def _stop(self, call: Call) -> None:
        if self._at is call:
            self.interrupt()

    def _is_dead(self) -> bool:
        """Whether it has ended; it is not waited for here, so that what it started can still be found."""
        try:
            return self._ending() is not None
        except ChildProcessError:  # something else in this program waited for it
            return True

    def _ending(self) -> Any:
        return os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)


def _check(call: Call) -> None:
    if call.stop.is_set() or not call.is_wanted():
        raise NotWantedError


def _result(answer: wire.Answer) -> Any:
    if answer.error is not None:
        raise wire.unpacked_error(answer.error)
    assert answer.value is not None
    return wire.unpacked(answer.value)


def _interpreter() -> Iterable[str]:
    if not sys.executable:
        raise ExecutorError("worker processes need an interpreter, and sys.executable names none; set it")
    return (sys.executable, "-P", *subprocess._args_from_interpreter_flags())  # type: ignore[attr-defined]


def _path() -> list[str]:
    """Where modules are looked for; what is empty stands for the directory in which this process began."""
    return [one or (process.ORIGINAL_DIR or "") for one in sys.path if isinstance(one, str)]  # type: ignore[attr-defined]


def _where() -> dict[str, Any]:
    argv = [text_of(one) for one in sys.argv]
    return {"name": "tau-worker", "sys_argv": argv, "orig_dir": process.ORIGINAL_DIR}  # type: ignore[attr-defined]


def _environment(workers: int) -> dict[str, str]:
    share = max(1, processors() // max(1, workers))
    return {**dict.fromkeys(BLAS, str(share)), **os.environ}
