"""What may stand between a store and its server: a proxy that cuts connections, and a pooler's stand-in."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Self

from tau.stores.redis.scripts import APPEND

Message = tuple[bytes, bytes]


def exactly(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = peer.recv(size - len(data))
        if not more:
            raise ConnectionError("the end")
        data += more
    return data


def messages(peer: socket.socket, begun: bool = True) -> Iterator[Message]:
    """The messages of PostgreSQL's protocol that come from there, whole; the first of a client has no kind."""
    while True:
        kind = exactly(peer, 1) if begun else b""
        head = exactly(peer, 4)
        yield kind, kind + head + exactly(peer, struct.unpack("!I", head)[0] - 4)
        begun = True


class Listener:
    """Serves each connection in a thread, until it is closed."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._peers: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def connect(self) -> socket.socket:
        peer = socket.create_connection(self.server)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._peers.append(peer)
        return peer

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._peers.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), closing(client):
            self.serve(client)

    def serve(self, client: socket.socket) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()
        for peer in self._peers:
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
            peer.close()


def is_commit(data: bytes) -> bool:
    """Whether a client's message is the one of a commit that says what is to be done: the text of a statement that is
    not prepared, or the name of one that is."""
    name = data[5:].split(b"\0")[1 if data[:1] == b"B" else 0]
    if data[:1] == b"B":
        return bool(name)
    return data[:1] == b"P" and not name and b"insert into tau.log" in data


class Cutter(Listener):
    """Cuts the connection at the commits that ``choose`` picks by their number: before the server gets to see one, or
    after it was carried out, so that only the reply is lost. ``change`` may change what the server says.

    `stalls`: from then on nothing is passed on any more, and nothing is cut.
    """

    def __init__(
        self,
        server: tuple[str, int],
        choose: Callable[[int], str] = lambda number: "",
        change: Callable[[bytes], bytes] = lambda data: data,
    ) -> None:
        self.choose, self.change = choose, change
        self.numbers = itertools.count()
        self.cuts = 0
        self.stalls = threading.Event()
        super().__init__(server)

    def said(self, client: socket.socket) -> Iterator[bytes]:
        """What the client says, message by message."""
        return (data for _, data in messages(client, begun=False))

    def is_commit(self, data: bytes) -> bool:
        return is_commit(data)

    def answered(self, server: socket.socket) -> Iterator[tuple[bool, bytes]]:
        """What the server says, and whether a commit is carried out when it does."""
        return ((kind == b"Z", data) for kind, data in messages(server))

    def serve(self, client: socket.socket) -> None:
        with closing(self.connect()) as server:
            lost = threading.Event()
            threading.Thread(target=self._answer, args=(server, client, lost), daemon=True).start()
            try:
                for data in self.said(client):
                    if self.stalls.is_set():
                        continue
                    how = self.choose(next(self.numbers)) if self.is_commit(data) else ""
                    self.cuts += bool(how)
                    if how == "before":
                        break
                    if how == "after":
                        lost.set()
                    server.sendall(data)
            finally:
                for peer in (server, client):  # closing alone wakes nobody who reads there
                    with suppress(OSError):
                        peer.shutdown(socket.SHUT_RDWR)

    def _answer(self, server: socket.socket, client: socket.socket, lost: threading.Event) -> None:
        with suppress(OSError):
            for is_over, data in self.answered(server):
                if lost.is_set():
                    if is_over:
                        break
                elif not self.stalls.is_set():
                    client.sendall(self.change(data))
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


class RedisCutter(Cutter):
    """The same for Redis's protocol."""

    def said(self, client: socket.socket) -> Iterator[bytes]:
        with client.makefile("rb") as file:
            while head := file.readline():
                data = [head]
                for _ in range(int(head[1:])):
                    size = file.readline()
                    data += [size, file.read(int(size[1:]) + 2)]
                yield b"".join(data)

    def is_commit(self, data: bytes) -> bool:
        return b"EVALSHA" in data[:32] and APPEND.digest.encode() in data[:80]

    def answered(self, server: socket.socket) -> Iterator[tuple[bool, bytes]]:
        while data := server.recv(1 << 16):
            yield True, data


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
