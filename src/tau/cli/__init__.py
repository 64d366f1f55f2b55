"""The command `tau`: run, resume and look at runs from a shell."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, those of the process by default; returns the exit code."""
    from tau.cli.app import start

    try:
        code = start(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough, as in `tau runs | head`; nothing may be written to it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code
