"""Crafted runs, every checksum right: each verb gives a result or a `TauError`, in bounded time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hostile_runs import BOMBS, committed, graph_on, sound_runs
from msgspec import msgpack

from tau import CorruptCheckpointError, LimitExceededError, UnsupportedFormatError
from tau.log import encoding
from tau.log.records import Failed, Planned
from tau.values.stored import Blobs, Part, StoredValue


def fuzz(count: int, seed: int) -> None:
    child = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("hostile_runs.py")), str(count), str(seed)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stdout + child.stderr


def test_crafted_runs_give_results_or_typed_errors() -> None:
    fuzz(60, 1)


@pytest.mark.deep
def test_thousands_of_crafted_runs() -> None:
    for seed in range(2, 6):
        fuzz(2_000, seed)


@pytest.mark.parametrize("bomb", BOMBS, ids=["that says how long it is", "that does not"])
def test_a_record_that_expands_beyond_any_record_is_damage(bomb: bytes) -> None:
    bodies, blobs, summary = sound_runs()[-1]
    store = committed([bodies[0], bomb, *bodies[2:]], blobs, summary)
    with pytest.raises(CorruptCheckpointError, match="expands to more than"):
        graph_on(store).history("r")


@pytest.mark.parametrize("depth", [900, 100_000, 10_000_000])
def test_a_record_with_something_nested_deeply_beside_its_fields_is_read_or_damage(depth: int) -> None:
    bodies, blobs, summary = sound_runs()[-1]
    first = bodies[1]
    assert first[0] & 0xF0 == 0x90
    nested = b"\xdc" + (first[0] - 0x90 + 1).to_bytes(2, "big") + first[1:] + b"\x91" * depth + b"\x90"
    store = committed([bodies[0], nested, *bodies[2:]], blobs, summary)
    if depth == 900:
        graph_on(store).resume("r")
    else:
        with pytest.raises(CorruptCheckpointError, match="more than any record needs"):
            graph_on(store).history("r")


def deep(level: int, function: Any) -> Any:
    return function() if level == 0 else deep(level - 1, function)


def test_a_sound_record_is_read_by_a_caller_whose_stack_is_nearly_used_up() -> None:
    record = Planned(position=1, body={"k": nest(60)})
    data = encoding.seal("r", record)
    assert deep(sys.getrecursionlimit() - 120, lambda: encoding.unseal("r", 1, data)) == record


def nest(depth: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


def test_what_a_record_says_of_a_value_is_looked_at_before_anything_is_fetched() -> None:
    def never(parts: Any) -> Any:
        raise AssertionError("fetched")

    one = Part(b"d" * 20, 10)
    wrong = (
        Blobs(b"", 0, (Part(b"d" * 20, 4 << 30),)),
        Blobs(b"", 0, (Part(b"d" * 20, 10_000_000),) * 100),
        Blobs(b"", 2**40, (one, Part(b"e" * 20, 2**40))),
        Blobs(b"", -1, (one,)),
        Blobs(b"", 10, (one,)),
        Blobs(b"", 0, ()),
        Blobs(b"", 0, (Part(b"d" * 20, -5), one)),
    )
    for whole in wrong:
        with pytest.raises(CorruptCheckpointError, match="no value does"):
            StoredValue(whole, fetch=never).data()
    with pytest.raises(CorruptCheckpointError, match="of another length"):
        StoredValue(Blobs(b"", 0, (one,)), fetch=lambda parts: {b"d" * 20: b"longer than ten"}).data()


def test_a_record_that_could_not_be_read_is_not_written() -> None:
    record = Planned(position=1, body={"k": bytes(900_000_001)})
    with pytest.raises(LimitExceededError, match="keep fewer keys"):
        encoding.seal("r", record)


def test_times_that_no_calendar_has_are_damage() -> None:
    bodies, blobs, summary = sound_runs()[0]
    for time in (1e300, float("nan"), float("inf"), -1e15):
        value = msgpack.decode(bodies[-2])
        value[3] = time
        store = committed([*bodies[:-2], msgpack.encode(value), bodies[-1]], blobs, summary)
        with pytest.raises(CorruptCheckpointError, match="a time that no calendar has"):
            graph_on(store).history("r")


def test_a_record_in_another_place_of_its_run_is_damage_and_a_newer_compression_is_not() -> None:
    bodies, blobs, summary = sound_runs()[0]
    store = committed([bodies[0], bodies[1], bodies[1], *bodies[3:]], blobs, summary)
    with pytest.raises(CorruptCheckpointError, match="it says that it is record 2"):
        graph_on(store).history("r")
    head = bytes((encoding.FORMAT, 7))
    data = encoding.MAGIC + head + encoding._checksum("r", 1, head, b"body") + b"body"
    with pytest.raises(UnsupportedFormatError, match="compression 7"):
        encoding.unseal("r", 1, data)


def test_a_count_that_cannot_go_on_is_damage() -> None:
    with pytest.raises(CorruptCheckpointError, match="too large to count on"):
        encoding.seal("r", Failed(node="n", attempt=2**64))
