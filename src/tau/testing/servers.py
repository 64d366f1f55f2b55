"""A server as a child process of a test, that is stopped and started again while others work with it."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from tau.errors import TauError

PATIENCE = 60.0
"""Seconds that a server has to start, or to end once it was told to."""


class ServerProcess:
    """A server that a command starts and that runs until the ``with`` block ends, or `stop` is called.

    It counts as started when a line that it writes to stderr or stdout matches the regular expression ``ready``;
    ``lines`` holds all of them. It runs in a session of its own, so Ctrl-C in the terminal does not reach it.
    ``prepare`` is called before each start; ``options`` go to `subprocess.Popen`. Making one starts it. Raises
    `OSError` if the command cannot be run, `tau.errors.TauError` with what it said if it does not start in a minute.

    >>> import sys
    >>> from tau.testing import ServerProcess
    >>> command = [sys.executable, "-c", "print('ready', flush=True); input = __import__('signal').pause()"]
    >>> with ServerProcess(command, ready="^ready") as server:
    ...     server.restart()
    ...     server.stop()
    ...     server.start()
    ...     with server.restarting(pause=60.0):
    ...         pass  # what must survive it
    ...     print(server.starts, [line.strip() for line in server.lines])
    4 ['ready', 'ready', 'ready', 'ready']
    """

    def __init__(
        self, command: Sequence[str], *, ready: str, prepare: Callable[[], object] | None = None, **options: Any
    ) -> None:
        self.command = list(command)
        self.ready = re.compile(ready)
        self.lines: list[str] = []
        self.starts = 0
        self._prepare = prepare
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self._turn = threading.RLock()
        self.start()

    @property
    def pid(self) -> int:
        """Of the process that runs. Raises `TauError` if none does."""
        if self._process is None:
            raise TauError(f"{self.command[0]} does not run; start() starts it")
        return self._process.pid

    def start(self) -> None:
        """Start it, unless it runs. Raises what making one raises."""
        with self._turn:
            if self._process is not None:
                return
            if self._prepare is not None:
                self._prepare()
            process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                errors="replace", start_new_session=True, **self._options,
            )  # fmt: skip
            is_ready = threading.Event()
            threading.Thread(target=self._drain, args=(process, is_ready), daemon=True).start()
            is_there = is_ready.wait(PATIENCE)
            if not is_there or process.poll() is not None:
                process.kill()
                process.wait()
                said = "".join(self.lines[-20:])
                raise TauError(f"{self.command[0]} did not start (exit code {process.returncode}); it said: {said}")
            self._process = process
            self.starts += 1

    def _drain(self, process: subprocess.Popen[str], is_ready: threading.Event) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.lines.append(line)
                if self.ready.search(line):
                    is_ready.set()
        process.wait()
        is_ready.set()

    def stop(self, how: int = signal.SIGKILL) -> None:
        """Send a signal, by default the one that no server can prepare for, and wait until it has ended. If it does not
        run, nothing happens. Raises `subprocess.TimeoutExpired` after a minute."""
        with self._turn:
            process, self._process = self._process, None
            if process is not None:
                process.send_signal(how)
                process.wait(PATIENCE)

    def restart(self, how: int = signal.SIGKILL) -> None:
        """`stop` and `start`, with the same data. Raises what these raise."""
        with self._turn:
            self.stop(how)
            self.start()

    @contextmanager
    def restarting(self, pause: float = 1.0, how: int = signal.SIGKILL) -> Iterator[None]:
        """While the block runs, restart it again and again, ``pause`` seconds after it has started, and once more
        when the block ends. Raises at the end of the block what a restart raised."""
        over = threading.Event()
        problems: list[BaseException] = []

        def work() -> None:
            try:
                while not over.wait(pause):
                    self.restart(how)
            except BaseException as error:
                problems.append(error)

        thread = threading.Thread(target=work, name="tau-restarts", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        if problems:
            raise problems[0]
        self.restart(how)  # what a thread started that has ended may be told that its parent died

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
