"""What is put to the test: a run of a few nodes that can be started, killed and resumed.

A node leaves one line in an effects file, which lies outside of the directory that faults are injected into, so the
line tells what ran, however the run ended.
"""

from __future__ import annotations

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import apsw

from tau.errors import CheckpointNotFoundError

NODES = ("ingest", "preprocess", "analyze", "report")


class Place:
    """One directory: ``store`` is where faults happen, ``effects`` is what the nodes did."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = directory / "store"
        self.effects_file = directory / "effects"
        self.store.mkdir(parents=True, exist_ok=True)

    def effect(self, node: str) -> None:
        descriptor = os.open(self.effects_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, f"{node}\n".encode())
        os.close(descriptor)

    def effects(self) -> list[str]:
        return self.effects_file.read_text().split() if self.effects_file.exists() else []

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.store)) for path in self.store.rglob("*") if not path.is_dir())


class Subject(ABC):
    """A run under one id, with everything below ``place.store``. Results are texts, so that equal means identical."""

    nodes: Sequence[str] = NODES
    held_back = 1
    """How many nodes a kill may repeat: the one in flight and those that an interval had not committed."""

    die_in: str | None = None
    """The node that kills its process, if any."""

    wrap: Callable[[Coroutine[Any, Any, str]], Coroutine[Any, Any, str]] = staticmethod(lambda coroutine: coroutine)
    """Stands between an event loop and the run, where the run is a coroutine."""

    @abstractmethod
    def start(self, place: Place) -> str: ...

    @abstractmethod
    def resume(self, place: Place) -> str: ...

    def carry_on(self, place: Place) -> str:
        """What the same script does when it is run again."""
        try:
            return self.resume(place)
        except CheckpointNotFoundError:
            return self.start(place)

    def close(self, place: Place) -> None:  # noqa: B027
        """Let go of everything that was opened."""

    def settle(self, place: Place) -> None:  # noqa: B027
        """Bring what a killed run left into as few files as it can be, changing nothing of what they mean."""

    def warm(self, place: Place) -> None:  # noqa: B027
        """Load in this process what every child would load again; nothing is opened."""

    def is_gone(self, found: dict[str, Any]) -> bool:
        """Whether this outcome says that the run finished and was removed, as it was asked to."""
        return False

    def leftovers(self, place: Place) -> list[str]:
        """Files that no reader needs any more."""
        return [name for name in place.files() if "tmp" in name]

    def enter(self, place: Place, node: str) -> None:
        """What a node does first: leave its line, and die if this is where it should."""
        place.effect(node)
        if node == self.die_in:
            os.kill(os.getpid(), signal.SIGKILL)


def settle_database(path: Path) -> None:
    """Bring the write-ahead log of a SQLite file into the file; the one who closes last removes the log."""
    connection = apsw.Connection(str(path))
    list(connection.execute("select name from sqlite_schema"))  # before a first read there is no log to speak of
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.close()
