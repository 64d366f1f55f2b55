"""Which visit of which run is running here, for the code inside a node."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from tau import forks
from tau.errors import TauError
from tau.events import Observer
from tau.graph.graph import Node
from tau.late_imports import load_module
from tau.log.records import Scope, place_of
from tau.spelling import did_you_mean
from tau.state import State

if TYPE_CHECKING:
    from tau.node.own_events import OwnEvents
    from tau.node.steps import StepRunner
    from tau.node.typed import Given


class RunNode(Struct):
    """Run a node on a state; reply: `Outcome`. ``stored`` is the run's state, if the node is given a different one that
    an earlier attempt had saved; ``begun`` says whether the node was called; ``given`` is what it is given instead of
    the state, where it asks for a class. In a graph inside a node, ``scope`` is where that graph belongs, ``name`` what
    the node is called there; ``node.name`` then is its path."""

    node: Node
    state: State
    visit: int
    attempt: int
    stored: State | None = None
    begun: bool = False
    given: Given | None = None
    scope: Scope = ()
    name: str = ""

    def scope_of(self, name: str) -> Scope:
        """Where something of that name in this visit belongs."""
        return (*self.scope, (self.name or self.node.name, self.visit, name))

    @property
    def place(self) -> str:
        """What names the node in its run; inside another one, with the number of that one's visit."""
        return place_of(self.scope, self.name or self.node.name)


class _Resources(dict[str, Any]):
    """What was passed as ``resources``; says what there is instead of a name that is not."""

    def __missing__(self, name: object) -> Any:
        have = ", ".join(map(repr, self)) or "nothing"
        said = f"{name!r} is not in the resources of this run; resources=... was given {have}"
        raise KeyError(said + did_you_mean(name, self))


class RunScope:
    """What all visits of one run share. ``effect`` is the attempt that is running, ``items`` what has finished in it;
    each is ``None`` if there is none. ``observer`` is told of the run's events, ``None`` if nothing is; ``tell`` tells
    it one of them. ``ends_here`` is set in a branch; see `StepRunner`. ``replays`` says what becomes of calls that
    are not found, in a run that replays another one."""

    __slots__ = (
        "_process",
        "deadline",
        "effect",
        "ends_here",
        "items",
        "make_items",
        "observer",
        "own",
        "replays",
        "resources",
        "run_id",
        "seed",
        "should_stop",
        "store",
        "tell",
    )

    def __init__(
        self,
        run_id: str,
        *,
        resources: Mapping[str, Any] | None,
        should_stop: Callable[[], str],
        deadline: float | None,
        store: Any,
        make_items: Callable[[RunNode | None], StepRunner],
        seed: Callable[[], int],
        observer: Observer | None = None,
        tell: Callable[[str, dict[str, Any]], object] | None = None,
    ) -> None:
        self.run_id = run_id
        self.resources = MappingProxyType(_Resources(resources or {}))
        self.should_stop = should_stop
        self.deadline = deadline
        self.store = store
        self.make_items = make_items
        self.seed = seed
        self.observer = observer
        self.tell = tell
        self.own: OwnEvents | None = None
        self.replays = ""
        self.ends_here: Callable[[bool], None] | None = None
        self._process = forks.process
        self.effect: RunNode | None = None
        self.items: StepRunner | None = None

    def steps_of(self, effect: RunNode | None) -> StepRunner:
        """The items of that attempt. Raises `TauError` if the attempt has ended."""
        if self._process is not forks.process:
            raise forks.refusal(self.run_id, "save anything")
        items = self.items
        if items is None or items.effect is not effect:
            with _first_use:
                if self.effect is effect and (self.items is None or self.items.effect is not effect):
                    made = self.make_items(effect)
                    made.ends_here = self.ends_here
                    self.items = made
                items = self.items
        # `leave` first ends the attempt and then looks for items: either it closes these, or this sees that it ended.
        if items is None or self.effect is not effect or items.effect is not effect:
            raise too_late(effect.node.name if effect is not None else "")
        return items

    def events_of(self, effect: RunNode) -> OwnEvents | None:
        """What that attempt tells of itself, ``None`` if nobody listens. Raises `TauError` if the attempt has ended."""
        self.at_hand("emit")
        if self._process is not forks.process:
            raise forks.refusal(self.run_id, "tell anything")
        if self.effect is not effect:
            raise too_late(effect.node.name, "told")
        if self.tell is None or (self.own is not None and self.own.effect is effect):
            return self.own
        load_module("tau.node.own_events")
        from tau.node.own_events import OwnEvents  # only loaded where a node tells something

        with _first_use:
            if self.own is None or self.own.effect is not effect:
                where: dict[str, Any] = {"run_id": self.run_id, "node": effect.node.name}
                where = {**where, "visit": effect.visit, "attempt": effect.attempt}
                self.own = OwnEvents(effect, where, self.tell)
            return self.own

    def at_hand(self, what: str) -> None:
        """Raises `TauError` where what the run keeps is out of reach for ``what``, as in a worker process."""

    def journal_of(self, effect: RunNode) -> StepRunner | None:
        """What journals the calls of that attempt; ``None`` where only the result of the item around them is kept, as
        in a worker process. Raises as `steps_of`."""
        return self.steps_of(effect)

    def visit_here(self) -> RunNode | None:
        """The attempt that the code here belongs to, even if that attempt was left behind and has ended."""
        left = left_behind.get()
        return left[1] if left is not None and left[0] is self else self.effect

    def shut(self) -> None:
        """End the attempt without waiting: it was left behind, and saves nothing more."""
        self.effect, items = None, self.items
        if items is not None:
            items.shut()

    def save(self, state: State) -> None:
        """Commit what an interval held back, and how that state differs from the stored one."""
        self.steps_of(self.visit_here()).save(state)

    def leave(self, result: Any) -> Any:
        """End the attempt with this result, to which its artifacts are added, or with this error. Waits for a commit
        that is under way in it. Raises `ConfigError` for a step that was never awaited, `ArtifactError`."""
        self.effect = None
        items, self.items = self.items, None
        if items is None:
            return result
        items.close()
        if not isinstance(result, BaseException):
            items.unawaited.check(items.node)
        return items.artifacts.with_artifacts(result)


run_scope: ContextVar[RunScope | None] = ContextVar("tau_surroundings", default=None)

left_behind: ContextVar[tuple[RunScope | None, RunNode] | None] = ContextVar("tau_left_behind", default=None)
"""The attempt that a thread or task belongs to, and the scope of its run. It may be left behind while the run goes on.
A run that it starts itself has a scope of its own."""


class ItemHere(Struct, frozen=True):
    """The item of a map or chain that the code here belongs to: its visit, the scope of the items, its key."""

    effect: RunNode | None
    scope: Scope
    key: str


item_here: ContextVar[ItemHere | None] = ContextVar("tau_item", default=None)


class StepHere(Struct, frozen=True):
    """The step or journaled call that the code here belongs to, within the ``item``, if there is one around it. Only
    calls belong to it: steps and maps in it are those of the visit, or of the item."""

    effect: RunNode | None
    item: ItemHere | None
    scope: Scope
    key: str


step_here: ContextVar[StepHere | None] = ContextVar("tau_step", default=None)

_first_use = threading.RLock()  # a signal handler may ask, too


def too_late(node: str, what: str = "saved") -> TauError:
    """Why what a node left behind can do nothing more for its run."""
    return TauError(
        f"node {node!r} is not running any more (it returned, timed out or was stopped), so what a thread or task of "
        f"it still does cannot be {what}; let the node wait for all that it starts"
    )
