"""What the demo prints: the lines of an execution as a story, at most 100 columns wide, and as wide as the terminal."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from datetime import datetime
from typing import Any

STAGES = {
    "ingest": "STAGE 1: Data Ingestion",
    "preprocess": "STAGE 2: Preprocessing",
    "analyze": "STAGE 3: Analysis",
    "report": "STAGE 4: Report Generation",
}
WIDEST = 100

Line = dict[str, Any]


def put(text: str = "", *, indent: int = 0) -> None:
    """One line, broken between words where the terminal ends."""
    width = min(shutil.get_terminal_size((80, 24)).columns, WIDEST)
    spaces = " " * indent
    further = spaces + " " * (2 if text[:1] in "✓✗→↷" else 4)
    print(
        textwrap.fill(
            text, max(width, 30), initial_indent=spaces, subsequent_indent=further, break_long_words=False
        ).rstrip(),
        flush=True,
    )


def heading(text: str) -> None:
    put()
    put(f"=== {text} ===")


class Told:
    """Tells one execution: each stage with what it found, and how far the long one is."""

    def __init__(self) -> None:
        self._began: dict[str, datetime] = {}
        self._shown = False
        self._progress = ""

    def tell(self, line: Line) -> None:
        """Take one line that the execution said."""
        if "stage" in line:
            self._message(line)
            return
        node = line.get("data", {}).get("node")
        if node not in STAGES:
            return
        when = datetime.fromisoformat(line["timestamp"])
        if line["type"] == "node.start":
            self._began[node] = when
            put(f"→ {STAGES[node]}", indent=2)
        elif line["type"] == "checkpoint.save":
            seconds = (when - self._began[node]).total_seconds()
            put(f"✓ Stage {list(STAGES).index(node) + 1} complete, checkpoint saved, {seconds:.1f} s", indent=5)

    def _message(self, line: Line) -> None:
        message = line["message"]
        if line.get("by"):
            why = f" ({line['why']})" if line.get("why") else ""
            put(f"“{message}” (words of {line['by']}){why}", indent=5)
            return
        if line.get("found") or "were kept" in message:
            self.end()
            put(message, indent=5)
        elif done := re.search(r"(item|piece) (\d+) of (\d+)", message):
            what = {"item": "estimates", "piece": "pieces of the triangle"}[done[1]]
            self._show(f"{done[2]} of {done[3]} {what}", whole=done[2] == done[3])

    def _show(self, text: str, *, whole: bool) -> None:
        """How far it is: on a terminal one line that is written again, elsewhere only the last one."""
        self._progress = text
        if sys.stdout.isatty():
            print(f"\r\x1b[2K     {text}", end="", flush=True)
            self._shown = True
        if whole:
            self.end()

    def end(self) -> None:
        """Leave the last progress standing."""
        if self._shown:
            print(flush=True)
        elif self._progress:
            put(self._progress, indent=5)
        self._shown, self._progress = False, ""
