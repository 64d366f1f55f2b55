"""`process_conditional`: a predicate chooses one of several handlers by name."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, NoReturn, TypeVar, overload

from tau.checks import checked_name, put, refused
from tau.errors import ConditionalError, ConfigError
from tau.events import ROUTE_EVALUATE, ROUTE_EXECUTE, ROUTE_SELECT
from tau.graph.nodes import is_async
from tau.spelling import names_keywords
from tau.state import State
from tau.workflows.config import ConditionalConfig
from tau.workflows.driving import Work, drive, drive_async, not_async
from tau.workflows.surroundings import Surroundings, breaks_off, checked_config, checked_function, name_of, said

S = TypeVar("S")
R = TypeVar("R")

DEFAULT = "default"
"""What events call the default handler."""


@dataclass(frozen=True, slots=True, eq=False)
class Routes(Generic[S, R]):
    """Handlers by name, and the ``default`` for any other name, ``None`` for none.

    A handler is called with the state. Raises `ConfigError` for what cannot be called, for names that are not text, and
    if there is no handler at all.

    >>> from tau import Routes
    >>> routes = Routes({"even": lambda state: {"half": state["n"] // 2}}, default=lambda state: None)
    """

    handlers: Mapping[str, Callable[[S], R]] = field(default_factory=dict)
    default: Callable[[S], R] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.handlers, Mapping):
            raise refused("routes", self.handlers, "a mapping of names to callables")
        for name, handler in self.handlers.items():
            checked_function(f"routes[{checked_name('the name of a route', name)!r}]", handler)
        if self.default is not None:
            checked_function("default", self.default)
        elif not self.handlers:
            raise ConfigError("routes: expected at least one handler, or a default")
        put(self, "handlers", MappingProxyType(dict(self.handlers)))

    @property
    def is_async(self) -> bool:
        """Whether a handler is. Raises nothing."""
        return is_async(self.default) or any(map(is_async, self.handlers.values()))


@overload
def process_conditional(
    state: S,
    predicate: Callable[[S], Coroutine[Any, Any, str]],
    routes: Routes[S, Any],
    config: ConditionalConfig | None = None,
    *,
    name: str | None = None,
) -> Coroutine[Any, Any, Any]: ...
@overload
def process_conditional(
    state: S,
    predicate: Callable[[S], str],
    routes: Routes[S, Coroutine[Any, Any, R]],
    config: ConditionalConfig | None = None,
    *,
    name: str | None = None,
) -> Coroutine[Any, Any, R]: ...
@overload
def process_conditional(
    state: S,
    predicate: Callable[[S], str],
    routes: Routes[S, R],
    config: ConditionalConfig | None = None,
    *,
    name: str | None = None,
) -> R: ...
@names_keywords
def process_conditional(
    state: Any,
    predicate: Callable[[Any], Any],
    routes: Routes[Any, Any],
    config: ConditionalConfig | None = None,
    *,
    name: str | None = None,
) -> Any:
    """Call the handler whose name ``predicate(state)`` returns, or the default one, with ``state``; return what it
    returns.

    If ``state`` is a `tau.State`, handlers may return what nodes return: a mapping of changes is merged into it, and
    ``None`` leaves it as it is. If the predicate or any handler is async, this returns a coroutine to be awaited.
    ``name`` is what events call the choice, by default the name of ``predicate``.

    Raises `ConditionalError` if the predicate or the handler raises, if the predicate does not return text, and if
    there is no such route and no default. Ctrl-C, a cancellation and a stop of the run around this are raised as they
    are (a stop as `RunInterruptedError`, before the predicate or between it and the handler), with a `ConditionalError`
    as their ``__cause__``, unless they had a cause. Arguments that cannot be used raise `ConfigError`, an observer that
    is not registered `UnknownObserverError`.

    >>> from tau import Routes, State, process_conditional
    >>> routes = Routes({"even": lambda state: {"half": state["n"] // 2}}, default=lambda state: None)
    >>> process_conditional(State({"n": 8}), lambda state: "even" if state["n"] % 2 == 0 else "odd", routes)["half"]
    4
    """
    checked_choice(predicate, routes)
    found = checked_config(config, ConditionalConfig)
    return _run(_Choice(state, predicate, routes, found, name), lambda result: _as_of_node(state, result))


def choose(state: Any, predicate: Any, routes: Routes[Any, Any], config: ConditionalConfig, name: str | None) -> Any:
    """`process_conditional`, with what the handler returns as it is."""
    return _run(_Choice(state, predicate, routes, config, name), lambda result: result)


def checked_choice(predicate: Any, routes: Any) -> None:
    """Raises `ConfigError` for what cannot be called, and for what are not `Routes`."""
    checked_function("predicate", predicate)
    if not isinstance(routes, Routes):
        raise refused("routes", routes, 'Routes, as in Routes({"approve": function}, default=another)')


def _run(choice: _Choice, end: Callable[[Any], Any]) -> Any:
    around = choice.around
    if choice.is_async:

        async def run() -> Any:
            return end(await drive_async(around, choice.work(), lambda _, function, state: function(state)))

        return run()

    def call(what: str, function: Callable[[Any], Any], state: Any) -> Any:
        return not_async(f"{what} of conditional {around.name!r}", function(state))

    return end(drive(around, choice.work(), call))


def _as_of_node(state: Any, result: Any) -> Any:
    if isinstance(state, State) and not isinstance(result, State):
        if result is None:
            return state
        if isinstance(result, Mapping):
            return state.merge(result)
    return result


class _Choice:
    """One choice at work: what was asked for, and which route that is."""

    def __init__(
        self, state: Any, predicate: Any, routes: Routes[Any, Any], config: ConditionalConfig, name: str | None
    ) -> None:
        self.around = Surroundings("conditional", "conditional", name_of(predicate, name), config.observer)
        self.is_async = is_async(predicate) or routes.is_async
        self._state, self._predicate, self._routes = state, predicate, routes
        self._requested = self._route = ""
        self._doing = "cancelled before evaluation"

    def work(self) -> Work[Any]:
        """Yields what is called, its function and its argument, first the predicate, then the handler."""
        tell, has_begun = self.around.tell, False
        try:
            self.around.check_stop()
            has_begun = True
            tell(ROUTE_EVALUATE, {"route_count": len(self._routes.handlers)})
            self._doing = "predicate evaluation failed"
            handler = self._handler((yield "the predicate", self._predicate, self._state))
            self._doing = "cancelled before the handler"
            self.around.check_stop()
            self._doing = "handler execution failed"
            result = yield f"the handler of route {self._route!r}", handler, self._state
        except BaseException as error:
            if has_begun:
                tell(ROUTE_EXECUTE, {"route": self._route, "error": True})
            self._fail(error)
        tell(ROUTE_EXECUTE, {"route": self._route, "error": False})
        return result

    def _handler(self, requested: Any) -> Callable[[Any], Any]:
        """What was chosen, which is told."""
        if not isinstance(requested, str):
            found = f"{type(requested).__name__}: {requested!r:.80}"
            raise TypeError(f"expected the name of a route, found {found}")
        self._requested = self._route = requested
        self._doing = ""
        handler, default = self._routes.handlers.get(requested), self._routes.default
        is_default = handler is None
        if is_default:
            if default is None:
                known = ", ".join(sorted(self._routes.handlers))
                raise LookupError(f"route {requested!r} not found and no default handler; there are {known}")
            handler, self._route = default, DEFAULT
        about = {"requested_route": requested, "is_default": is_default, "has_default": default is not None}
        self.around.tell(ROUTE_SELECT, {"route": self._route, **about})
        assert handler is not None
        return handler

    def _fail(self, error: BaseException) -> NoReturn:
        why = f"{self._doing}: {said(error)}" if self._doing else said(error)
        if breaks_off(error) and not self._doing.startswith("cancelled"):
            why = f"processing cancelled: {said(error)}"
        where = f" for route {self._requested!r}" if self._requested else ""
        failure = ConditionalError(
            f"conditional routing failed{where}: {why}", route=self._requested, state=self._state
        )
        try:
            self.around.end_with(failure, error)
        finally:
            del error, failure  # no cycle through their own tracebacks
