"""A worker process: it is given a function, then one item after the other, and ends when its pipe is closed.

It begins as a new interpreter, not as a fork, so that no thread, lock or connection of its parent is in it. It has a
session of its own, so a Ctrl-C of the terminal is for the parent, which decides.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import process, spawn
from multiprocessing.connection import Connection
from typing import Any, Final

from msgspec.msgpack import Decoder, Encoder

from tau.errors import ConfigError
from tau.executors import wire
from tau.executors.afar import shown
from tau.importing import RunRefusedError, importing
from tau.late_imports import load_module

STOPS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""What asks a run to stop, which the parent decides: a batch system signals every process of a job."""

_encode = Encoder().encode
_read_job = Decoder(wire.Job).decode


def main(channel: int, life: int) -> None:
    """Serve the parent at the other end of ``channel``; ``life`` is closed when that dies."""
    end_with(life)
    for number in STOPS:
        signal.signal(number, _unheard)
    pipe = Connection(channel)
    os.register_at_fork(after_in_child=pipe.close)
    os.register_at_fork(after_in_child=lambda: os.close(life))
    try:
        worker = _Worker(Decoder(wire.Setup).decode(pipe.recv_bytes()))
    except BaseException as error:
        _say(pipe, wire.Answer(error=wire.packed_error(error, 1)))
        return
    _say(pipe, wire.Answer())
    me = os.getpid()
    with suppress(EOFError, ConnectionError):
        while True:
            answer = worker.answer(_read_job(pipe.recv_bytes()))
            if os.getpid() != me:  # a child that the function forked off came out of it
                os._exit(1)
            _flush()
            _say(pipe, answer)
            del answer  # it may hold something large


class _Worker:
    def __init__(self, setup: wire.Setup) -> None:
        """Raises what importing the function raises, `ConfigError` for a script that starts its work when imported."""
        self._main = setup.main
        spawn.prepare(setup.where)
        if setup.function.needs_main:
            self._import_main()
        self._function = wire.unpacked_function(setup.function)
        self._run: Callable[[Any], Any] | None = None
        if setup.function.is_async:
            load_module("asyncio")
            import asyncio

            self._run = asyncio.Runner().run

    def answer(self, job: wire.Job) -> wire.Answer:
        try:
            item = self._item(job.item)
        except Exception as error:
            if not job.item.is_pickled:
                return wire.Answer(again=True)
            return wire.Answer(error=wire.packed_error(error, 1))
        try:
            with shown(job.about):
                value = self._function(item)
                if self._run is not None:
                    value = self._run(value)
            return wire.Answer(wire.packed(value, "what it returned"))
        except BaseException as error:
            return wire.Answer(error=wire.packed_error(error, 1))

    def _item(self, sent: wire.Sent) -> Any:
        if self._main and sent.is_pickled and wire.mentions_main(sent.data):
            self._import_main()
        return wire.unpacked(sent)

    def _import_main(self) -> None:
        """Run the script of the parent again, under another name, for what is defined in it."""
        found, self._main = self._main, {}
        current: Any = process.current_process()
        current._inheriting = True  # as multiprocessing says it
        script = next(iter(found.values()), "")
        doing = f"a worker process that imports {script}, where the function is defined,"
        try:
            with importing(doing, "which is the work of the process that started it"):
                spawn.prepare(found)
        except RunRefusedError:
            raise
        except Exception as error:
            raise ConfigError(
                f"a worker process could not import {script}, where the function is defined ({type(error).__name__}: "
                f"{error}); what starts work in a script stands under `if __name__ == '__main__':`"
            ) from error
        finally:
            del current._inheriting


def is_importing_main() -> bool:
    """Whether this process is a worker that is just importing the script of its parent."""
    return bool(getattr(process.current_process(), "_inheriting", False))


def _say(pipe: Connection, answer: wire.Answer) -> None:
    with suppress(ConnectionError):
        pipe.send_bytes(_encode(answer))


def end_with(life: int) -> None:
    """End at once when the other end of this pipe is closed, as it is when the parent is killed; also in the middle of
    C code that never lets another thread run, where the kernel can be asked for it."""
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    else:
        threading.Thread(target=_watch, args=(life,), daemon=True).start()


def _watch(life: int) -> None:
    while os.read(life, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _unheard(number: int, frame: Any) -> None:
    """Unlike an ignored signal, this is not inherited by what the function starts."""


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
