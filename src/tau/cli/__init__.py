"""The command `tau`: run, resume and look at runs from a shell."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, those of the process by default; returns the exit code."""
    from tau.cli.app import start

    return start(arguments)
