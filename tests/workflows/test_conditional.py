"""`process_conditional`, called alone: what it chooses, returns, raises and tells."""

from __future__ import annotations

import asyncio
import inspect
import signal
from collections.abc import Callable
from typing import Any

import pytest
from telling import told

from tau import ConditionalConfig, ConditionalError, ConfigError, Routes, State, UnknownObserverError
from tau import process_conditional as process
from tau.observers import Recorder

QUIET = ConditionalConfig(observer=None)


def mark(name: str) -> Callable[[State], State]:
    return lambda state: state.set("route", name)


def level(state: Any) -> str:
    return "high" if state["value"] > 50 else "low"


LEVELS = Routes({"high": mark("high"), "low": mark("low")})


def failing(error: BaseException) -> Callable[[Any], Any]:
    def fail(state: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(("value", "name"), [(75, "high"), (25, "low")])
def test_the_state_of_the_chosen_handler_is_returned(value: int, name: str) -> None:
    """W49"""
    given = State({"value": value})
    found = process(given, level, LEVELS, QUIET)
    assert (found["value"], found["route"]) == (value, name)
    assert "route" not in given


def test_any_state_will_do() -> None:
    """W49"""
    assert process(3, lambda n: "odd" if n % 2 else "even", Routes({"odd": lambda n: -n}), QUIET) == -3


@pytest.mark.parametrize(
    ("result", "expected"), [({"b": 2}, {"a": 1, "b": 2}), (None, {"a": 1}), (State({"c": 3}), {"c": 3})]
)
def test_handlers_of_a_state_may_return_what_nodes_return(result: Any, expected: Any) -> None:
    found = process(State({"a": 1}), lambda state: "x", Routes({"x": lambda state: result}), QUIET)
    assert isinstance(found, State)
    assert dict(found) == expected


def test_another_name_goes_to_the_default() -> None:
    """W50, W59: the name that was asked for is told, too."""
    recorder = Recorder()
    routes = Routes({"yes": mark("yes")}, default=mark("default handler"))
    found = process(State(), lambda state: "maybe", routes, ConditionalConfig(observer=recorder), name="c")
    assert found["route"] == "default handler"
    about = {"requested_route": "maybe", "is_default": True, "has_default": True}
    assert told(recorder)[1] == ("route.select", {"conditional": "c", "route": "default", **about})


def test_a_handler_that_is_called_default_can_be_told_from_the_default() -> None:
    """W59"""
    recorder = Recorder()
    routes = Routes({"default": mark("named")}, default=mark("the default"))
    found = process(State(), lambda state: "default", routes, ConditionalConfig(observer=recorder))
    assert found["route"] == "named"
    assert (recorder.events[1].data["route"], recorder.events[1].data["is_default"]) == ("default", False)


def test_a_name_without_route_or_default_is_an_error() -> None:
    """W51, W58: with an event that says so."""
    recorder = Recorder()
    with pytest.raises(ConditionalError) as caught:
        process(State(), lambda state: "X", LEVELS, ConditionalConfig(observer=recorder))
    expected = (
        "conditional routing failed for route 'X': route 'X' not found and no default handler; there are high, low"
    )
    assert str(caught.value) == expected
    assert caught.value.route == "X"
    assert recorder.types() == ["route.evaluate", "route.execute"]
    assert recorder.events[-1].data["error"] is True


def test_an_error_of_the_predicate_names_no_route() -> None:
    """W52, W56, W58"""
    cause, recorder, given = OSError("no data"), Recorder(), State()
    with pytest.raises(ConditionalError) as caught:
        process(given, failing(cause), LEVELS, ConditionalConfig(observer=recorder), name="c")
    assert str(caught.value) == "conditional routing failed: predicate evaluation failed: no data"
    assert (caught.value.route, caught.value.state, caught.value.__cause__) == ("", given, cause)
    assert told(recorder) == [
        ("route.evaluate", {"conditional": "c", "route_count": 2}),
        ("route.execute", {"conditional": "c", "route": "", "error": True}),
    ]


def test_an_error_of_the_handler_names_its_route() -> None:
    """W53, W56, W58"""
    cause, recorder, given = OSError("no data"), Recorder(), State()
    with pytest.raises(ConditionalError) as caught:
        process(given, lambda state: "r", Routes({"r": failing(cause)}), ConditionalConfig(observer=recorder))
    assert str(caught.value) == "conditional routing failed for route 'r': handler execution failed: no data"
    assert (caught.value.route, caught.value.state, caught.value.__cause__) == ("r", given, cause)
    assert recorder.types() == ["route.evaluate", "route.select", "route.execute"]
    assert recorder.events[-1].data["error"] is True


@pytest.mark.parametrize("answer", [True, None, 5, ["high"]])
def test_a_predicate_returns_a_name(answer: Any) -> None:
    with pytest.raises(ConditionalError, match="predicate evaluation failed: expected the name of a route, found"):
        process(State(), lambda state: answer, LEVELS, QUIET)


@pytest.mark.parametrize("part", ["predicate", "handler"])
def test_ctrl_c_passes_and_closes_the_events(part: str) -> None:
    """W54, W58"""

    def struck(state: Any) -> str:
        signal.raise_signal(signal.SIGINT)
        return "x"

    recorder = Recorder()
    predicate, handler = (struck, mark("x")) if part == "predicate" else ((lambda state: "x"), struck)
    with pytest.raises(KeyboardInterrupt) as caught:
        process(State(), predicate, Routes({"x": handler}), ConditionalConfig(observer=recorder))
    assert isinstance(caught.value.__cause__, ConditionalError)
    assert str(caught.value.__cause__).endswith("processing cancelled: KeyboardInterrupt")
    assert (recorder.types()[-1], recorder.events[-1].data["error"]) == ("route.execute", True)


async def test_a_cancellation_passes() -> None:
    """W54"""
    begun = asyncio.Event()

    async def predicate(state: Any) -> str:
        begun.set()
        await asyncio.Event().wait()
        return "x"

    task = asyncio.create_task(process(State(), predicate, LEVELS, QUIET))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert isinstance(caught.value.__cause__, ConditionalError)


def test_the_events_of_a_choice() -> None:
    """W55, W59"""
    recorder = Recorder()
    process(State({"value": 75}), level, LEVELS, ConditionalConfig(observer=recorder))
    assert {event.source for event in recorder.events} == {"conditional"}
    about = {"requested_route": "high", "is_default": False, "has_default": False}
    assert told(recorder) == [
        (type_, {"conditional": "level", **data})
        for type_, data in [
            ("route.evaluate", {"route_count": 2}),
            ("route.select", {"route": "high", **about}),
            ("route.execute", {"route": "high", "error": False}),
        ]
    ]


def test_an_unknown_observer_is_refused_as_by_every_workflow() -> None:
    """W57"""
    with pytest.raises(UnknownObserverError, match=r"^failed to resolve observer: unknown observer: nobody"):
        process(State(), level, LEVELS, ConditionalConfig(observer="nobody"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (({"x": None},), r"routes\['x'\]: expected a callable, found NoneType"),
        (({"x": "y"},), r"routes\['x'\]: expected a callable, found str"),
        (({}, "y"), "default: expected a callable, found str"),
        (({},), "routes: expected at least one handler, or a default"),
        (({5: level},), "the name of a route must be text, found int"),
        (([level],), "routes: expected a mapping of names to callables, found list"),
    ],
)
def test_routes_that_cannot_be_used_are_refused_when_they_are_made(arguments: Any, text: str) -> None:
    """W60"""
    with pytest.raises(ConfigError, match=text):
        Routes(*arguments)


def test_arguments_that_cannot_be_used_are_named() -> None:
    for arguments, text in [
        ((State(), "level", LEVELS), "predicate: expected a callable"),
        ((State(), level, {"high": level}), "routes: expected Routes, as in"),
        ((State(), level, LEVELS, {}), "config: expected a ConditionalConfig"),
    ]:
        with pytest.raises(ConfigError, match=text):
            process(*arguments)  # type: ignore[call-overload]


def test_routes_do_not_change_with_what_they_were_made_of() -> None:
    handlers = {"high": mark("high")}
    routes = Routes(handlers)
    handlers["low"] = mark("low")
    assert set(routes.handlers) == {"high"}


async def alevel(state: Any) -> str:
    await asyncio.sleep(0)
    return level(state)


def amark(name: str) -> Callable[[State], Any]:
    async def handler(state: State) -> dict[str, str]:
        await asyncio.sleep(0)
        return {"route": name}

    return handler


@pytest.mark.parametrize(
    ("predicate", "routes"),
    [
        (alevel, LEVELS),
        (level, Routes({"high": amark("high")})),
        (level, Routes({"high": mark("high"), "low": amark("low")})),
        (alevel, Routes({}, default=amark("high"))),
    ],
)
async def test_one_async_function_makes_the_whole_async(predicate: Any, routes: Any) -> None:
    running = process(State({"value": 75}), predicate, routes, QUIET)
    assert inspect.iscoroutine(running)
    assert (await running)["route"] == "high"


def test_a_plain_handler_that_returns_a_coroutine_is_told_to_be_async() -> None:
    handler = amark("x")

    def plain(state: State) -> Any:
        return handler(state)

    with pytest.raises(ConditionalError, match=r"the handler of route 'x' of conditional .* is not async"):
        process(State(), lambda state: "x", Routes({"x": plain}), QUIET)
