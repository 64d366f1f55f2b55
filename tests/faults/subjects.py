"""What is put to the test: a run of a few nodes that can be started, killed and resumed.

A node leaves one line in an effects file, which lies outside of the directory that faults are injected into, so the
line tells what ran, however the run ended. Beside the engine stand small writers of known quality: if the sweeps did
not tell the bad from the good ones, they would prove nothing about the engine.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from tau.errors import CheckpointNotFoundError, CorruptCheckpointError, StoreError

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

    def __init__(self, die_in: str | None = None) -> None:
        self.die_in = die_in

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

    def is_gone(self, found: dict) -> bool:
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


class Toy(Subject):
    """A loop over the nodes with a state of a few kB that is saved after each."""

    def start(self, place: Place) -> str:
        self.save(place, {"done": 0, "sum": ""})
        return self.loop(place)

    def resume(self, place: Place) -> str:
        return self.loop(place)

    def loop(self, place: Place) -> str:
        state = self.load(place)
        for node in self.nodes[state["done"] :]:
            self.enter(place, node)
            text = "".join(hashlib.sha256(f"{node}{i}".encode()).hexdigest() for i in range(20))
            state = {"done": state["done"] + 1, "sum": state["sum"] + text}
            self.save(place, state)
        return repr(state)

    def save(self, place: Place, state: dict) -> None:
        raise NotImplementedError

    def load(self, place: Place) -> dict:
        raise NotImplementedError


class GoodFile(Toy):
    """Checksum, temporary file, fsync, rename, fsync of the directory, cleanup, typed errors."""

    def save(self, place: Place, state: dict) -> None:
        body = json.dumps(state).encode()
        temporary = place.store / "state.tmp"
        try:
            self.publish(place, temporary, hashlib.sha256(body).digest() + body)
        except BaseException as error:
            if temporary.exists():
                temporary.unlink()
            if isinstance(error, OSError):
                raise StoreError(f"cannot save: {error}") from error
            raise

    def publish(self, place: Place, temporary: Path, data: bytes) -> None:
        with temporary.open("wb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) or 0 :]
            os.fsync(file.fileno())
        temporary.rename(place.store / "state")
        directory = os.open(place.store, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def load(self, place: Place) -> dict:
        try:
            data = (place.store / "state").read_bytes()
        except FileNotFoundError as error:
            raise CheckpointNotFoundError("nothing saved") from error
        except OSError as error:
            raise StoreError(f"cannot load: {error}") from error
        if hashlib.sha256(data[32:]).digest() != data[:32]:
            raise CorruptCheckpointError("the checksum does not match")
        return json.loads(data[32:])


class BadInPlace(GoodFile):
    """Overwrites the only copy."""

    def publish(self, place: Place, temporary: Path, data: bytes) -> None:
        (place.store / "state").write_bytes(data)


class BadSwallow(GoodFile):
    """Says saved when it was not."""

    def save(self, place: Place, state: dict) -> None:
        try:
            super().save(place, state)
        except StoreError:
            return


class BadLeak(GoodFile):
    """Forgets descriptor and temporary file when something fails."""

    def save(self, place: Place, state: dict) -> None:
        body = json.dumps(state).encode()
        try:
            descriptor = os.open(place.store / "state.tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.write(descriptor, hashlib.sha256(body).digest() + body)
            os.fsync(descriptor)
            os.close(descriptor)
            os.rename(place.store / "state.tmp", place.store / "state")
        except OSError as error:
            raise StoreError(f"cannot save: {error}") from error


class BadDeaf(GoodFile):
    """Takes Ctrl-C for a reason to try again."""

    def save(self, place: Place, state: dict) -> None:
        try:
            super().save(place, state)
        except KeyboardInterrupt:
            super().save(place, state)


class BadTrusting(GoodFile):
    """Has no checksum worth the name."""

    def load(self, place: Place) -> dict:
        return json.loads((place.store / "state").read_bytes()[32:])


class BadEarly(GoodFile):
    """Saves a node as finished before it ran."""

    def loop(self, place: Place) -> str:
        state = self.load(place)
        for node in self.nodes[state["done"] :]:
            state = {"done": state["done"] + 1, "sum": state["sum"] + node}
            self.save(place, state)
            self.enter(place, node)
        return repr(state)


class GoodSQLite(Toy):
    """One row in a database with a write-ahead log, synced at every commit."""

    def __init__(self, die_in: str | None = None) -> None:
        super().__init__(die_in)
        self.connection = None

    def connect(self, place: Place):
        import apsw

        if self.connection is None:
            connection = apsw.Connection(str(place.store / "state.db"))
            try:
                list(connection.execute("pragma journal_mode=wal"))
                connection.execute("pragma synchronous=full")
                connection.execute("create table if not exists state (id integer primary key, body text, sum text)")
            except BaseException:
                connection.close()
                raise
            self.connection = connection
        return self.connection

    def save(self, place: Place, state: dict) -> None:
        import apsw

        body = json.dumps(state)
        row = (body, hashlib.sha256(body.encode()).hexdigest())
        try:
            self.connect(place).execute("insert or replace into state values (1, ?, ?)", row)
        except apsw.Error as error:
            raise StoreError(f"cannot save: {error}") from error

    def load(self, place: Place) -> dict:
        import apsw

        try:
            rows = list(self.connect(place).execute("select body, sum from state"))
        except apsw.Error as error:
            raise StoreError(f"cannot load: {error}") from error
        if not rows:
            raise CheckpointNotFoundError("nothing saved")
        body, checksum = rows[0]
        if hashlib.sha256(str(body).encode(errors="replace")).hexdigest() != checksum:
            raise CorruptCheckpointError("the checksum does not match")
        return json.loads(body)

    def close(self, place: Place) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


TOYS: dict[str, type[Toy]] = {
    toy.__name__: toy
    for toy in (GoodFile, GoodSQLite, BadInPlace, BadSwallow, BadLeak, BadDeaf, BadTrusting, BadEarly)
}
