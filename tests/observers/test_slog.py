"""The slog observer: one JSON object a line, through standard logging, under the user's own configuration."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tau.events import EVENT_TYPES, Event
from tau.observers import slog

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What a plain handler with the format ``%(message)s`` writes."""
    written, logger = io.StringIO(), logging.getLogger("tau.events")
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    yield written
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)
    logger.disabled = False
    logging.disable(logging.NOTSET)


def tell(**data: Any) -> None:
    slog(Event("checkpoint.save", "data-pipeline", NOON, data))


def test_a_line_has_the_shape_of_the_seed(lines: io.StringIO) -> None:
    tell(node="ingest", run_id="8f9b")
    found = json.loads(lines.getvalue())
    assert list(found) == ["time", "level", "msg", "type", "source", "timestamp", "data"]
    datetime.fromisoformat(found.pop("time"))
    assert datetime.fromisoformat(found.pop("timestamp")) == NOON
    assert found == {
        "level": "INFO",
        "msg": "Event",
        "type": "checkpoint.save",
        "source": "data-pipeline",
        "data": {"node": "ingest", "run_id": "8f9b"},
    }


def test_every_type_of_event_is_one_line(lines: io.StringIO) -> None:
    for kind in sorted(EVENT_TYPES):
        slog(Event(kind, "g", NOON, {"text": "two\nlines %s %d"}))
    assert [json.loads(line)["type"] for line in lines.getvalue().splitlines()] == sorted(EVENT_TYPES)


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"), float("inf"), 2**70, -(10**5000), "\ud800", b"\xff", {1, 2}, (1, (2,)), {(1, 2): 3, None: 4},
        {"\ud800": 1}, object(), Hostile(), {Hostile(): 1}, CYCLE, Decimal("NaN"), 1j, NOON, Path("/x"),
        {"a": {"b": object()}}, None, "", {},
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_no_value_makes_it_raise(lines: io.StringIO, value: Any) -> None:
    tell(value=value, big=2**70)
    tell(value=value)
    for line in lines.getvalue().splitlines():
        assert "value" in json.loads(line)["data"]


def test_the_record_carries_the_event_and_propagates(caplog: pytest.LogCaptureFixture) -> None:
    tell(node="a")
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("tau.events", logging.INFO)
    assert record.event.data == {"node": "a"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("level", "shown"), [(logging.NOTSET, True), (logging.DEBUG, True), (logging.INFO, True), (logging.WARNING, False)]
)
def test_a_level_of_its_own_is_obeyed(lines: io.StringIO, level: int, shown: bool) -> None:
    logging.getLogger("tau.events").setLevel(level)
    tell()
    assert bool(lines.getvalue()) is shown


def test_a_level_of_the_library_is_obeyed(lines: io.StringIO) -> None:
    logging.getLogger("tau").setLevel(logging.WARNING)
    try:
        tell()
    finally:
        logging.getLogger("tau").setLevel(logging.NOTSET)
    assert not lines.getvalue()


@pytest.mark.parametrize(("level", "shown"), [(logging.WARNING, True), (logging.INFO, True), (logging.ERROR, False)])
def test_a_root_level_hides_events_unless_it_is_the_one_python_starts_with(
    lines: io.StringIO, level: int, shown: bool
) -> None:
    before = logging.root.level
    logging.root.setLevel(level)
    try:
        tell()
    finally:
        logging.root.setLevel(before)
    assert bool(lines.getvalue()) is shown


def test_what_is_disabled_stays_silent(lines: io.StringIO) -> None:
    logging.disable(logging.INFO)
    tell()
    logging.disable(logging.NOTSET)
    logging.getLogger("tau.events").disabled = True
    tell()
    assert not lines.getvalue()


def test_nothing_of_the_logging_configuration_is_changed(lines: io.StringIO) -> None:
    logger = logging.getLogger("tau.events")
    before = (logger.level, list(logger.handlers), logger.propagate, logging.root.level, list(logging.root.handlers))
    tell()
    assert before == (
        logger.level,
        list(logger.handlers),
        logger.propagate,
        logging.root.level,
        list(logging.root.handlers),
    )


TELL = """
import logging
from datetime import UTC, datetime
from tau.events import Event
from tau.observers import slog
def tell(): slog(Event("node.start", "g", datetime.now(UTC), {}))
"""


@pytest.mark.parametrize(
    ("setup", "expected"),
    [
        ("", "line"),
        ("logging.lastResort = None", ""),
        ("logging.getLogger('tau').addHandler(logging.NullHandler())", ""),
        ("logging.basicConfig(format='%(levelname)s')", "INFO"),
        ("logging.basicConfig(format='%(levelname)s', level='ERROR')", ""),
        ("logging.getLogger('tau.events').addFilter(lambda record: False)", ""),
    ],
)
def test_stderr_is_written_to_only_where_nothing_else_handles_it(setup: str, expected: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{TELL}\n{setup}\ntell()"], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    if expected == "line":
        assert json.loads(done.stderr)["type"] == "node.start"
    else:
        assert done.stderr.strip() == expected


def test_a_closed_stderr_is_survived() -> None:
    subprocess.run([sys.executable, "-c", f"{TELL}\nimport sys\nsys.stderr = None\ntell()"], check=True)
