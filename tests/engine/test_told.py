"""What is told of an error: what a group holds, what it was raised from, its notes; and what a node logs."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tau import Context, ExecutionError, LeaseLostError, Retry, State, StateGraph, open_store
from tau.cli import main
from tau.log.encoding import unseal
from tau.log.records import Failed, Failure, describe
from tau.observers import Recorder
from tau.stores.memory import MemoryStore


def boom(*errors: Exception) -> None:
    raise ExceptionGroup("two stations", [*errors])


def node(state: State) -> None:
    try:
        raise KeyError("month")
    except KeyError as error:
        late = OSError("the line is down")
        late.add_note("asked for station 7")
        try:
            boom(late, ExceptionGroup("inner", [ValueError("bad sensor"), TypeError("bad unit")]))
        except ExceptionGroup as group:
            group.add_note("of 9 stations")
            raise group from error


def failed(store: Any, function: Any = node, **options: Any) -> ExecutionError:
    graph = StateGraph("told", store=store)
    graph.add_node("a", function, **options)
    graph.sequence("a")
    with pytest.raises(ExecutionError) as caught:
        graph.execute({}, run_id="r")
    return caught.value


def test_the_error_of_a_run_says_what_a_group_holds(tmp_path: Path) -> None:
    error = failed(MemoryStore())
    leaves = "OSError: the line is down; ValueError: bad sensor; TypeError: bad unit"
    assert str(error).endswith(f"node execution failed: two stations (2 sub-exceptions): {leaves}")


def test_the_log_keeps_what_is_in_an_error_and_behind_it(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/runs.db") as store:
        failed(store)
        records = [unseal("r", position, data) for position, data in store.read("r")]
    (found,) = (record.failure for record in records if isinstance(record, Failed))
    assert found is not None
    assert (found.type, found.notes) == ("ExceptionGroup", ("of 9 stations",))
    late, inner = found.errors
    assert (late.type, late.text, late.notes) == ("OSError", "the line is down", ("asked for station 7",))
    assert [(one.type, one.text) for one in inner.errors] == [("ValueError", "bad sensor"), ("TypeError", "bad unit")]
    assert found.cause is not None
    assert (found.cause.type, found.cause.text) == ("KeyError", "'month'")
    assert found.cause.frames[-1][2] == "node"


def test_tau_show_tells_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed(f"sqlite:///{tmp_path}/runs.db")
    main(["show", "r", "--store", f"sqlite:///{tmp_path}/runs.db"])
    said = capsys.readouterr().out
    for part in (
        "ExceptionGroup: two stations (2 sub-exceptions)",
        "\n  of 9 stations\n",
        "\n  one of them: OSError: the line is down\n    asked for station 7\n",
        "\n    one of them: TypeError: bad unit\n",
        "\nraised from: KeyError: 'month'\n",
    ):
        assert part in said
    main(["show", "r", "--json", "--store", f"sqlite:///{tmp_path}/runs.db"])
    failure = json.loads(capsys.readouterr().out)["failure"]
    assert [one["type"] for one in failure["errors"]] == ["OSError", "ExceptionGroup"]
    assert (failure["notes"], failure["cause"]["type"]) == (["of 9 stations"], "KeyError")


class Before(msgspec.Struct, frozen=True):
    """A failure as the first version knows it."""

    type: str
    text: str
    frames: tuple[tuple[str, int, str], ...] = ()


def test_a_failure_is_read_by_an_older_version_and_one_of_it_is_read() -> None:
    plain, group = describe(OSError("x")), describe(ExceptionGroup("g", [OSError("x")]))
    for found in (plain, group):
        data = msgspec.msgpack.encode(found)
        assert msgspec.msgpack.decode(data, type=Before) == Before(found.type, found.text, found.frames)
        assert msgspec.msgpack.decode(data, type=Failure) == found
    before = Before("OSError", "x", (("a.py", 1, "f"),))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(before), type=Failure) == Failure(
        *msgspec.structs.astuple(before)
    )


def test_an_error_with_very_much_behind_and_in_it_is_kept_in_part() -> None:
    error = Exception("0")
    for number in range(5_000):
        after = Exception(str(number))
        after.__context__ = error
        error = after
    error.__context__.__context__ = error  # type: ignore[union-attr]
    deep = ExceptionGroup("deep", [error])
    for _ in range(300):
        deep = ExceptionGroup("deep", [deep, ValueError("x" * 10_000)])
    wide = ExceptionGroup("wide", [ValueError("x" * 10_000)] * 10_000)
    for one in (error, deep, wide):
        assert len(msgspec.msgpack.encode(describe(one))) < 200_000
    hidden = ValueError("shown")
    hidden.__context__ = KeyError("hidden")
    hidden.__suppress_context__ = True
    hidden.__notes__ = 7  # type: ignore[assignment]
    assert describe(hidden) == Failure("ValueError", "shown")


# What is worth another try.


@pytest.mark.parametrize(
    ("errors", "on", "tries"),
    [
        ([OSError("a"), ConnectionError("b")], OSError, 3),
        ([OSError("a"), ExceptionGroup("g", [OSError("b")])], OSError, 3),
        ([OSError("a"), ValueError("b")], OSError, 1),
        ([OSError("a"), ValueError("b")], (OSError, ValueError), 3),
        ([OSError("a"), ValueError("b")], Exception, 3),
        ([OSError("a"), ValueError("b")], ExceptionGroup, 3),
        ([OSError("a"), LeaseLostError("b")], Exception, 1),
    ],
)
def test_a_group_is_tried_again_where_all_in_it_are_worth_it(errors: list[Exception], on: Any, tries: int) -> None:
    made: list[int] = []

    async def several(state: State) -> None:
        made.append(1)
        async with asyncio.TaskGroup() as group:
            for error in errors:
                group.create_task(fail(error))

    async def fail(error: Exception) -> None:
        raise error

    failed(MemoryStore(), several, retry=Retry(attempts=3, delay=0, on=on))
    assert len(made) == tries


# Logging.


def test_what_a_call_gives_to_the_log_stays_beside_what_the_node_knows(caplog: pytest.LogCaptureFixture) -> None:
    def talks(state: State, ctx: Context) -> None:
        ctx.log.info("read", extra={"station": 7, "node": "mine"})
        ctx.log.info("done")
        ctx.log.info("none", extra=None)

    graph = StateGraph("told", observer=Recorder())
    graph.add_node("a", talks)
    graph.sequence("a")
    with caplog.at_level(logging.INFO, "tau.nodes"):
        graph.execute({}, run_id="r")
    read, done, none = (vars(record) for record in caplog.records if record.name == "tau.nodes")
    assert (read["station"], read["node"], read["run_id"], read["visit"], read["attempt"]) == (7, "mine", "r", 1, 1)
    assert (done["node"], none["node"], "station" in done) == ("a", "a", False)
