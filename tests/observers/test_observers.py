"""Observers: who is told, in which order, and that none of them changes the outcome."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from tau import observers
from tau.errors import ConfigError, TauError, UnknownObserverError
from tau.events import EVENT_TYPES, TERMINAL_TYPES, Event
from tau.observers import Multi, Recorder, noop, notify, register_observer, resolve_observer, slog

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


def event(**data: Any) -> Event:
    return Event("node.start", "climate", NOON, data)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observers, "_registry", dict(observers._registry))


class Broken:
    """Raises what it was given."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, event: Event) -> None:
        raise self.error


def test_every_event_of_the_origin_but_the_states_own_has_its_name() -> None:
    names = """
    graph.start graph.complete node.start node.complete edge.evaluate edge.transition cycle.detected
    chain.start chain.complete step.start step.complete parallel.start parallel.complete
    worker.start worker.complete checkpoint.save checkpoint.load checkpoint.resume route.evaluate
    route.select route.execute graph.failed graph.interrupted graph.waiting graph.cancelled
    graph.changed provenance.changed checkpoint.kept checkpoint.retry node.retry node.progress
    call.start call.complete call.changed call.retry
    """
    assert set(names.split()) == EVENT_TYPES
    assert TERMINAL_TYPES < EVENT_TYPES


def test_an_event_is_frozen() -> None:
    with pytest.raises(AttributeError):
        event().type = "x"  # type: ignore[misc]


def test_nobody_is_nobody_under_every_name() -> None:
    for spec in (None, "noop", noop, [], [None, "noop"], ()):
        assert resolve_observer(spec) is None


def test_names_callables_and_lists_resolve() -> None:
    recorder = Recorder()
    assert resolve_observer("slog") is slog
    assert resolve_observer(recorder) is recorder
    assert resolve_observer([recorder, None]) is recorder
    assert isinstance(resolve_observer([recorder, ["slog"]]), Multi)


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(
        UnknownObserverError, match=r"failed to resolve observer: unknown observer: slgo; .* noop, slog"
    ):
        resolve_observer("slgo")


@pytest.mark.usefixtures("registry")
def test_a_registered_observer_is_found_and_replaced_by_a_later_one() -> None:
    first, second = Recorder(), Recorder()
    register_observer("mine", first)
    assert resolve_observer("mine") is first
    register_observer("mine", second)
    assert resolve_observer("mine") is second


async def _async_observer(event: Event) -> None:
    pass


@pytest.mark.parametrize("wrong", [None, 3, "slog", Recorder, _async_observer])
@pytest.mark.usefixtures("registry")
def test_what_cannot_be_told_cannot_be_registered(wrong: Any) -> None:
    with pytest.raises(ConfigError):
        register_observer("mine", wrong)


@pytest.mark.parametrize("wrong", [3, Recorder, _async_observer, {"a": 1}, ["slog", 3]])
def test_what_cannot_be_told_does_not_resolve(wrong: Any) -> None:
    with pytest.raises(TauError):
        resolve_observer(wrong)


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_registered_name_is_text(name: Any) -> None:
    with pytest.raises(ConfigError, match="name"):
        register_observer(name, noop)


def test_what_an_observer_raises_is_logged_once_then_counted(caplog: pytest.LogCaptureFixture) -> None:
    broken = Broken(ValueError("boom"))
    for _ in range(5):
        notify(broken, event())
    errors = [record for record in caplog.records if record.name == "tau"]
    assert [record.levelno for record in errors] == [logging.ERROR]
    assert "Broken raised ValueError on event node.start: boom" in errors[0].getMessage()
    assert observers.failures(broken) == 5


def test_another_kind_of_error_and_another_observer_are_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    broken = Broken(ValueError("a"))
    notify(broken, event())
    broken.error = KeyError("b")
    notify(broken, event())
    notify(Broken(ValueError("c")), event())
    assert len(caplog.records) == 3


def test_an_observer_that_cannot_be_hashed_is_isolated_too(caplog: pytest.LogCaptureFixture) -> None:
    class Odd(Broken):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("never compare me")

    before = observers.failures(Odd(ValueError()))
    notify(Odd(ValueError("x")), event())
    notify([].pop, event())  # type: ignore[arg-type]
    assert observers.failures(Odd(ValueError())) == before + 1


def test_a_logging_handler_that_raises_does_not_reach_the_run() -> None:
    class Bad(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise OSError("disk full")

    bad = Bad()
    logging.getLogger("tau").addHandler(bad)
    try:
        notify(Broken(ValueError("x")), event())
    finally:
        logging.getLogger("tau").removeHandler(bad)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_what_is_no_exception_passes(stop: BaseException) -> None:
    with pytest.raises(type(stop)):
        notify(Broken(stop), event())


def test_several_are_told_in_the_order_given_and_each_is_isolated() -> None:
    told: list[str] = []
    both = Multi([lambda e: told.append("first"), Broken(ValueError()), lambda e: told.append("last")])
    both(event())
    assert told == ["first", "last"]


def test_a_recorder_keeps_what_it_is_told_until_cleared() -> None:
    recorder = Recorder()
    recorder(event(node="a"))
    recorder(Event("graph.complete", "climate", NOON, {}))
    assert recorder.types() == ["node.start", "graph.complete"]
    assert recorder.events[0].data == {"node": "a"}
    recorder.clear()
    assert recorder.events == []


def test_a_recorder_loses_nothing_of_what_many_threads_tell_it() -> None:
    recorder, start = Recorder(), threading.Barrier(10)

    def tell() -> None:
        start.wait()
        for number in range(100):
            recorder(event(number=number))

    with ThreadPoolExecutor(10) as pool:
        for done in [pool.submit(tell) for _ in range(10)]:
            done.result()
    assert len(recorder.events) == 1000
