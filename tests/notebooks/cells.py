"""A notebook without a browser: cells run one after the other in IPython, inside a running loop as in Jupyter.

``python cells.py FILE.json``: a list of cells; prints one JSON line for each: what it printed, the MIME bundle of its
result, and its error.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.interactiveshell import InteractiveShell


class Silent(DisplayHook):
    """Keeps a cell's result without printing it."""

    def start_displayhook(self) -> None: ...
    def write_output_prompt(self) -> None: ...
    def write_format_data(self, *_: Any) -> None: ...
    def finish_displayhook(self) -> None: ...


async def run(cells: list[str]) -> None:
    shell = InteractiveShell.instance(displayhook_class=Silent)
    shell.history_manager.enabled = False
    for cell in cells:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            done = await shell.run_cell_async(cell, transformed_cell=shell.transform_cell(cell))
        error = done.error_before_exec or done.error_in_exec
        bundle: dict[str, Any] = shell.display_formatter.format(done.result)[0] if done.result is not None else {}
        told = None if error is None else [type(error).__name__, str(error)]
        print(json.dumps({"printed": said.getvalue(), "shown": bundle, "error": told}), file=sys.__stdout__, flush=True)


with open(sys.argv[1], encoding="utf-8") as file:
    asyncio.new_event_loop().run_until_complete(run(json.load(file)))  # asyncio.run would catch Ctrl-C itself
