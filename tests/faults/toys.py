"""Small writers of known quality, on which the sweeps prove that they tell good from bad."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
from subjects import Place, Subject, settle_database

from tau.errors import CheckpointNotFoundError, CorruptCheckpointError, StoreError


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
            state = self.after(state, node)
            self.save(place, state)
        return repr(state)

    def after(self, state: dict[str, Any], node: str) -> dict[str, Any]:
        text = "".join(hashlib.sha256(f"{node}{i}".encode()).hexdigest() for i in range(20))
        return {"done": state["done"] + 1, "sum": state["sum"] + text}

    def save(self, place: Place, state: dict[str, Any]) -> None:
        raise NotImplementedError

    def load(self, place: Place) -> dict[str, Any]:
        raise NotImplementedError


class Descriptor:
    """An open directory that is closed when nobody refers to it, wherever an interrupt strikes."""

    number = -1

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def sync(self) -> None:
        os.fsync(self.number)

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)


class GoodFile(Toy):
    """Checksum, temporary file, fsync, rename, fsync of the directory, cleanup, typed errors."""

    def save(self, place: Place, state: dict[str, Any]) -> None:
        body = json.dumps(state).encode()
        temporary = place.store / "state.tmp"
        try:
            self.publish(place, temporary, hashlib.sha256(body).digest() + body)
        except BaseException as error:
            with suppress(OSError):
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
        Descriptor(place.store).sync()

    def load(self, place: Place) -> dict[str, Any]:
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

    def save(self, place: Place, state: dict[str, Any]) -> None:
        try:
            super().save(place, state)
        except StoreError:
            return


class BadLeak(GoodFile):
    """Forgets descriptor and temporary file when something fails."""

    def save(self, place: Place, state: dict[str, Any]) -> None:
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

    def save(self, place: Place, state: dict[str, Any]) -> None:
        try:
            super().save(place, state)
        except KeyboardInterrupt:
            super().save(place, state)


class BadTrusting(GoodFile):
    """Has no checksum worth the name."""

    def load(self, place: Place) -> dict[str, Any]:
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

    connection: Any = None

    def connect(self, place: Place) -> Any:
        if self.connection is None:
            path = place.store / "state.db"
            if path.exists() and 0 < path.stat().st_size < 512:
                raise CorruptCheckpointError("to SQLite a file of less than a block is an empty database")
            connection = apsw.Connection(str(path))
            try:
                list(connection.execute("pragma journal_mode=wal"))
                connection.execute("pragma synchronous=full")
                connection.execute("create table if not exists state (id integer primary key, body blob, sum text)")
            except BaseException:
                connection.close()
                raise
            self.connection = connection
        return self.connection

    def save(self, place: Place, state: dict[str, Any]) -> None:
        body = json.dumps(state).encode()
        row = (body, hashlib.sha256(body).hexdigest())
        try:
            self.connect(place).execute("insert or replace into state values (1, ?, ?)", row)
        except apsw.Error as error:
            raise StoreError(f"cannot save: {error}") from error

    def load(self, place: Place) -> dict[str, Any]:
        try:
            rows = list(self.connect(place).execute("select body, sum from state"))
        except apsw.Error as error:
            raise StoreError(f"cannot load: {error}") from error
        if not rows:
            raise CheckpointNotFoundError("nothing saved")
        body, checksum = rows[0]
        if not isinstance(body, bytes) or hashlib.sha256(body).hexdigest() != checksum:
            raise CorruptCheckpointError("the checksum does not match")
        return json.loads(body)

    def settle(self, place: Place) -> None:
        settle_database(place.store / "state.db")

    def close(self, place: Place) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class GoodAsync(GoodFile):
    """The loop as a coroutine that gives way before and after each node."""

    def start(self, place: Place) -> str:
        return asyncio.run(self.wrap(self.begin(place)))

    async def begin(self, place: Place) -> str:
        self.save(place, {"done": 0, "sum": ""})
        for node in self.nodes:
            await asyncio.sleep(0)
            self.enter(place, node)
            await asyncio.sleep(0)
            self.save(place, self.after(self.load(place), node))
        return repr(self.load(place))


class BadAsync(GoodAsync):
    """Takes a cancellation for a reason to go on."""

    async def begin(self, place: Place) -> str:
        try:
            return await super().begin(place)
        except asyncio.CancelledError:
            return self.loop(place)


GOOD = (GoodFile, GoodSQLite, GoodAsync)
BAD = (BadInPlace, BadSwallow, BadLeak, BadDeaf, BadTrusting, BadEarly, BadAsync)
TOYS: dict[str, type[Toy]] = {toy.__name__: toy for toy in (*GOOD, *BAD)}
