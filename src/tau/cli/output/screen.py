"""What people see: lines and tables, styled on a terminal and plain elsewhere, never more than text.

Names, ids and errors come from stores and programs: they are shown as text, without markup, and what would steer a
terminal is replaced by its escape.
"""

from __future__ import annotations

import os
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from tau.late_imports import load_module

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from tau.cli.output.columns import Columns

_STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # parts of emoji and of many scripts

Part = str | tuple[str, str]
"""A text, or a text with its style."""

STATUS_STYLES = {
    "finished": "green",
    "running": "cyan",
    "admitted": "blue",
    "waiting": "yellow",
    "interrupted": "yellow",
    "failed": "red",
    "dead": "red",
    "cancelled": "dim",
}


_WEEK = 7 * 86400
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def on_terminal() -> bool:
    """Whether people read stdout: they get local times and ids in short, programs what means the same everywhere."""
    return sys.stdout.isatty()


def clean(value: Any) -> str:
    """``value`` as one line: control characters, bidirectional marks and the like as escapes, as in ``\\x1b``."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(repr(char)[1:-1] if _steers(char) else char for char in text)


def _steers(char: str) -> bool:
    return unicodedata.category(char) in _STEERING and char not in _JOINERS


class Unwritten(Exception):
    """The output cannot be written, as where a disk is full; the reason is the system's."""


@contextmanager
def writing() -> Iterator[None]:
    """What stdout refuses is `Unwritten`; a reader that is gone is a `BrokenPipeError`, as ever."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unwritten(f"cannot write the output: {error.strerror or error}") from error


def flush() -> None:
    """Write what is left of stdout now."""
    with writing():
        sys.stdout.flush()


above: Console | None = None
"""The console of a view at the bottom of the terminal, while there is one: lines on stderr are written above it."""


def prepare() -> None:
    """Load what styles lines, where that will be needed: later there may be no file or memory left to load it."""
    if _is_styled(sys.stdout) or _is_styled(sys.stderr):
        load_module("rich.text")
        load_module("tau.cli.output.plain_console")


def console(stream: TextIO | None = None) -> Console:
    """Where something is drawn: stdout by default."""
    load_module("tau.cli.output.plain_console")
    from tau.cli.output.plain_console import PlainConsole

    return PlainConsole(sys.stdout if stream is None else stream)


def styled(*parts: Part) -> Text:
    """Texts, or (text, style) pairs, as one; every part is cleaned."""
    load_module("rich.text")
    from rich.text import Text

    return Text.assemble(*(clean(part) if isinstance(part, str) else (clean(part[0]), part[1]) for part in parts))


def line(*parts: Part, error: bool = False) -> None:
    """Write one line of texts, or (text, style) pairs, to stdout or stderr; every part is cleaned.

    A stderr that is not read any more, or cannot be written, changes nothing.
    """
    if error:
        with suppress(OSError):
            _line(above, sys.stderr, parts)
    else:
        with writing():
            _line(None, sys.stdout, parts)


def _line(view: Console | None, stream: TextIO, parts: Sequence[Part]) -> None:
    if view is not None:
        view.print(styled(*parts))
    elif _is_styled(stream):
        console(stream).print(styled(*parts))
    else:  # a tenth of the time that styling takes to find out that there is no style
        stream.write("".join(clean(part if isinstance(part, str) else part[0]) for part in parts) + "\n")


def _is_styled(stream: TextIO) -> bool:
    return "FORCE_COLOR" in os.environ or stream.isatty()


def note(label: str, text: str, *, error: bool = True) -> None:
    """One labelled line below an error, or on stdout below what it is about."""
    line("  ", (f"{label:<8}", "dim"), text, error=error)


def fields(rows: Mapping[str, Any]) -> None:
    """Labelled lines on stdout; those without a value are left out."""
    shown = {label: value for label, value in rows.items() if value not in (None, "", (), [])}
    width = max(9, *map(len, shown), 0)
    for label, value in shown.items():
        style = STATUS_STYLES.get(str(value), "") if label == "status" else ""
        line((f"{label:<{width}} ", "dim"), (str(value), style))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows on stdout: columns on a terminal, values separated by tabs elsewhere."""
    shown = console()
    if shown.is_terminal:
        with writing():
            shown.print(columns(heads, rows))
    else:
        lines((heads, *rows))


def lines(rows: Iterable[Sequence[str]]) -> None:
    """Rows on stdout, their values separated by tabs."""
    with writing():
        for row in rows:
            sys.stdout.write("\t".join(map(clean, row)) + "\n")


def columns(heads: Sequence[str], rows: Iterable[Sequence[str]], **options: Any) -> Columns:
    """Rows as columns for a terminal, without those in which there is nothing; the options are those of `Columns`."""
    shown = [tuple(map(clean, row)) for row in rows]
    empty = [not any(column) for column in zip(*shown, strict=True)]
    if any(empty):
        heads = [head for head, nothing in zip(heads, empty, strict=True) if not nothing] or heads[:1]
        shown = [
            tuple(cell for cell, nothing in zip(row, empty, strict=True) if not nothing) or row[:1] for row in shown
        ]
    load_module("tau.cli.output.columns")
    from tau.cli.output.columns import Columns

    return Columns(heads, shown, STATUS_STYLES, **options)


def drawing(text: str) -> None:
    """A text of several lines on stdout, each of them cleaned."""
    for one in text.removesuffix("\n").split("\n"):
        line(one)


def document(value: Any, *, indent: int | None = 2) -> None:
    """One JSON document on stdout, in ASCII; on one line without an indent."""
    load_module("json")
    import json

    text = json.dumps(value, indent=indent, allow_nan=False)
    with writing():
        sys.stdout.write(text + "\n")


def tick(good: bool) -> str:
    """The mark before a finished node; words where stderr cannot show it."""
    if shows_signs():
        return "✓" if good else "✗"
    return "ok" if good else "failed"


def shows_signs() -> bool:
    """Whether stderr can show more than ASCII."""
    return (sys.stderr.encoding or "").lower().startswith("utf")


def duration(seconds: float) -> str:
    """Seconds for people: ``0.06 ms``, ``1.2 s``, ``3 min 5 s``, ``2 h 10 min``, ``3 d 4 h``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms" if seconds >= 0.01 else f"{seconds * 1000:.2f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, part, name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {name}"
    return f"{whole} s"


def size(count: int) -> str:
    """Bytes for people, in powers of 1,000."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def moment(seconds: float) -> str:
    """Unix seconds as local time on a terminal, elsewhere as UTC; empty for 0."""
    if not seconds:
        return ""
    if on_terminal():
        with suppress(ValueError, OverflowError, OSError):  # a year that local time cannot tell
            return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M:%S}"
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def ago(seconds: float) -> str:
    """Unix seconds on a terminal by how long that is from now, where it is less than a week; else as `moment`."""
    away = time.time() - seconds
    if not seconds or not on_terminal() or abs(away) >= _WEEK:
        return moment(seconds)
    size, unit = next((size, unit) for size, unit in _UNITS if abs(away) >= size or size == 1)
    told = f"{abs(away) // size:.0f} {unit}"
    return f"{told} ago" if away >= 0 else f"in {told}"


def moment_and_ago(seconds: float) -> str:
    """Both, where they differ."""
    exact, rough = moment(seconds), ago(seconds)
    return exact if exact == rough else f"{exact} ({rough})"


def stamp(seconds: float) -> str | None:
    """Unix seconds as ISO 8601 in UTC, for JSON; ``None`` for 0."""
    return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else None
