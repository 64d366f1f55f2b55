"""Whatever is raised wherever, what was finished is committed once, the run is let go, and its caller gets what was
raised: struck once at each distinct place of our own frames, and once more in the ending that follows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from interrupts import Alarm, Case, strikes

# Where a coroutine is struck after it was made and before it is awaited, nothing of it has begun.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
KINDS = pytest.mark.parametrize("kind", [KeyboardInterrupt, Alarm])


def check(case: Case, kind: Callable[[], BaseException], directory: Path, *, by_line: bool) -> None:
    found = strikes(case, kind, directory, by_line=by_line)
    assert int(next(found)) > 50
    assert list(found) == []


def test_an_interrupt_at_any_line_loses_nothing_that_an_interval_held_back(tmp_path: Path) -> None:
    check(Case("memory", 3), KeyboardInterrupt, tmp_path, by_line=True)


def test_a_second_interrupt_at_any_line_of_the_ending_changes_nothing(tmp_path: Path) -> None:
    check(Case("memory", 3, second=True), KeyboardInterrupt, tmp_path, by_line=True)


def test_an_alarm_at_any_line_is_raised_as_it_is_and_loses_nothing(tmp_path: Path) -> None:
    check(Case("memory", 1), Alarm, tmp_path, by_line=True)


def test_an_alarm_at_any_line_of_an_async_run_leaves_nothing_waiting(tmp_path: Path) -> None:
    check(Case("memory", is_async=True), Alarm, tmp_path, by_line=True)


def test_a_second_interrupt_at_any_line_of_the_ending_of_an_async_run_leaves_nothing_waiting(tmp_path: Path) -> None:
    check(Case("memory", is_async=True, second=True), KeyboardInterrupt, tmp_path, by_line=True)


@pytest.mark.deep
@KINDS
@pytest.mark.parametrize("second", [False, True], ids=["first", "second"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("interval", [1, 3])
@pytest.mark.parametrize("store", ["sqlite", "file"])
def test_an_interrupt_at_any_place_loses_nothing(
    store: str, interval: int, *, is_async: bool, second: bool, kind: type[BaseException], tmp_path: Path
) -> None:
    check(Case(store, interval, is_async=is_async, second=second), kind, tmp_path, by_line=False)
