"""What `tau runs --watch` does: look again and again, until Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.live import Live

from tau.cli.exits import Exit
from tau.cli.output import screen
from tau.stores import Summary

SHARE = 0.1
"""At most so much of the time goes into looking: a look that takes long is followed by a longer pause."""

Look = Callable[[], Sequence[Summary]]


def watch(look: Look, heads: Sequence[str], row: Callable[[Summary], list[str]], every: float) -> int:
    """Show the runs: on a terminal as a table that is drawn again, elsewhere each run as a line whenever it changes."""
    console = screen.console()
    if not console.is_terminal:
        screen.table(heads, ())
        return follow(look, lambda found: screen.lines([row(found)]), every)
    with screen.writing(), Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:

        def draw(found: Sequence[Summary]) -> None:
            foot = f"{len(found)} runs, {screen.moment(time.time())}; Ctrl-C ends"
            rows = map(row, found[: console.height])  # no more of them fit
            live.update(screen.columns(heads, rows, foot=foot, height=console.height), refresh=True)

        return repeat(look, draw, every)


def follow(look: Look, tell: Callable[[Summary], None], every: float) -> int:
    """Tell of each run when it is first seen and whenever it has changed, the oldest change first."""
    known: dict[str, Summary] = {}

    def compare(found: Sequence[Summary]) -> None:
        for one in reversed(found):
            if known.get(one.run_id) != one:
                tell(one)
        known.clear()
        known.update({one.run_id: one for one in found})
        screen.flush()

    return repeat(look, compare, every)


def repeat(look: Look, show: Callable[[Sequence[Summary]], None], every: float) -> int:
    """Look and show every so many seconds until Ctrl-C, which is how watching ends: exit code 130."""
    try:
        while True:
            began = time.monotonic()
            show(look())
            time.sleep(max(every, (time.monotonic() - began) / SHARE))
    except KeyboardInterrupt:
        return Exit.CTRL_C
