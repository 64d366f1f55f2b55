"""Which edge a run takes: the first that holds, or the one that a route answers with."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from tau.errors import TauError
from tau.events import EDGE_EVALUATE, EDGE_TRANSITION, text_of
from tau.graph.edges import END, MANY, Edge, Route
from tau.predicates import KeyExists, keys_of, predicate_name
from tau.state import State, view
from tau.values.stored import make

_SHOWN = 10
_DECIDES = "it only decides; let a node return the change"


class NoTransition(Exception):
    """No edge leads on; its text is the whole verdict."""


def choose(edges: Sequence[Edge], given: tuple[dict[str, Any], str, str, float], tried: list[Edge], name: str) -> Edge:
    """The first edge that holds, or that the route names; those looked at are added to ``tried``. ``given`` is what
    `view` makes the state of that the predicates, or the route, are called with."""
    if edges and edges[0].route is not None:
        tried.append(_ask(edges[0].route, edges, view(*given)))
        return tried[-1]
    state: State | None = None
    chosen: Edge | None = None
    for edge in edges:
        tried.append(edge)
        predicate = edge.predicate
        if predicate is None:
            chosen = edge
            break
        if type(predicate) is KeyExists:  # the only kind that needs no state
            if predicate.key in given[0]:
                chosen = edge
                break
            continue
        if state is None:
            state = view(*given)
        try:
            if predicate(state if edge.reader is None else edge.reader.instance(state)):
                chosen = edge
                break
        except Exception as error:
            raise NoTransition(f"the predicate of {_labelled(edge)} failed: {text_of(error)}") from error
    if state is not None and state._visit is not None:
        _check_predicates(tried, state)
    if chosen is not None:
        return chosen
    if tried:
        raise NoTransition(f"no valid transition from node {name}: {_asked(edges, view(*given))}")
    raise NoTransition(f"node {name} has no outgoing edges and is not an exit point")


def _ask(route: Route, edges: Sequence[Edge], state: State) -> Edge:
    try:
        answer = route.function(state if route.reader is None else route.reader.instance(state))
    except Exception as error:
        raise failed(route, error) from error
    check_unchanged(route, state)
    if inspect.isawaitable(answer):
        getattr(answer, "close", lambda: None)()
        raise NoTransition(
            f"{_named(route)} is not async and returned what has to be awaited ({type(answer).__name__}); write it "
            "with async def"
        )
    return answered(route, edges, answer)


def answered(route: Route, edges: Sequence[Edge], answer: Any) -> Edge:
    """The edge that an answer of the route leads along."""
    if isinstance(answer, list | tuple | set | frozenset):
        raise NoTransition(f"{_named(route)} answered with several nodes ({type(answer).__name__}), {MANY}")
    targets = route.targets
    with suppress(Exception):  # it cannot be a key
        if targets is None:
            found = next((edge for edge in edges if isinstance(answer, str) and edge.target == answer), None)
        else:
            found = next((edges[at] for at, key in enumerate(targets) if key in {answer}), None)
        if found is not None:
            return found
    ways = [edge.name if targets is None else f"{edge.name} -> {edge.target}".replace(END, "END") for edge in edges]
    more = f" and {len(ways) - _SHOWN} more" if len(ways) > _SHOWN else ""
    kind = "" if answer is None or isinstance(answer, str) else f" ({type(answer).__name__})"
    said = f"{reprlib.repr(answer)}{kind}"
    raise NoTransition(f"{_named(route)} answered {said}; the answers there are: {', '.join(ways[:_SHOWN])}{more}")


def check_unchanged(route: Route, state: State) -> None:
    """Raise where a route changed a value of the state in place: nothing would be stored of it."""
    if (key := _changed(state)) is not None:
        raise NoTransition(f"{_named(route)} changed state[{key!r}] in place, which a route cannot: {_DECIDES}")


def _check_predicates(tried: Sequence[Edge], state: State) -> None:
    """The same for the predicates of these edges, which were given one state."""
    if (key := _changed(state)) is not None:
        asked = [
            _labelled(edge) for edge in tried if edge.predicate is not None and type(edge.predicate) is not KeyExists
        ]
        who = f"the predicate of {asked[0]}" if len(asked) == 1 else f"a predicate of {', '.join(asked)}"
        raise NoTransition(f"{who} changed state[{key!r}] in place, which a predicate cannot: {_DECIDES}")


def _changed(state: State) -> str | None:
    """The key of a value that was read and is no longer what the state holds."""
    for cell, (key, value) in list(state._visit.opened.items()) if state._visit is not None else ():
        try:
            is_same = make(key, value, cell, None) is None
        except TauError:
            is_same = False
        if not is_same:
            return key
    return None


def failed(route: Route, error: Exception) -> NoTransition:
    """What a route that raises means for the run."""
    return NoTransition(f"{_named(route)} failed: {text_of(error) or type(error).__name__}")


def _labelled(edge: Edge) -> str:
    return f"edge {edge.source} -> {edge.target}{f' ({edge.name})' if edge.name else ''}"


def _named(route: Route) -> str:
    name = "" if route.name == "<lambda>" else f" {route.name}"
    return f"the route{name} of node {route.source}"


def told(name: str, chosen: Edge | None, tried: Sequence[Edge]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events that tell of a choice."""
    for edge in tried:
        yield EDGE_EVALUATE, {**_where(name, edge), "has_predicate": edge.predicate is not None}
    if chosen is not None:
        about = {"predicate_name": chosen.name or "", "predicate_result": True}
        yield EDGE_TRANSITION, {**_where(name, chosen), **about}


def _where(name: str, edge: Edge) -> dict[str, Any]:
    route = {} if edge.route is None else {"route": edge.route.name}
    return {"from": name, "to": edge.target, "edge_index": edge.index, **route}


def _asked(edges: Sequence[Edge], state: State) -> str:
    """Which conditions did not hold, and the keys they look at."""
    names = [f"{edge.target} if {_condition(edge)}" for edge in edges[:_SHOWN]]
    more = f" and {len(edges) - _SHOWN} more" if len(edges) > _SHOWN else ""
    text = f"none of its conditions holds ({', '.join(names)}{more})"
    keys = keys_of(edge.predicate for edge in edges)
    there, missing = [repr(key) for key in keys if key in state], [repr(key) for key in keys if key not in state]
    text += f"; the state has {', '.join(there)}" if there else ""
    text += f"; the state lacks {', '.join(missing)}" if missing else ""
    return f"{text}; add an edge without a condition for all other cases"


def _condition(edge: Edge) -> str:
    what = predicate_name(edge.predicate)
    return f"{what} [{edge.name}]" if edge.name and edge.name != what else what
