"""What the engine asks for and is answered: the whole vocabulary between it and the drivers."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from msgspec import Struct

from tau.graph.edges import Route
from tau.graph.graph import Graph, Node
from tau.log.append import Append
from tau.log.records import Pause, Scope
from tau.node.current import RunNode
from tau.state import State
from tau.values.stored import StoredValue


class RunRequest(Struct, kw_only=True):
    """What is to be run: the arguments of ``execute`` or ``resume``, checked and resolved. ``seed`` is for a run that
    is new; ``unfitted`` is that of the input of which the schema made something else. ``only_at``: the only
    position at which the run is taken, 0 for any."""

    graph: Graph
    run_id: str
    values: Mapping[str, Any] = {}
    unfitted: Mapping[str, Any] = {}
    now: float = 0.0
    resuming: bool = False
    if_exists: str = "error"
    on_change: str = "error"
    tags: tuple[str, ...] = ()
    seed: int | None = None
    seed_is_given: bool = False
    provenance: dict[str, str] = {}
    stored: bool = False
    location: str = ""
    artifacts: str | None = None
    verify_artifacts: bool = False
    preserve: bool = False
    max_iterations: int = 1000
    max_crashes: int = 10
    patience: float = 0.0
    only_at: int = 0
    observed: bool = False
    snapshots: bool = False


class Load(Struct):
    """Read the run; reply: `LoadedRun`. With ``take``, wait until it has no owner."""

    run_id: str
    take: bool


class Emit(Struct):
    """Tell the observers; ``told`` once that has begun."""

    type: str
    data: dict[str, Any]
    told: bool = False


class Backoff(Struct):
    """Wait after try number ``tries`` of a node before another one, and tell so; ``attempt`` is the one that failed
    with ``error``. Reply: the reason to stop instead, or nothing."""

    node: Node
    tries: int
    visit: int
    attempt: int
    error: Exception


class AskRoute(Struct):
    """Await an async route on this state, after that ``visit`` of its source, in a graph inside a node where there is a
    ``scope``; reply: `Outcome`, its result the answer."""

    route: Route
    state: State
    visit: int = 1
    scope: Scope = ()


class RunTogether(Struct):
    """Run graphs inside a node at once, each of which yields effects as the engine does, of these only `Append`,
    `RunNode`, `AskRoute`, `Backoff`, `Emit` and `RunTogether`; reply: what they return, a list of `Outcome`."""

    branches: tuple[Generator[Any, Any, Outcome], ...]
    effect: RunNode


class DeleteRecords(Struct):
    """Delete the records and blobs of a finished run, the values stay readable; reply: what went wrong, or ``None``."""

    values: Mapping[str, StoredValue]
    created: float


class Release(Struct):
    """Let go of the run. Always the last effect."""


class Outcome(Struct):
    """How a visit ended: with a result or an error. ``stop`` is why the run should stop now, if it should; ``changes``
    what `tau.state_changes.collect` makes of the result, where the driver had it made, ``waits`` what it asked people,
    with the cells of what counts after the deadlines."""

    result: Any = None
    error: BaseException | None = None
    began: float = 0.0
    seconds: float = 0.0
    stop: str = ""
    changes: tuple[dict[str, StoredValue], list[str]] | None = None
    waits: tuple[tuple[Pause, StoredValue | None], ...] = ()


Effect = Append | Load | RunNode | RunTogether | AskRoute | Emit | Backoff | DeleteRecords | Release
