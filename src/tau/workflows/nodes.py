"""Workflows as nodes of a graph: `chain_node`, `parallel_node` and `conditional_node`.

A node is a frozen object that holds the functions given for it, so that the fingerprint of the graph covers them.
Items and an initial state that are given as data count, too. How the work is done (the configuration) does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from tau.checks import checked_name, refused
from tau.errors import (
    ChainError,
    ConditionalError,
    ConfigError,
    GraphChangedError,
    LeaseLostError,
    ParallelError,
    StoreError,
)
from tau.graph.nodes import is_async
from tau.late_imports import load_module
from tau.observers import resolve_observer
from tau.spelling import names_keywords
from tau.state import State
from tau.workflows.chain import ChainResult, process_chain
from tau.workflows.conditional import Routes, checked_choice, choose
from tau.workflows.config import INHERIT, ChainConfig, ConditionalConfig, ParallelConfig, WorkflowConfig
from tau.workflows.outcomes import ParallelResult
from tau.workflows.parallel import process_parallel
from tau.workflows.surroundings import breaks_off, checked_config, checked_function, checked_progress, name_of, said

C = TypeVar("C", bound=WorkflowConfig)
Changes = Mapping[str, Any] | State | None
"""What a node returns."""


class _Manner:
    """How a workflow works, as opposed to what it does: no part of a fingerprint, as it is no plain data."""

    __slots__ = ("config", "name", "progress")

    def __init__(self, config: Any, name: str, progress: Callable[..., object] | None = None) -> None:
        self.config, self.name, self.progress = config, name, progress


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ChainNode:
    """A chain as a node; see `chain_node`."""

    items: Any
    initial: Any
    step: Callable[[Any, Any], Any]
    into: str
    manner: _Manner

    def __call__(self, state: State) -> Any:
        try:
            return self.changes(self.run(state))
        except Exception as error:
            if _passes(error):
                raise
            raise _chain_error(error) from error

    def __repr__(self) -> str:
        return f"<chain_node {self.manner.name!r}>"

    def run(self, state: State) -> Any:
        manner = self.manner
        items, initial = _of(self.items, state), _of(self.initial, state)
        return process_chain(items, initial, self.step, manner.config, manner.progress, name=manner.name)

    def changes(self, result: ChainResult[Any]) -> Changes:
        return result.final if isinstance(result.final, State) else {self.into: result.final}


class AsyncChainNode(ChainNode):
    """A chain with an async step as a node."""

    __slots__ = ()

    async def __call__(self, state: State) -> Any:
        try:
            return self.changes(await self.run(state))
        except Exception as error:
            if _passes(error):
                raise
            raise _chain_error(error) from error


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ParallelNode:
    """A parallel map as a node; see `parallel_node`."""

    items: Any
    task: Callable[[Any], Any]
    aggregate: Callable[[ParallelResult[Any], State], Changes] | None
    into: str
    manner: _Manner

    def __call__(self, state: State) -> Any:
        try:
            return self.changes(self.run(state), state)
        except Exception as error:
            if _passes(error):
                raise
            raise _parallel_error(error) from error

    def __repr__(self) -> str:
        return f"<parallel_node {self.manner.name!r}>"

    def run(self, state: State) -> Any:
        manner = self.manner
        return process_parallel(_of(self.items, state), self.task, manner.config, manner.progress, name=manner.name)

    def changes(self, result: ParallelResult[Any], state: State) -> Changes:
        return {self.into: result.results} if self.aggregate is None else self.aggregate(result, state)


class AsyncParallelNode(ParallelNode):
    """A parallel map of an async task as a node."""

    __slots__ = ()

    async def __call__(self, state: State) -> Any:
        try:
            result = await self.run(state)
            if self.aggregate is None:
                load_module("tau.workflows.tasks")
                from tau.workflows.tasks import read_whole  # asyncio is only loaded where something needs it

                await read_whole(result)
            return self.changes(result, state)
        except Exception as error:
            if _passes(error):
                raise
            raise _parallel_error(error) from error


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ConditionalNode:
    """A choice as a node; see `conditional_node`."""

    predicate: Callable[[Any], Any]
    routes: Routes[Any, Any]
    manner: _Manner

    def __call__(self, state: State) -> Any:
        try:
            return self.run(state)
        except Exception as error:
            if _passes(error):
                raise
            raise _conditional_error(error) from error

    def __repr__(self) -> str:
        return f"<conditional_node {self.manner.name!r}>"

    def run(self, state: State) -> Any:
        return choose(state, self.predicate, self.routes, self.manner.config, self.manner.name)


class AsyncConditionalNode(ConditionalNode):
    """A choice as a node whose predicate or one of whose handlers is async."""

    __slots__ = ()

    async def __call__(self, state: State) -> Any:
        try:
            return await self.run(state)
        except Exception as error:
            if _passes(error):
                raise
            raise _conditional_error(error) from error


@names_keywords
def chain_node(
    items: Iterable[Any] | Callable[[State], Iterable[Any]],
    initial: Any,
    step: Callable[[Any, Any], Any],
    config: ChainConfig | None = None,
    progress: Callable[[int, int | None, Any], object] | None = None,
    *,
    into: str = "chain_result",
    name: str | None = None,
) -> Callable[[State], Any]:
    """`process_chain` as a node: ``graph.add_node("fit", chain_node(items, initial, step))``.

    ``items`` and ``initial`` are values, or functions of the state that give them. The last state of the chain is put
    into the state of the graph under the key ``into``; if it is a `tau.State`, as in a chain that begins with
    ``lambda state: state``, the node returns that. The node is async if ``step`` is. A failure is a `ChainError`,
    whose cause is that of the chain. The observer is looked up here, and is that of the run by default.

    The fingerprint of the graph covers ``step``, ``items`` and ``initial``. Raises `ConfigError` for what cannot be
    used, also for an iterator, which could be used once only, and for text, and `UnknownObserverError`.

    >>> from tau import StateGraph, chain_node
    >>> graph = StateGraph("total", store="sqlite:///tau.db")
    >>> total = chain_node(lambda state: state["rows"], 0, lambda row, total: total + row, into="total")
    >>> graph.add_node("total", total)
    >>> graph.sequence("total")
    >>> graph.execute({"rows": [1, 2, 3]})["total"]
    6
    """
    checked_function("step", step)
    checked_progress(progress)
    manner = _Manner(_resolved(checked_config(config, ChainConfig)), name_of(step, name), progress)
    kind = AsyncChainNode if is_async(step) else ChainNode
    return kind(_checked_items(items, "chain_node"), initial, step, checked_name("into", into), manner)


@names_keywords
def parallel_node(
    items: Iterable[Any] | Callable[[State], Iterable[Any]],
    task: Callable[[Any], Any],
    config: ParallelConfig | None = None,
    progress: Callable[[int, int | None, Any], object] | None = None,
    *,
    aggregate: Callable[[ParallelResult[Any], State], Changes] | None = None,
    into: str = "parallel_result",
    name: str | None = None,
) -> Callable[[State], Any]:
    """`process_parallel` as a node: ``graph.add_node("fit", parallel_node(items, task))``.

    ``items`` are a list, or a function of the state that gives them. ``aggregate(result, state)`` is given the whole
    `ParallelResult`, failures included, and returns what a node returns (``for value in result`` reads the results one
    by one); without it the list of results is put into the state under the key ``into``. The node is async if ``task``
    is. A failure is a `ParallelError`, whose cause is that of the map. The observer is looked up here, and is that of
    the run by default.

    The fingerprint of the graph covers ``task``, ``items`` and ``aggregate``. Raises `ConfigError` for what cannot be
    used: also for an iterator, which could be used once only, for text, for an async ``aggregate``, and for
    failures that are collected (``fail_fast=False``) without an ``aggregate`` that is given them. Raises
    `UnknownObserverError`.

    >>> from tau import StateGraph, parallel_node
    >>> graph = StateGraph("squares", store="sqlite:///tau.db")
    >>> graph.add_node("square", parallel_node(lambda state: state["rows"], lambda n: n * n, into="squares"))
    >>> graph.sequence("square")
    >>> graph.execute({"rows": [1, 2, 3]})["squares"]
    [1, 4, 9]
    """
    checked_function("task", task)
    checked_progress(progress)
    found = _resolved(checked_config(config, ParallelConfig))
    if aggregate is not None:
        checked_function("aggregate", aggregate)
        if is_async(aggregate):
            raise refused("aggregate", aggregate, "a callable that is not async")
    elif not found.fail_fast:
        raise ConfigError(
            "fail_fast: False without aggregate= would lose the failures; give aggregate=function(result, state), "
            "which finds them in result.errors"
        )
    manner = _Manner(found, name_of(task, name), progress)
    kind = AsyncParallelNode if is_async(task) else ParallelNode
    return kind(_checked_items(items, "parallel_node"), task, aggregate, checked_name("into", into), manner)


@names_keywords
def conditional_node(
    predicate: Callable[[State], Any],
    routes: Routes[Any, Any],
    config: ConditionalConfig | None = None,
    *,
    name: str | None = None,
) -> Callable[[State], Any]:
    """`process_conditional` as a node: ``graph.add_node("review", conditional_node(predicate, Routes({...})))``.

    The chosen handler is given the state and returns what a node returns. The node is async if the predicate or a
    handler is. A failure is a `ConditionalError`, whose cause is that of the choice. The observer is looked up here,
    and is that of the run by default.

    The fingerprint of the graph covers the predicate, the names and the handlers. Raises `ConfigError` for what cannot
    be used, `UnknownObserverError`.

    >>> from tau import Routes, StateGraph, conditional_node
    >>> routes = Routes({"big": lambda state: {"n": state["n"] // 10}}, default=lambda state: None)
    >>> graph = StateGraph("scale")
    >>> graph.add_node("scale", conditional_node(lambda state: "big" if state["n"] > 99 else "small", routes))
    >>> graph.sequence("scale")
    >>> graph.execute({"n": 420})["n"]
    42
    """
    checked_choice(predicate, routes)
    manner = _Manner(_resolved(checked_config(config, ConditionalConfig)), name_of(predicate, name))
    kind = AsyncConditionalNode if is_async(predicate) or routes.is_async else ConditionalNode
    return kind(predicate, routes, manner)


def _resolved(config: C) -> C:
    """With the observer itself in place of its name: a name that is not registered is no error of the run."""
    return config if config.observer == INHERIT else replace(config, observer=resolve_observer(config.observer))


def _checked_items(items: Any, node: str) -> Any:
    if isinstance(items, (str, bytes, bytearray)):
        raise refused(
            "items",
            items,
            f"a list or a function of the state, as {node} would work on text letter by letter. Where a key of the "
            f"state is meant, give items=lambda state: state[{items!r:.80}]; where its letters are, items=list(...)",
        )
    if isinstance(items, Iterator):
        raise refused("items", items, "a list or a function of the state, as an iterator could be used once only")
    if not callable(items) and not isinstance(items, Iterable):
        raise refused("items", items, "an iterable, or a function of the state that gives one")
    return tuple(items) if isinstance(items, list) else items


def _of(given: Any, state: State) -> Any:
    """A value that may be given as a function of the state."""
    return given(state) if callable(given) else given


def _passes(error: Exception) -> bool:
    """Whether a run ends with it: it comes out as it is."""
    return breaks_off(error) or isinstance(error, (GraphChangedError, LeaseLostError, StoreError))


def _chain_error(error: Exception) -> ChainError:
    text = f"chain node failed: {said(error)}"
    if not isinstance(error, ChainError):
        return ChainError(text)
    fields = {"step_index": error.step_index, "item": error.item, "state": error.state, "result": error.result}
    return ChainError(text, **fields)


def _parallel_error(error: Exception) -> ParallelError:
    text = f"parallel node failed: {said(error)}"
    return (
        ParallelError(text, errors=error.errors, result=error.result)
        if isinstance(error, ParallelError)
        else (ParallelError(text))
    )


def _conditional_error(error: Exception) -> ConditionalError:
    text = f"conditional node failed: {said(error)}"
    if not isinstance(error, ConditionalError):
        return ConditionalError(text)
    return ConditionalError(text, route=error.route, state=error.state)
