"""Nodes and edges: what a callable expects is asked once, when it is added."""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tau.config import Retry, checked_name, checked_seconds
from tau.errors import ConfigError, GraphError
from tau.graph.fingerprint import NodeFingerprint, of_node
from tau.predicates import Condition

_Parameter = inspect.Parameter
_POSITIONAL = (_Parameter.POSITIONAL_ONLY, _Parameter.POSITIONAL_OR_KEYWORD)
_CONTEXT_NAMES = frozenset({"Context", "tau.Context", "tau.context.Context", "tau.node.context.Context"})


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A callable of a graph, and how it is to be called.

    ``wants_context``: it takes a `Context` beside the state, as the second positional argument, or under the keyword
    ``context_name`` where that is not ``None``. ``timeout`` is in seconds, ``None`` for none.
    """

    name: str
    function: Callable[..., Any]
    is_async: bool
    wants_context: bool
    context_name: str | None
    retry: Retry | None
    timeout: float | None
    idempotent: bool
    fingerprint: NodeFingerprint


@dataclass(frozen=True, slots=True, eq=False)
class Edge:
    """A way from one node to another; ``index`` is its place among the edges of its source, 0 being tried first."""

    source: str
    target: str
    predicate: Condition | None
    name: str
    index: int


def make_node(
    name: Any,
    function: Any,
    *,
    retry: Retry | None = None,
    timeout: float | None = None,
    idempotent: bool = False,
    version: str | int | None = None,
    depends_on: Iterable[Any] = (),
) -> Node:
    """A checked node. Raises `GraphError` for what cannot be a node, `ConfigError` for a bad ``timeout``."""
    checked_name("node name", name, GraphError)
    if not callable(function):
        raise GraphError(f"node {name}: expected a callable, found {type(function).__name__}: {function!r:.80}")
    if retry is not None and not isinstance(retry, Retry):
        raise ConfigError(f"node {name}: retry must be a tau.Retry, found {type(retry).__name__}: {retry!r:.80}")
    if not isinstance(idempotent, bool):
        raise ConfigError(f"node {name}: idempotent must be True or False, found {idempotent!r:.80}")
    _refuse_generators(name, function)
    wants_context, context_name = _context(name, function)
    return Node(
        name=name,
        function=function,
        is_async=is_async(function),
        wants_context=wants_context,
        context_name=context_name,
        retry=retry,
        timeout=None if timeout is None else checked_seconds(f"node {name}: timeout", timeout),
        idempotent=idempotent,
        fingerprint=of_node(function, _version(name, version), _items(name, depends_on)),
    )


def is_async(function: Any) -> bool:
    """Whether calling it gives a coroutine; looks through partials, bound methods and callable instances."""
    return _is(inspect.iscoroutinefunction, function)


def _is(kind: Callable[[Any], bool], function: Any) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return kind(function) or (not inspect.isroutine(function) and kind(getattr(function, "__call__", None)))  # noqa: B004


def _refuse_generators(name: str, function: Any) -> None:
    if _is(inspect.isgeneratorfunction, function) or _is(inspect.isasyncgenfunction, function):
        raise GraphError(f"node {name} is a generator (it contains yield); return a mapping of changes instead")


def _version(name: str, version: Any) -> str | None:
    if version is None:
        return None
    if isinstance(version, bool) or not isinstance(version, (str, int)) or version == "":
        raise GraphError(f"node {name}: version must be text or an integer, found {version!r:.80}")
    return str(version)


def _items(name: str, depends_on: Any) -> Iterable[Any]:
    if isinstance(depends_on, str) or not isinstance(depends_on, Iterable):
        raise GraphError(f"node {name}: depends_on must be a list, found {depends_on!r:.80}")
    return depends_on


# Does it want a Context, and where?


def _context(name: str, function: Any) -> tuple[bool, str | None]:
    """(wants it, by which keyword). Raises `GraphError` when it cannot be called with a state (and a context)."""
    try:
        parameters = list(_signature(function).parameters.values())
    except (ValueError, TypeError):  # many functions in C do not say
        return False, None
    positional = [one for one in parameters if one.kind in _POSITIONAL]
    if not positional and not any(one.kind is _Parameter.VAR_POSITIONAL for one in parameters):
        raise GraphError(f"node {name} takes no argument, it must take the state: def {_label(function)}(state)")
    chosen = next((one for one in parameters if one not in positional[:1] and _is_context(one, function)), None)
    if chosen is None and len(positional) > 1 and positional[1].default is _Parameter.empty:
        chosen = positional[1]
    missing = [
        one.name
        for one in parameters
        if one.default is _Parameter.empty
        and one.kind not in (_Parameter.VAR_POSITIONAL, _Parameter.VAR_KEYWORD)
        and one not in positional[:1]
        and one is not chosen
    ]
    if missing:
        raise GraphError(
            f"node {name}: nobody would give it {', '.join(missing)}; it gets the state, or the state and a Context. "
            "Bind other arguments with functools.partial or give them defaults"
        )
    if chosen is None:
        return False, None
    return True, None if len(positional) > 1 and chosen is positional[1] else chosen.name


def _label(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _signature(function: Any) -> inspect.Signature:
    if sys.version_info >= (3, 14):
        import annotationlib

        return inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(function)


def _is_context(parameter: inspect.Parameter, function: Any) -> bool:
    if parameter.annotation is _Parameter.empty or parameter.kind in (
        _Parameter.VAR_POSITIONAL,
        _Parameter.VAR_KEYWORD,
    ):
        return False
    return _names_context(parameter.annotation, _globals(function))


def _globals(function: Any) -> dict[str, Any]:
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    found = function if hasattr(function, "__globals__") else getattr(function, "__func__", type(function).__call__)
    names: dict[str, Any] = getattr(found, "__globals__", {})
    return names


def _names_context(annotation: Any, names: dict[str, Any]) -> bool:
    """Whether an annotation means tau's `Context`, or a union with it; it may be text, whose names need not exist."""
    text = getattr(annotation, "__forward_arg__", annotation)
    if isinstance(text, str):
        text = text.strip().removeprefix("typing.").removeprefix("Optional[").removesuffix("]")
        return any(_text_names_context(part.strip().strip("'\""), names) for part in text.split("|"))
    if isinstance(annotation, type):
        module = annotation.__module__
        return annotation.__name__ == "Context" and (module == "tau" or module.startswith("tau."))
    return any(_names_context(part, names) for part in typing.get_args(annotation))


def _text_names_context(text: str, names: dict[str, Any]) -> bool:
    first, *rest = text.split(".")
    if first not in names:
        return text in _CONTEXT_NAMES
    found = names[first]
    for part in rest:
        found = getattr(found, part, None)
    return isinstance(found, type) and _names_context(found, names)
