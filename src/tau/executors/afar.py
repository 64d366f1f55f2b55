"""`tau.current()` in another process than that of its run: it tells where the item belongs, and keeps nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NoReturn

from msgspec import Struct

from tau.errors import TauError
from tau.graph.nodes import Node, make_node
from tau.log.records import Scope
from tau.node.current import ItemHere, RunNode, RunScope, item_here, run_scope
from tau.state import State


class About(Struct, frozen=True, array_like=True):
    """The visit that an item belongs to; ``scope`` and ``key`` say which item of it, where its map is kept. In a graph
    inside a node, ``inside`` is where that belongs, and ``name`` what the node is called there. ``is_node``: it
    is the node itself that is called in the other process. ``replays`` is that of the run."""

    run_id: str
    node: str
    visit: int
    attempt: int
    seed: int
    deadline: float | None
    scope: Scope | None
    key: str
    inside: Scope = ()
    name: str = ""
    is_node: bool = False
    replays: str = ""


def about_here(is_node: bool = False) -> About | None:
    """What is running here; ``None`` outside of a node."""
    scope = run_scope.get()
    effect = None if scope is None else scope.visit_here()
    if scope is None or effect is None:
        return None
    item = item_here.get()
    where, key = (None, "") if item is None or item.effect is not effect else (item.scope, item.key)
    visit = (effect.node.name, effect.visit, effect.attempt)
    return About(
        scope.run_id,
        *visit,
        scope.seed(),
        scope.deadline,
        where,
        key,
        effect.scope,
        effect.name,
        is_node,
        scope.replays,
    )


@contextmanager
def shown(about: About | None) -> Iterator[None]:
    """In the block, `tau.current` tells this."""
    if about is None:
        yield
        return
    effect = RunNode(_node(about.node), State(), about.visit, about.attempt, scope=about.inside, name=about.name)
    here = run_scope.set(_ScopeAfar(about, effect))
    item = item_here.set(None if about.scope is None else ItemHere(effect, about.scope, about.key))
    try:
        yield
    finally:
        item_here.reset(item)
        run_scope.reset(here)


class _ScopeAfar(RunScope):
    """The run of another process."""

    __slots__ = ("_is_node",)

    def __init__(self, about: About, effect: RunNode) -> None:
        super().__init__(
            about.run_id,
            resources=None,
            should_stop=lambda: "",
            deadline=about.deadline,
            store=None,
            make_items=self.refuse,
            seed=lambda: about.seed,
        )
        self.effect = effect
        self.replays = about.replays
        self._is_node = about.is_node

    def at_hand(self, what: str) -> None:
        self.refuse(what)

    def steps_of(self, effect: RunNode | None) -> NoReturn:
        self.refuse()

    def journal_of(self, effect: RunNode) -> None:
        if self._is_node:
            self.refuse()

    def refuse(self, what: Any = None) -> NoReturn:
        do = "call them around the map, or use executor='threads'"
        if self._is_node:
            do = (
                "the whole of this node runs in one, so add it without executor='processes'; what needs a process of "
                "its own there is for ctx.map(..., executor='processes')"
            )
        raise TauError(
            "what a run keeps is out of reach in a worker process: step, map, ask, artifact and emit are for the "
            f"process of the run; {do}"
        )


@lru_cache(maxsize=16)
def _node(name: str) -> Node:
    return make_node(name, _nothing)


def _nothing(state: State) -> None:
    """Stands for the function of a node that is called in another process."""
