"""What a library has to do here: run nodes durably at one place on disk, and go on where a killed process stopped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

Node = Callable[[Mapping[str, Any]], Any]
"""Takes the state, returns what it changes as a dict; a coroutine function in `Peer.many`."""


@dataclass(frozen=True)
class Work:
    """Nodes, in order. ``keys`` are all that a state may hold.

    ``loops``: there is one node, repeated until it has set ``done``. ``grows``: the key of a list; what a node returns
    under it is appended, in the way that the library has for that.
    """

    nodes: Mapping[str, Node]
    keys: Sequence[str]
    loops: bool = False
    grows: str = ""


class Peer(ABC):
    """One library in one configuration, as its documentation advises for runs that have to survive.

    An object belongs to one process and to ``folder``; another object on the same folder finds the same runs.
    ``lenient`` asks for what the documentation offers for values that are not stored by default.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    configured: ClassVar[str]
    """How, in a few words, for the reader of the table."""
    lenient_means: ClassVar[str] = ""
    """What ``lenient`` switches on; empty where there is nothing of the kind."""
    behind: ClassVar[bool] = False
    """Whether the next node may begin before what the last one did is written."""
    only: ClassVar[str] = ""
    """The one workload that this configuration is for; empty: all."""

    def __init__(self, folder: Path, *, lenient: bool = False) -> None:
        self.folder = folder
        self.lenient = lenient

    @abstractmethod
    def run(self, work: Work, run_id: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Begin a run and return its final state."""

    @abstractmethod
    def resume(self, work: Work, run_id: str) -> Mapping[str, Any]:
        """Go on with a run whose process was killed and return its final state."""

    @abstractmethod
    async def many(self, work: Work, run_ids: Sequence[str], values: Mapping[str, Any]) -> None:
        """Begin so many runs at once in this event loop and wait for all."""
