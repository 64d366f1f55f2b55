"""What the engine asks for and is answered: the whole vocabulary between it and the drivers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from tau.config import Retry
from tau.graph.graph import Graph, Node
from tau.log.records import Progress, Record
from tau.state import State
from tau.values.stored import Cell


class Job(Struct, kw_only=True):
    """What is to be run: the arguments of ``execute`` or ``resume``, checked and resolved."""

    graph: Graph
    run_id: str
    values: Mapping[str, Any] = {}
    now: float = 0.0
    resuming: bool = False
    if_exists: str = "error"
    on_change: str = "error"
    tags: tuple[str, ...] = ()
    provenance: dict[str, str] = {}
    stored: bool = False
    artifacts: str | None = None
    preserve: bool = False
    max_iterations: int = 1000
    max_crashes: int = 10
    observed: bool = False
    snapshots: bool = False


class Append(Struct):
    """Append these records; reply: the node of the newest checkpoint that is on disk by that, or nothing.

    ``expected`` is given with the first append of a run, ``flush`` with one that must not be held back. ``values`` are
    the cells as of the newest record.
    """

    records: tuple[Record, ...]
    progress: Progress
    values: Mapping[str, Cell]
    flush: bool = False
    expected: int | None = None


class Load(Struct):
    """Read the run; reply: `Found`. With ``take``, wait until nobody owns it."""

    run_id: str
    take: bool


class RunNode(Struct):
    """Run a node on a state; reply: `Outcome`."""

    node: Node
    state: State
    visit: int
    attempt: int


class Emit(Struct):
    """Tell the observers."""

    type: str
    data: dict[str, Any]


class Pause(Struct):
    """Wait before another attempt; reply: the reason to stop instead, or nothing."""

    retry: Retry
    attempt: int


class Drop(Struct):
    """Delete the records and blobs of a finished run; the values must stay readable."""

    values: Mapping[str, Cell]


class Release(Struct):
    """Let go of the run. Always the last effect."""


class Found(Struct):
    """A run as it lies in the store; status ``deleted`` where there is none.

    ``progress`` is ``None`` where nothing is left to resume from. ``damaged`` says what was passed over to get to
    ``rewind``, the newest sound position, where that is not the newest.
    """

    status: str
    position: int
    progress: Progress | None = None
    values: dict[str, Cell] = {}
    updated: float = 0.0
    rewind: int | None = None
    damaged: str = ""


class Outcome(Struct):
    """How a visit ended: with a result or an error. ``stop`` is why the run should stop now, if it should."""

    result: Any = None
    error: BaseException | None = None
    began: float = 0.0
    seconds: float = 0.0
    stop: str = ""


class StopNow(BaseException):
    """Breaks off the node in flight; its text is the reason."""


Effect = Append | Load | RunNode | Emit | Pause | Drop | Release
