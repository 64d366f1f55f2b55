"""The command `tau`: run, resume and look at runs from a shell."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, those of the process by default; returns the exit code."""
    if arguments is None:
        atexit.register(_ignore_signals)  # what is registered first is called last
    _open_streams()  # before anything else takes their numbers
    from tau.cli.app import start

    code = start(arguments)
    if arguments is None:
        _keep_exit_code(code)
    return code


class _Over:
    """Handles a signal that comes while Python ends: at once, with the exit code of the command, which has said how it
    went."""

    def __init__(self, code: int) -> None:
        self.code = code

    def __call__(self, *_: object) -> None:
        os._exit(self.code)


def _keep_exit_code(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _Over(code))


def _ignore_signals() -> None:
    """No thread is left to be waited for, and Python is about to take its handlers away."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        if isinstance(signal.getsignal(number), _Over):
            signal.signal(number, signal.SIG_IGN)


def _open_streams() -> None:
    """Open the streams that the command was started without: else the next file would get their numbers, a store's
    perhaps, and whatever is printed would go into it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode))
