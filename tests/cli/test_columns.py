"""Tables on a terminal: all that was to be said, within its width, at the cost of what is shown."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from tau.cli.output import screen, watching
from tau.cli.output.columns import fit, fold
from tau.stores import Summary

cells = st.text(st.characters(exclude_categories=["C", "Z", "M"]) | st.just(" "), max_size=40)
tables = st.integers(1, 6).flatmap(lambda n: st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1, max_size=8))


def shown(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int, **options: Any) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=20, soft_wrap=True, markup=False, highlight=False, emoji=False)
    console.print(screen.columns(heads, rows, **options))
    return out.getvalue().split("\n")


@given(rows=tables, width=st.integers(30, 120))
def test_no_line_is_longer_than_the_terminal_and_nothing_is_left_out(rows: list[list[str]], width: int) -> None:
    lines = shown(rows[0], rows[1:], width)
    assert max(cell_len(line.rstrip(" ")) for line in lines) <= width
    said = sorted("".join(lines).replace(" ", ""))
    filled = [column for column in zip(*rows, strict=True) if any(column[1:]) or len(rows) == 1]
    filled = filled or [[row[0] for row in rows]]
    assert said == sorted("".join(cell for column in filled for cell in column).replace(" ", ""))


@given(text=cells, width=st.integers(2, 20))
def test_a_cell_is_folded_at_blanks_where_there_are_any(text: str, width: int) -> None:
    lines = fold(text, width)
    assert all(cell_len(line) <= width for line in lines[:-1])
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert fold("set growth, next report", 12) == ["set growth,", "next report"]


@given(widths=st.lists(st.integers(0, 60), min_size=1, max_size=8), available=st.integers(20, 200))
def test_only_columns_that_are_too_wide_give_way(widths: list[int], available: int) -> None:
    given_widths = fit(widths, available)
    assert sum(given_widths) + 2 * (len(widths) - 1) <= max(available, 3 * len(widths) - 2)
    cut = [new for new, old in zip(given_widths, widths, strict=True) if new < old]
    assert len(set(cut)) <= 1
    assert not cut or all(old <= cut[0] for new, old in zip(given_widths, widths, strict=True) if new == old)
    if sum(widths) + 2 * (len(widths) - 1) <= available:
        assert given_widths == [max(0, width) for width in widths]


def test_a_status_has_its_colour_and_only_what_fits_is_laid_out() -> None:
    rows = [(f"r{number}", "failed") for number in range(100)]
    lines = shown(("run", "status"), rows, 80, height=10, foot="100 runs")
    assert [line.split() for line in lines[:2]] == [["run", "status"], ["r0", "failed"]]
    assert lines[8:10] == ["r7   failed", "100 runs"]
    out = io.StringIO()
    Console(file=out, width=80, force_terminal=True, color_system="standard", soft_wrap=True).print(
        screen.columns(("run", "status"), rows[:1])
    )
    assert "\x1b[31mfailed\x1b[0m" in out.getvalue()


def calls(work: Callable[[], object]) -> int:
    """How many functions are called, which is what it costs, on any machine."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_a_row_costs_little_also_where_it_has_to_be_folded() -> None:
    rows = [(f"climate-2024-{n:030}", "climate", "finished", "report", "4", "x" * 23, "a, b") for n in range(1_000)]
    heads = ("run", "graph", "status", "node", "visits", "updated", "tags")
    assert calls(lambda: shown(heads, rows, 200)) < 150 * len(rows)
    assert calls(lambda: shown(heads, rows, 100)) < 400 * len(rows)


def test_watching_ten_thousand_runs_lays_out_what_fits(monkeypatch: Any) -> None:
    found = [Summary(run_id=f"r{n}", graph="climate", status="finished", position=1, base=1) for n in range(10_000)]
    laid: list[str] = []

    def row(one: Summary) -> list[str]:
        laid.append(one.run_id)
        return [one.run_id, one.status]

    console = Console(file=io.StringIO(), width=80, height=25, force_terminal=True)
    monkeypatch.setattr(screen, "console", lambda: console)
    looks = iter([found])

    def look() -> Sequence[Summary]:
        try:
            return next(looks)
        except StopIteration:
            raise KeyboardInterrupt from None

    assert watching.watch(look, ("run", "status"), row, 0.0) == 130
    assert laid[0] == "r0"
    assert len(laid) <= 25
    assert "10000 runs" in console.file.getvalue()  # type: ignore[attr-defined]


@given(rows=tables, width=st.integers(60, 200))
def test_no_word_is_broken_where_there_is_room_for_all(rows: list[list[str]], width: int) -> None:
    words = [word for row in rows for cell in row for word in cell.split(" ")]
    longest = [max(cell_len(word) for cell in column for word in cell.split(" ")) for column in zip(*rows, strict=True)]
    if sum(longest) + 2 * (len(longest) - 1) > width:
        return
    said = " ".join(shown(rows[0], rows[1:], width)).split()
    filled = [column for column in zip(*rows, strict=True) if any(column[1:]) or len(rows) == 1]
    expected = sorted(word for column in filled or [[rows[0][0]]] for cell in column for word in cell.split())
    assert sorted(said) == expected or not filled, words


def test_the_heads_of_a_narrow_table_stay_whole() -> None:
    heads = ("run", "graph", "status", "checkpoints", "resumes", "size", "largest keys")
    rows = [("0877a475", "plain", "failed", "0", "0", "2.5 kB", "xs 3 B, ys 12.5 kB, table 1.1 MB")]
    lines = shown(heads, rows, 60)
    assert lines[0].split() == ["run", "graph", "status", "checkpoints", "resumes", "size", "largest"]
    assert max(map(len, lines)) <= 60
