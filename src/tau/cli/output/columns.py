"""Rows as columns on a terminal, at the cost of a few microseconds a row: a store may hold a hundred thousand runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

GAP = 2
"""Blanks between two columns."""
LEAST = 4
"""So narrow a column may get beside one that is never broken."""


WHOLE = frozenset({"run"})
"""The heads of columns whose cells are never broken: they are there to be copied."""


class Columns:
    """Heads and rows as columns. Cells that are too long for the terminal go on below, broken at blanks where there are
    any; those of `WHOLE` columns never.

    ``styles`` are for cells by what they hold; ``foot`` says how many rows there are. With ``height`` only the first
    rows are laid out, as many as fit on so many lines.
    """

    def __init__(
        self,
        heads: Sequence[str],
        rows: Sequence[Sequence[str]],
        styles: Mapping[str, str],
        *,
        foot: str = "",
        height: int | None = None,
    ) -> None:
        self.heads = heads
        self.rows = rows if height is None else rows[: max(1, height - 1 - bool(foot))]
        self.foot = foot
        self.height = height
        self.styles = {cell: Style.parse(style) for cell, style in styles.items()}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widest = [max(map(_len, column)) for column in zip(self.heads, *self.rows, strict=True)]
        widths = fit(widest, options.max_width, [head in WHOLE for head in self.heads])
        if widths != widest:
            least = [max(_longest_word(cell) for cell in column) for column in zip(self.heads, *self.rows, strict=True)]
            widths = fit(widest, options.max_width, [head in WHOLE for head in self.heads], least)
        dim = Style.parse("dim")
        lines = self._lines(widths, dim)
        for number, parts in enumerate(lines):
            if self.height is not None and number == self.height - bool(self.foot):
                break
            yield from parts
            yield Segment.line()
        if self.foot:
            yield Segment(self.foot, dim)

    def _lines(self, widths: Sequence[int], dim: Style) -> Iterator[list[Segment]]:
        yield from _laid(self.heads, widths, lambda _: dim)
        for row in self.rows:
            yield from _laid(row, widths, self.styles.get)


def fit(widths: Sequence[int], available: int, whole: Sequence[bool] = (), least: Sequence[int] = ()) -> list[int]:
    """The widths of columns that fit side by side: the widest give way, all to the same width, but for those that stay
    ``whole``. Beside these the others keep `LEAST` cells, though the line gets too long. No column gets narrower than
    its ``least`` width, where that leaves enough to the others."""
    stays = list(whole) or [False] * len(widths)
    found = _fit(widths, available, stays)
    for _ in least:  # what one column keeps, the others have to give
        kept = [one or width < most for one, width, most in zip(stays, found, least, strict=True)]
        if kept == stays:
            break
        narrow = [
            most if now and not one else width for width, most, one, now in zip(widths, least, stays, kept, strict=True)
        ]
        again = _fit(narrow, available, kept)
        if sum(again) + GAP * (len(again) - 1) > available:
            break
        widths, stays, found = narrow, kept, again
    return found


def _fit(widths: Sequence[int], available: int, stays: Sequence[bool]) -> list[int]:
    others = sorted(width for width, one in zip(widths, stays, strict=True) if not one)
    kept = sum(width for width, one in zip(widths, stays, strict=True) if one)
    left = max((LEAST if kept else 1) * len(others), available - GAP * (len(widths) - 1) - kept)
    level = max(others, default=0)
    for number, width in enumerate(others):
        share = left // (len(others) - number)
        if width > share:
            level = share
            break
        left -= width
    return [width if one else min(width, max(1, level)) for width, one in zip(widths, stays, strict=True)]


def _longest_word(text: str) -> int:
    return max(map(_len, text.split(" ")))


def _laid(
    row: Sequence[str], widths: Sequence[int], style_of: Callable[[str], Style | None]
) -> Iterator[list[Segment]]:
    """The lines that a row takes, each as few pieces of one style."""
    if all(_len(cell) <= width for cell, width in zip(row, widths, strict=True)):
        yield _line(row, row, widths, style_of)
        return
    folded = [fold(cell, width) for cell, width in zip(row, widths, strict=True)]
    for number in range(max(map(len, folded))):
        yield _line([part[number] if number < len(part) else "" for part in folded], row, widths, style_of)


def _line(
    shown: Sequence[str], row: Sequence[str], widths: Sequence[int], style_of: Callable[[str], Style | None]
) -> list[Segment]:
    found, plain = [], ""
    last = len(widths) - 1
    for number, (part, cell, width) in enumerate(zip(shown, row, widths, strict=True)):
        style = style_of(cell) if part else None
        if style is None:
            plain += part
        else:
            found += [Segment(plain), Segment(part, style)]
            plain = ""
        if number < last:
            plain += " " * (width - _len(part) + GAP)
    return [*found, Segment(plain)]


def fold(text: str, width: int) -> list[str]:
    """``text`` in lines of at most so many cells, broken at blanks where there are any."""
    lines = []
    while _len(text) > width:
        head = text[:width] if text.isascii() else chop_cells(text, width)[0]
        blank = text.rfind(" ", 1, len(head) + 1)
        end = blank if blank > 0 else max(1, len(head))
        lines.append(text[:end].rstrip(" "))
        text = text[end:].lstrip(" ")
    return [*lines, text]


def _len(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)
