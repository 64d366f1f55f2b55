"""The command `tau`: run, resume and look at runs from a shell."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, those of the process by default; returns the exit code."""
    _open_streams()  # before anything else takes their numbers
    from tau.cli.app import start

    return start(arguments)


def _open_streams() -> None:
    """Open the streams that the command was started without: else the next file would get their numbers, a store's
    perhaps, and whatever is printed would go into it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode))
