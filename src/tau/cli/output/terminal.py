"""A view on a terminal: lines at the bottom that are drawn again and again, and above them what is said meanwhile."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event, RLock, Thread
from typing import Any, TextIO
from weakref import WeakSet

from rich.console import Console, ConsoleOptions, RenderResult
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from tau.cli.output import screen
from tau.forks import in_child

PERIOD = 0.5
"""Seconds from one drawing to the next. What it costs is measured by ``benchmarks/progress.py``."""
AT_ONCE = 6
"""Of more lines than this between two drawings only the newest are shown: there is no time to read more."""

_views: WeakSet[Terminal] = WeakSet()


class Terminal:
    """Draws in a thread of its own, so that a run pays for what it says only with a place in a queue.

    What nodes print appears above the line. A program that draws on its own line, as progress bars and prompts do,
    gets the terminal to itself until its node ends.
    """

    def __init__(self, status: Callable[[], Sequence[str]]) -> None:
        self.status = status
        self.console = screen.console(sys.stderr)
        self.lock = RLock()
        self._said: deque[Text] = deque()
        self._spinner = Spinner("dots" if screen.shows_signs() else "line", style="cyan")
        self._live = Live(
            self, console=self.console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._aside = False
        self._over = Event()
        self._thread = Thread(target=self._draw, name="tau-view", daemon=True)
        self._streams = (sys.stdout, sys.stderr)

    def __enter__(self) -> Terminal:
        out, error = self._streams
        if out.isatty():
            sys.stdout = _Above(self, out)
        sys.stderr = _Above(self, error)
        screen.above = self.console
        _views.add(self)
        self._live.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        with self.lock, suppress(OSError, ValueError):  # a terminal that is gone takes nothing away from the run
            self._live.stop()
            self._tell(everything=True)
        self.let_go()

    def say(self, text: Text) -> None:
        """A line above the view, with the next drawing."""
        self._said.append(text)

    def node_began(self) -> None:
        """Take the line back from a program that had it."""
        if self._aside:
            with self.lock, suppress(OSError, ValueError):
                self._aside = False
                self._live.start()

    def step_aside(self) -> None:
        """Leave the terminal to a program that draws on its own line."""
        with self.lock:
            if not self._aside:
                self._tell()
                self._live.stop()
                self._aside = True

    @property
    def aside(self) -> bool:
        return self._aside

    def let_go(self) -> None:
        """Give the streams of the process back."""
        _views.discard(self)
        screen.above = None
        sys.stdout, sys.stderr = self._streams

    def _draw(self) -> None:
        with suppress(OSError, ValueError):
            while not self._over.wait(PERIOD):
                with self.lock:
                    if not self._aside and not self._over.is_set() and not self._tell():
                        self._live.refresh()

    def _tell(self, everything: bool = False) -> bool:
        """Write what was said, above the line, which is drawn again by that; whether there was anything."""
        lines = [self._said.popleft() for _ in range(len(self._said))]
        if not everything and len(lines) > AT_ONCE:
            lines = [Text(f"  {len(lines) - AT_ONCE} more", style="dim"), *lines[-AT_ONCE:]]
        if lines:
            self.console.print(Text("\n").join(lines))
        return bool(lines)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [Text(screen.clean(line)) for line in self.status()]
        for line in lines:
            line.truncate(max(1, options.max_width - 3), overflow="ellipsis")
        self._spinner.text = Text("\n  ").join(lines)
        yield self._spinner


class _Above(FileProxy):
    """The stream that nodes print to while there is a view."""

    def __init__(self, view: Terminal, stream: TextIO) -> None:
        super().__init__(view.console, stream)
        self._view = view
        self._stream = stream
        self._open = ""

    encoding: Any = property(lambda self: self._stream.encoding)

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._view.lock:
            if not self._view.aside and "\r" not in text:
                whole, newline, rest = (self._open + text).rpartition("\n")
                self._open = rest
                if newline:
                    super().write(whole + newline)
            else:
                self._pass_on(text)
        return len(text)

    def flush(self) -> None:
        with self._view.lock:
            if self._open:  # a line that is shown before its end, as a prompt is
                self._pass_on("")
            self._stream.flush()

    def _pass_on(self, text: str) -> None:
        self._view.step_aside()
        self._stream.write(self._open + text)
        self._open = ""
        self._stream.flush()


@in_child
def _leave_to_the_parent() -> None:
    # A child of fork prints by itself: the locks of the view may have been held by a thread that it does not have.
    for view in list(_views):
        view.lock, view._aside = RLock(), True  # the streams that it lets go are flushed by their end
        view.let_go()
