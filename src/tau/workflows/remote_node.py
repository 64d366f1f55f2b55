"""A node that is called in a process of its own: a map of one item, which is kept as a node is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from tau.errors import NodeTimeoutError, ParallelError
from tau.executors.registry import PROCESSES
from tau.graph.nodes import Node
from tau.node.context import current
from tau.node.current import RunNode, RunScope
from tau.state import State, cells_of, raw, view
from tau.state_changes import collect
from tau.values.plain_mappings import only_items
from tau.values.stored import StoredValue
from tau.workflows.config import ParallelConfig
from tau.workflows.ledger import Ledger
from tau.workflows.parallel import run_elsewhere
from tau.workflows.surroundings import Surroundings


def call_elsewhere(scope: RunScope, effect: RunNode) -> State:
    """The state as the node leaves it. Raises what the node raises, `NodeTimeoutError` once its process is killed,
    `WorkerError` if that dies, and what a map in worker processes does."""
    node, given = effect.node, raw(effect.state)
    values = {key: value.open()[0] if type(value) is StoredValue else value for key, value in given.items()}
    at = (effect.state.run_id, effect.state.checkpoint_node, effect.state.timestamp.timestamp())
    around = Surroundings("workflows.Node", "node", node.name, None, (scope, effect))
    config = ParallelConfig(executor=PROCESSES, max_workers=1, timeout=node.timeout, observer=None)
    task = (_AsyncTask if node.is_async else _Task).of(node)
    try:
        [found] = run_elsewhere(Ledger(around, [(values, at)], config, None), task, None, None, deaths=1).results
    except ParallelError as error:
        _raise_cause(node, error)
    changed, removed = found
    left = {key: value for key, value in given.items() if key not in removed}
    return view({**left, **changed}, *at)


def _raise_cause(node: Node, error: ParallelError) -> NoReturn:
    found = error.errors[0].error if error.errors else None
    if found is None:
        raise error
    if isinstance(found, NodeTimeoutError):
        seconds = node.timeout or 0.0
        said = f"node {node.name!r} did not finish within its timeout of {seconds:g} s, and its process was killed"
        raise NodeTimeoutError(said, node=node.name, seconds=seconds) from None
    raise found.with_traceback(None)  # what is tau's of it tells nobody anything


@dataclass(frozen=True)
class _Task:
    """The node, as its process calls it."""

    function: Callable[..., Any]
    name: str
    wants_context: bool
    context_name: str | None

    @classmethod
    def of(cls, node: Node) -> _Task:
        return cls(node.function, node.name, node.wants_context, node.context_name)

    def __call__(self, item: Any) -> Any:
        state = self.state(item)
        return self.changes(state, self.call(state))

    def state(self, item: Any) -> State:
        values, at = item
        return view(dict(cells_of(values)), *at)

    def call(self, state: State) -> Any:
        if not self.wants_context:
            return self.function(state)
        if self.context_name is None:
            return self.function(state, current())
        return self.function(state, **{self.context_name: current()})

    def changes(self, state: State, result: Any) -> tuple[dict[str, Any], list[str]]:
        """What the node set, or changed in place, and the keys that it removed."""
        if result is not None and not isinstance(result, Mapping) and not only_items(result):
            kind = type(result).__name__
            raise TypeError(f"node {self.name!r} returned {kind}; return a mapping of changes, a State, or None")
        changed, removed = collect(raw(state), state, result, self.name)
        return {key: cell.open()[0] for key, cell in changed.items()}, removed


class _AsyncTask(_Task):
    """The same for an async node."""

    async def __call__(self, item: Any) -> Any:
        state = self.state(item)
        return self.changes(state, await self.call(state))
