"""`Context.map`: a parallel map in a node, in three words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from tau.checks import checked_name, integer
from tau.errors import ConfigError, ParallelError
from tau.graph.nodes import is_async
from tau.late_imports import load_module
from tau.node.current import RunNode, RunScope
from tau.workflows.config import ParallelConfig
from tau.workflows.journaled import Key
from tau.workflows.parallel import run_map
from tau.workflows.surroundings import Surroundings, checked_function


def map_items(
    visit: tuple[RunScope, RunNode],
    name: str,
    function: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    workers: int,
    key: Key | None,
    errors: str,
    each: dict[str, Any],
    progress: Callable[[int, int | None, Any], object] | None,
) -> Any:
    """See `Context.map`."""
    visit[0].at_hand("map")
    checked_name("the name of a map", name)
    checked_function(f"map {name!r}", function)
    if errors not in ("raise", "collect"):
        raise ConfigError(f"errors must be 'raise' or 'collect', found {errors!r:.80}")
    config = ParallelConfig(max_workers=integer("workers", workers, 0), fail_fast=errors == "raise", **each)
    around = partial(Surroundings, visit=visit)
    if is_async(function):
        scope, effect = visit
        begin = partial(run_map, around, items, function, config, progress, name=name, key=key)
        mapped = _awaited(begin, errors)
        scope.steps_of(effect).unawaited.add(mapped, name, mapped, "map")
        return mapped
    try:
        return _given(run_map(around, items, function, config, progress, name=name, key=key), errors)
    except ParallelError as error:
        return _outcomes(error, errors)


async def _awaited(begin: Callable[[], Any], errors: str) -> Any:
    try:
        result = await begin()
    except ParallelError as error:
        return _outcomes(error, errors)
    load_module("tau.workflows.tasks")
    from tau.workflows.tasks import read_whole  # asyncio is only loaded where something needs it

    await read_whole(result)
    return _given(result, errors)


def _given(result: Any, errors: str) -> Any:
    return result.results if errors == "raise" else list(result.outcomes)


def _outcomes(error: ParallelError, errors: str) -> Any:
    """All of the items failed, which is no error where the failures are collected."""
    if errors == "raise":
        raise error
    return list(error.result.outcomes)
