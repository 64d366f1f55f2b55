"""What the handler of a signal raises while a value is written or read, by us or by the library that the value is from:
it comes out as it is, and nothing is called damaged or refused because of it."""

from __future__ import annotations

import collections
import datetime
import decimal
import pathlib
import signal
import sys
import zoneinfo
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from injection import InterruptFault, _looking

from tau import StateGraph, register_type
from tau.errors import CorruptCheckpointError, ExecutionError
from tau.log.encoding import pack_blob, unpack_blob
from tau.stores.memory import MemoryStore
from tau.values import Refused, decode, encode
from tau.values.stored import digest

Place = tuple[str, str, int | None]


class Bell:
    """Rings a signal at one place of whatever is called, once; its handler raises."""

    def __init__(self) -> None:
        self.kind: type[Exception] = TimeoutError
        self.raised: Exception | None = None

    def handler(self, signum: int, frame: FrameType | None) -> None:
        self.raised = self.kind("alarm")
        raise self.raised

    def starred(self, *_: object) -> None:
        self.handler(0, None)


class Struck(InterruptFault):
    """Rings at a place, or notes which there are; in any code."""

    def __init__(self, place: Place | None) -> None:
        super().__init__(lambda name: True)
        self.place = place
        self.met: Counter[Place] = Counter()

    def _point(self, frame: FrameType, event: str) -> None:
        before = self.before.get(id(frame), -1)
        self.before[id(frame)] = frame.f_lasti
        if before in _looking(frame.f_code):
            place = (frame.f_code.co_filename, frame.f_code.co_qualname, frame.f_lineno)
            self.met[place] += 1
            if place == self.place and self.met[place] == 1:
                signal.raise_signal(signal.SIGUSR1)


@pytest.fixture(params=["handler", "starred"])
def bell(request: pytest.FixtureRequest) -> Iterator[Bell]:
    made = Bell()
    before = signal.signal(signal.SIGUSR1, getattr(made, request.param))
    yield made
    signal.signal(signal.SIGUSR1, before)


class Own:
    """A class with functions of its own."""

    def __init__(self, part: Any) -> None:
        self.part = part

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and other.part == self.part

    __hash__ = None  # type: ignore[assignment]


register_type(Own, name="alarmed", encode=lambda own: [own.part], decode=lambda parts: Own(parts[0]))

BLOB = b"blob" * 1000
VALUES: dict[str, Callable[[], Any]] = {
    "containers": lambda: {"a": (1, "x"), "b": [(1, 2)] * 20, "big": 2**70, "s": {1, "a"}, ("k",): "\ud800"},
    "standard": lambda: [
        datetime.datetime(2020, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        decimal.Decimal("1.5"),
        pathlib.Path("a"),
        collections.deque([1]),
    ],
    "registered": lambda: [Own(3)],
    "numpy": lambda: {"a": np.arange(5), "m": np.float64(2)},
    "many": lambda: [np.float64(i) for i in range(2000)],
    "timestamp": lambda: pd.Timestamp("2020", tz="UTC"),
    "series": lambda: pd.Series(["x", "y"]),
    "table": lambda: pd.DataFrame(
        {"a": [1, 2], "b": pd.Categorical(["x", "y"])}, index=pd.date_range("2020", periods=2)
    ),
    "tables": lambda: [pd.DataFrame({"a": [number, 2]}) for number in range(20)],
    "grid": lambda: xr.Dataset({"v": (("t",), np.arange(3.0))}, coords={"t": pd.date_range("2020", periods=3)}),
}
QUICK = ["containers", "standard", "registered", "numpy", "many", "timestamp", "series"]


def struck(call: Callable[[], Any], place: Place | None) -> tuple[Struck, Any, BaseException | None]:
    strike = Struck(place)
    sys.settrace(strike._enter)
    try:
        result, error = call(), None
    except BaseException as raised:
        result, error = None, raised
    finally:
        sys.settrace(None)
    return strike, result, error


def swept(bell: Bell, call: Callable[[], Any], same: Callable[[Any], bool]) -> list[str]:
    """What did not come out as it was raised; a library that tries for errors of this kind itself may keep it."""
    call()
    wrong: list[str] = []
    places = struck(call, None)[0].met
    assert len(places) > 1
    for place in places:
        bell.raised = None
        _, result, error = struck(call, place)
        if bell.raised is None or error is bell.raised:
            continue
        if "site-packages" in place[0] and bell.kind in (ValueError, TypeError) and error is None:
            continue
        if error is not None or "/tau/" in place[0] or not same(result):
            wrong.append(f"{place}: {error!r}")
    return wrong


def check(bell: Bell, name: str, kind: type[Exception]) -> None:
    value = VALUES[name]()
    data = encode(value)
    bell.kind = kind
    assert swept(bell, lambda: encode(value), lambda found: bool(found == data)) == []
    assert swept(bell, lambda: decode(data), lambda found: encode(found) == data) == []


@pytest.mark.parametrize(
    ("name", "kind"), [*((name, kind) for name in QUICK for kind in (TimeoutError, ValueError)), ("series", TypeError)]
)
def test_an_alarm_comes_out_of_a_value_as_it_is(bell: Bell, name: str, kind: type[Exception]) -> None:
    check(bell, name, kind)


@pytest.mark.deep
@pytest.mark.parametrize("kind", [TimeoutError, ValueError, TypeError, MemoryError, ImportError])
@pytest.mark.parametrize("name", VALUES)
def test_an_alarm_of_any_kind_comes_out_of_any_value_as_it_is(bell: Bell, name: str, kind: type[Exception]) -> None:
    check(bell, name, kind)


def test_an_alarm_damages_no_blob(bell: Bell) -> None:
    name, packed = digest(BLOB), pack_blob(BLOB)
    bell.kind = ValueError
    assert swept(bell, lambda: unpack_blob("r", name, len(BLOB), packed), lambda found: bool(found == BLOB)) == []


def test_what_a_library_makes_of_an_alarm_is_that_alarm(bell: Bell) -> None:
    class Turned:
        pass

    def turn(_: Any) -> list[Any]:
        try:
            signal.raise_signal(signal.SIGUSR1)
        except TimeoutError:
            raise RuntimeError("of the library")  # noqa: B904
        return []

    register_type(Turned, name="turned", encode=turn, decode=lambda parts: Turned())
    with pytest.raises(TimeoutError, match="alarm"):
        encode(Turned())


def test_what_a_library_fails_with_after_it_kept_an_alarm_is_neither_damage_nor_a_refusal(bell: Bell) -> None:
    armed: list[str] = []

    class Kept:
        pass

    def whole(what: str) -> bool:
        try:
            if what in armed:
                armed.remove(what)
                signal.raise_signal(signal.SIGUSR1)
        except TimeoutError:
            return False
        return True

    def part(what: str, made: Any) -> Any:
        if not whole(what):
            raise ValueError("not whole")
        return made

    register_type(
        Kept, name="alarm-kept", encode=lambda kept: part("encode", []), decode=lambda parts: part("decode", Kept())
    )
    data = encode(Kept())
    armed += ["encode", "decode"]
    assert encode(Kept()) == data
    assert type(decode(data)) is Kept
    assert armed == []


def test_an_alarm_that_was_caught_before_is_not_raised_again(bell: Bell) -> None:
    try:
        signal.raise_signal(signal.SIGUSR1)
    except TimeoutError:
        with pytest.raises(Refused):
            encode([object()])
        with pytest.raises(CorruptCheckpointError):
            decode(encode((1, 2))[:-1])
        broken = Own(1)
        del broken.part
        with pytest.raises(Refused, match="registered encode raised AttributeError"):
            encode(broken)


def test_a_node_that_an_alarm_ends_while_it_reads_can_be_resumed(bell: Bell) -> None:
    """The run has failed with the alarm; it is not damaged."""
    armed = [1]

    class Read:
        pass

    def decoded(_: Any) -> Read:
        if armed:
            armed.clear()
            signal.raise_signal(signal.SIGUSR1)
        return Read()

    register_type(Read, name="alarmed-read", encode=lambda read: [], decode=decoded)
    graph = StateGraph("g", store=MemoryStore())
    graph.add_node("a", lambda state: {"read": Read()}, version="1")
    graph.add_node("b", lambda state: {"kind": type(state["read"]).__name__}, version="1")
    graph.sequence("a", "b")
    with pytest.raises(ExecutionError) as failed:
        graph.execute({}, run_id="r")
    assert failed.value.__cause__ is bell.raised
    assert graph.resume("r")["kind"] == "Read"
