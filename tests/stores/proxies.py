"""A pooler's stand-in, between a store and a PostgreSQL. What cuts connections is `tau.testing.Proxy`."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from collections.abc import Iterator

from tau.testing.proxies import Listener, Message, messages

__all__ = ["Listener", "Pooler"]


class Pooler(Listener):
    """Gives every transaction to another session than the one before, as PgBouncer may in transaction mode."""

    def __init__(self, server: tuple[str, int], user: str, database: str, sessions: int = 3) -> None:
        super().__init__(server)
        self._lock = threading.Condition()
        self._free = [self._session(user, database) for _ in range(sessions)]
        self.transactions = 0

    def _session(self, user: str, database: str) -> Iterator[Message]:
        said = b"".join(word.encode() + b"\0" for word in ("user", user, "database", database)) + b"\0"
        server = self.connect()
        server.sendall(struct.pack("!II", 8 + len(said), 196608) + said)
        self.greeting = b""
        answers = messages(server)
        for kind, data in answers:
            self.greeting += data
            if kind == b"Z":
                break
        self._sockets = {**getattr(self, "_sockets", {}), id(answers): server}
        return answers

    def serve(self, client: socket.socket) -> None:
        incoming = messages(client, begun=False)
        next(incoming)
        client.sendall(self.greeting)
        for first in incoming:
            if first[0] == b"X":
                return
            with self._lock:
                self._lock.wait_for(lambda: self._free)
                session = self._free.pop(0)
                self.transactions += 1
            self._transaction(client, session, itertools.chain([first], incoming))
            with self._lock:
                self._free.append(session)
                self._lock.notify()

    def _transaction(self, client: socket.socket, session: Iterator[Message], incoming: Iterator[Message]) -> None:
        server = self._sockets[id(session)]
        for kind, data in incoming:
            server.sendall(data)
            if kind not in (b"S", b"Q"):
                continue
            for answer, said in session:
                client.sendall(said)
                if answer == b"Z":
                    break
            if said[-1:] == b"I":  # idle: not in a transaction
                return
