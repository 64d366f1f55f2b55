"""Nodes: what a callable expects is asked once, when it is added."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable
from types import MethodType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import Struct

from tau.checks import checked_name, checked_seconds, refused
from tau.config import Retry
from tau.errors import ConfigError, GraphError
from tau.graph.annotations import means_context
from tau.graph.inner import InnerGraphs
from tau.late_imports import load_module

if TYPE_CHECKING:
    from tau.graph.fingerprint import NodeFingerprint
    from tau.schema.schema import Reader, Schema

_Parameter = inspect.Parameter
_POSITIONAL = (_Parameter.POSITIONAL_ONLY, _Parameter.POSITIONAL_OR_KEYWORD)
_VARIABLE = (_Parameter.VAR_POSITIONAL, _Parameter.VAR_KEYWORD)


class Node(Struct, frozen=True, eq=False):
    """A callable of a graph, and how it is to be called.

    ``wants_context``: it takes a `Context` beside the state, as the second positional argument, or under the keyword
    ``context_name`` where that is not ``None``. ``timeout`` is in seconds, ``None`` for none. ``schema`` is what it
    may change, where the graph has one; ``reader`` makes what it is given instead of the state, where it asks for that.
    ``inside`` are the graphs that it consists of, ``None`` for a function. ``executor`` is where it is called, ``None``
    for where that is done without being asked for.
    """

    name: str
    function: Callable[..., Any]
    is_async: bool
    wants_context: bool
    context_name: str | None
    retry: Retry | None
    timeout: float | None
    idempotent: bool
    depends_on: tuple[Any, ...]
    quick: NodeFingerprint
    schema: Schema | None = None
    reader: Reader | None = None
    inside: InnerGraphs | None = None
    executor: str | None = None

    @property
    def fingerprint(self) -> NodeFingerprint:
        """What it was when it was added; ``quick`` is the same without syntax trees, for which sources are parsed."""
        load_module("tau.graph.fingerprint")
        from tau.graph.fingerprint import as_added

        return as_added(self.function, self.quick, self.depends_on)


def make_node(
    name: Any,
    function: Any,
    *,
    retry: Retry | None = None,
    timeout: float | None = None,
    idempotent: bool = False,
    version: str | int | None = None,
    depends_on: Iterable[Any] = (),
    executor: str | None = None,
    schema: Schema | None = None,
) -> Node:
    """A checked node. Raises `GraphError` for what cannot be a node, `ConfigError` for a bad option."""
    checked_name("node name", name, GraphError)
    if not callable(function):
        kind = type(function)
        is_agent = f"{kind.__module__}.{kind.__qualname__}" == "tau.agents.agent.Agent"
        more = '; give it agent.node("Summarise: {text}", into="summary")' if is_agent else ""
        raise GraphError(f"node {name}: expected a callable, found {kind.__name__}: {function!r:.80}{more}")
    if retry is not None and not isinstance(retry, Retry):
        raise ConfigError(f"node {name}: retry must be a tau.Retry, found {type(retry).__name__}: {retry!r:.80}")
    if not isinstance(idempotent, bool):
        raise ConfigError(f"node {name}: idempotent must be True or False, found {idempotent!r:.80}")
    if is_generator(function):
        raise GraphError(f"node {name} is a generator (it contains yield); return a mapping of changes instead")
    if type(function) is InnerGraphs:
        if timeout is not None:
            raise ConfigError(f"node {name}: a timeout is for one call; give it to the nodes inside")
        wants_context, context_name = False, None
    else:
        wants_context, context_name = _context(name, function)
    load_module("tau.graph.fingerprint")
    from tau.graph.fingerprint import of_node  # code is only looked at where there is some

    items = tuple(checked_depends_on(f"node {name}", depends_on))
    reader = reader_for(f"node {name}", function, schema)
    if executor is not None:
        _check_executor(name, function, executor, timeout, reads=reader is not None)
    return Node(
        name=name,
        function=function,
        is_async=is_async(function),
        wants_context=wants_context,
        context_name=context_name,
        retry=retry,
        timeout=None if timeout is None else checked_seconds(f"node {name}: timeout", timeout),
        idempotent=idempotent,
        depends_on=items,
        quick=of_node(function, checked_version(f"node {name}", version), items, trees=False),
        inside=function.under(schema) if type(function) is InnerGraphs else None,
        schema=schema,
        reader=reader,
        executor=executor,
    )


EXECUTORS: Final = ("inline", "threads", "processes")
"""Where a node may be called."""


def _check_executor(name: str, function: Any, executor: Any, timeout: Any, *, reads: bool) -> None:
    where = f"node {name}: executor"
    if not isinstance(executor, str) or executor not in EXECUTORS:
        raise refused(where, executor, f"one of {', '.join(map(repr, EXECUTORS))}, or None")
    if getattr(type(function), "asks", False):
        raise ConfigError(f"{where}: a pause_node runs nothing, so it has none")
    if type(function) is InnerGraphs:
        raise ConfigError(f"{where}: it is for one function; give it to the nodes inside")
    if executor != "processes" and is_async(function):
        raise ConfigError(f"{where}: an async node is called in its event loop, or in 'processes', not {executor!r}")
    if executor == "inline" and timeout is not None:
        raise ConfigError(f"{where}: 'inline' has no timeout, as nothing can end a call in the caller's own thread")
    if executor == "processes" and reads:
        raise ConfigError(f"{where}: a node in another process is given the state; take that, and read its fields")


def is_async(function: Any) -> bool:
    """Whether calling it gives a coroutine; looks through partials, bound methods and callable instances."""
    return _is(inspect.iscoroutinefunction, function)


def _is(kind: Callable[[Any], bool], function: Any) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return kind(function) or (not inspect.isroutine(function) and kind(getattr(function, "__call__", None)))  # noqa: B004


def is_generator(function: Any) -> bool:
    """Whether calling it gives a generator, sync or async."""
    return _is(inspect.isgeneratorfunction, function) or _is(inspect.isasyncgenfunction, function)


def checked_version(where: str, version: Any) -> str | None:
    """``version`` as text. Raises `GraphError` for what cannot be one."""
    if version is None:
        return None
    if isinstance(version, bool) or not isinstance(version, (str, int)) or version == "":
        raise GraphError(f"{where}: version must be text or an integer, found {version!r:.80}")
    return str(version)


def checked_depends_on(where: str, depends_on: Any) -> Iterable[Any]:
    """``depends_on`` if it is a list or the like. Raises `GraphError`."""
    if isinstance(depends_on, str) or not isinstance(depends_on, Iterable):
        raise GraphError(f"{where}: depends_on must be a list, found {depends_on!r:.80}")
    return depends_on


# Does it want a Context, and where?


def reader_for(where: str, function: Any, schema: Schema | None) -> Reader | None:
    """What makes the instance that a function asks for instead of the state, if it asks for one. Raises `GraphError`
    where none can be made."""
    if schema is None:
        return None
    load_module("tau.graph.typed_states")
    from tau.graph.typed_states import reader_of  # only loaded where there is a schema

    try:
        return reader_of(_first(function), schema)
    except GraphError as error:
        raise GraphError(f"{where}: {error}") from None


def _first(function: Any) -> tuple[Any, Any] | None:
    """The annotation of the parameter that takes the state, and the function in whose source it stands."""
    try:
        parameters = list(_signature(function).parameters.values())
    except (ValueError, TypeError):
        parameters = []
    first = next((one for one in parameters if one.kind in _POSITIONAL), None)
    if first is not None:
        return None if first.annotation is _Parameter.empty else (first.annotation, _written(function))
    inside = _inside(function)
    return None if inside is None else _first(inside)


def _context(name: str, function: Any) -> tuple[bool, str | None]:
    """(wants it, by which keyword). Raises `GraphError` when it cannot be called with a state (and a context)."""
    try:
        wanted = _wanted(function)
    except GraphError as error:
        raise GraphError(f"node {name}: {error}") from None
    return wanted is not None, None if wanted is None or wanted.positional else wanted.name


class _Wanted(NamedTuple):
    """How a callable takes a context: as the second positional argument, or by this keyword; perhaps either way."""

    positional: bool
    name: str


def _wanted(function: Any) -> _Wanted | None:
    """What is really called decides: a wrapper's own parameters, and what it wraps only where it passes on all that it
    is given."""
    inside = _inside(function)
    try:
        parameters = list(_signature(function).parameters.values())
    except (ValueError, TypeError):  # many callables in C do not say
        return None if inside is None else _wanted(inside)
    kinds = {one.kind for one in parameters}
    named = [one for one in parameters if one.kind in _POSITIONAL]
    found = _own(function, parameters, named)
    if found is not None or inside is None or not kinds & {_Parameter.VAR_POSITIONAL, _Parameter.VAR_KEYWORD}:
        return found
    found = _wanted(inside)
    if found is None or (found.positional and len(named) < 2 and _Parameter.VAR_POSITIONAL in kinds):
        return found
    return _Wanted(False, found.name) if found.name and _Parameter.VAR_KEYWORD in kinds else None


def _own(function: Any, parameters: list[_Parameter], positional: list[_Parameter]) -> _Wanted | None:
    if not positional and not any(one.kind is _Parameter.VAR_POSITIONAL for one in parameters):
        raise GraphError(f"it takes no argument, it must take the state: def {_label(function)}(state)")
    second = positional[1] if len(positional) > 1 else None
    others = [one for one in parameters if one not in positional[:1] and one.kind not in _VARIABLE]
    by_place = second if second is not None and second.default is _Parameter.empty else None
    chosen = next((one for one in others if one is not by_place and _is_context(one, function)), None)
    if chosen is None or (by_place is not None and _names_it(by_place, function)):
        chosen = by_place
    missing = [one.name for one in others if one.default is _Parameter.empty and one is not chosen]
    if missing:
        raise GraphError(
            f"nothing supplies its parameter{'s' * (len(missing) > 1)} {', '.join(missing)}; it gets the state, or the "
            "state and a Context. Bind other arguments with functools.partial or give them defaults"
        )
    if chosen is None:
        return None
    return _Wanted(chosen is second, "" if chosen.kind is _Parameter.POSITIONAL_ONLY else chosen.name)


def _names_it(parameter: _Parameter, function: Any) -> bool:
    try:
        return _is_context(parameter, function)
    except GraphError:
        return False


def _label(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _inside(function: Any) -> Any:
    """What a wrapper wraps, with what partials and methods bind to it; ``None`` for what wraps nothing."""
    if isinstance(function, functools.partial):
        inside = _inside(function.func)
        return None if inside is None else functools.partial(inside, *function.args, **function.keywords)
    if isinstance(function, MethodType):
        inside = _inside(function.__func__)
        return None if inside is None else functools.partial(inside, function.__self__)
    inside = getattr(function, "__wrapped__", None)
    return inside if callable(inside) else None


def _signature(function: Any) -> inspect.Signature:
    if sys.version_info >= (3, 14):
        load_module("annotationlib")
        import annotationlib

        form = annotationlib.Format.FORWARDREF
        return inspect.signature(function, follow_wrapped=False, annotation_format=form)
    return inspect.signature(function, follow_wrapped=False)


def _is_context(parameter: _Parameter, function: Any) -> bool:
    return parameter.annotation is not _Parameter.empty and means_context(parameter.annotation, _written(function))


def _written(function: Any) -> Any:
    """The function in whose source the annotations of a callable stand."""
    while isinstance(function, functools.partial):
        function = function.func
    function = getattr(function, "__func__", function)
    return function if hasattr(function, "__globals__") else getattr(type(function), "__call__", function)  # noqa: B004
