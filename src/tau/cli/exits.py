"""The exit codes of the command, and the end of one whose output cannot be written."""

from __future__ import annotations

import os
from enum import IntEnum

from tau.cli.output import screen


class Exit(IntEnum):
    """What the exit code of a command says; the numbers are part of its interface."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    STORE = 5
    INTERNAL = 70
    OUTPUT = 74
    INTERRUPTED = 75
    CTRL_C = 130


EXIT_CODES = {
    Exit.DONE: "done: the run finished, or the question was answered",
    Exit.FAILED: "the run failed at a node, or a file that belongs to it is missing or altered; resume it once the "
    "cause is gone. A crash test found a broken promise",
    Exit.USAGE: "the command, the graph, the input or the answer cannot be used as given",
    Exit.NOT_FOUND: "no such run or pause, or its checkpoints were deleted",
    Exit.REFUSED: "refused: id in use, owned by a live process, graph changed, cancelled, waiting for an answer, "
    "answered already, killed too often, or not confirmed",
    Exit.STORE: "the store cannot be used, or what it holds is damaged or of another version",
    Exit.INTERNAL: "an error that tau did not expect",
    Exit.OUTPUT: "the output could not be written, because a disk is full for example; what was done is kept",
    Exit.INTERRUPTED: "the run was stopped (SIGTERM, SIGUSR1, --max-runtime); resume it with the same run id",
    Exit.CTRL_C: "stopped by Ctrl-C; a run that had begun is saved: resume it with the same run id",
}


def discard_output(stream: int = 1) -> None:
    """Nothing more is written to stdout, or stderr (2), also not when the process ends."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, stream)
    os.close(nothing)


def unwritten(error: screen.Unwritten, done: str = "") -> Exit:
    """Say on stderr that the output cannot be written, and what is done all the same; returns the exit code."""
    discard_output()
    screen.line(("error: ", "bold red"), str(error), error=True)
    if done:
        screen.note("done", done)
    return Exit.OUTPUT
