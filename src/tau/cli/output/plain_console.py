"""The console of the command: `rich`, which is loaded where something is styled or laid out."""

from __future__ import annotations

import os
from typing import Literal, TextIO

from rich.console import Console


class PlainConsole(Console):
    """Text as it is: no markup, no emoji codes, no coloured numbers, lines of any length. With NO_COLOR no style."""

    def __init__(self, stream: TextIO) -> None:
        system: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"
        super().__init__(file=stream, color_system=system, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich would end the process, with an exit code that says something else

    def show_cursor(self, show: bool = True) -> bool:
        return False  # a process that is killed could not bring it back
