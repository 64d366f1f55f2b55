"""Times: on a terminal as people tell them, elsewhere in UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from cli_shell import Here
from test_ids import TTY, at_terminal

from tau.cli.output import screen

NOW = datetime(2024, 3, 10, 12, 0, 0, tzinfo=UTC).timestamp()
GRAPH = "pipeline.py:graph"


@pytest.fixture
def in_honolulu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "HST10")
    time.tzset()
    monkeypatch.setattr(screen.time, "time", lambda: NOW)
    yield
    monkeypatch.delenv("TZ")
    time.tzset()


@pytest.mark.parametrize(
    ("away", "told"),
    [(0, "0 s ago"), (59, "59 s ago"), (60, "1 min ago"), (3_599, "59 min ago"), (3 * 3600 + 5, "3 h ago"),
     (6.9 * 86400, "6 d ago"), (-90, "in 1 min"), (7 * 86400, "2024-03-03 02:00:00")],
)  # fmt: skip
@pytest.mark.usefixtures("in_honolulu")
def test_on_a_terminal_what_is_near_is_told_by_how_long_ago(
    monkeypatch: pytest.MonkeyPatch, away: float, told: str
) -> None:
    assert screen.ago(NOW - away).endswith(" UTC")
    monkeypatch.setattr("sys.stdout", TTY())
    assert screen.ago(NOW - away) == told


@pytest.mark.usefixtures("in_honolulu")
def test_a_moment_is_local_on_a_terminal_and_utc_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert screen.moment(NOW) == screen.moment_and_ago(NOW) == "2024-03-10 12:00:00 UTC"
    assert screen.stamp(NOW) == "2024-03-10T12:00:00+00:00"
    monkeypatch.setattr("sys.stdout", TTY())
    assert screen.moment(NOW) == "2024-03-10 02:00:00"
    assert screen.moment_and_ago(NOW - 90) == "2024-03-10 01:58:30 (1 min ago)"
    assert screen.stamp(NOW) == "2024-03-10T12:00:00+00:00"
    first = datetime(1, 1, 1, tzinfo=UTC).timestamp()  # a year before, where it is earlier
    assert screen.moment(first) == "1-01-01 00:00:00 UTC"
    assert screen.moment(0) == screen.ago(0) == screen.moment_and_ago(0) == ""


def test_the_command_shows_both(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here("run", GRAPH, "--run-id", "r")
    row = at_terminal(monkeypatch, here, "runs")[1]
    assert row.endswith(" s ago")
    fields = dict(line.split(maxsplit=1) for line in at_terminal(monkeypatch, here, "show", "r")[:8] if " " in line)
    assert fields["updated"].endswith(" s ago)")
    assert "UTC" not in fields["updated"]
    assert here("runs").out.split("\t")[-3].endswith(" UTC")
    assert here.json("runs")[0]["updated"].endswith("+00:00")
