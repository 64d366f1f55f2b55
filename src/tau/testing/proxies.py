"""What may stand between a store and its server: a proxy that cuts connections around a commit, or falls silent."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import NamedTuple, Self

from msgspec import Struct

from tau.errors import ConfigError

Message = tuple[bytes, bytes]


def exactly(peer: socket.socket, size: int) -> bytes:
    """So many bytes. Raises `ConnectionError` where they do not come."""
    data = b""
    while len(data) < size:
        more = peer.recv(size - len(data))
        if not more:
            raise ConnectionError("the end")
        data += more
    return data


class Listener:
    """Serves each connection in a thread, on a port of its own of this machine, until the block ends. Override `serve`.

    ``server`` is the address that `connect` leads to. Raises `OSError` where no port is free.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._peers: list[socket.socket] = []
        self._over = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def connect(self) -> socket.socket:
        """A new connection to the server, which ends with the block. Raises `OSError`."""
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
        """Deal with one connection. May raise `OSError`, which ends it."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listening.close()
        for peer in self._peers:
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
            peer.close()


class Request(NamedTuple):
    """A message of a client: whether it is a commit, and whether the server says when it has dealt with it."""

    data: bytes
    is_commit: bool
    is_answered: bool


class Protocol(Struct, frozen=True):
    """How a client and a server talk: what each of them says, message by message, of the server's whether it ends an
    answer."""

    requests: Callable[[socket.socket], Iterator[Request]]
    answers: Callable[[socket.socket], Iterator[tuple[bytes, bool]]]


# PostgreSQL


def messages(peer: socket.socket, begun: bool = True) -> Iterator[Message]:
    """The messages of PostgreSQL's protocol that come from there, whole; the first of a client has no kind."""
    while True:
        kind = exactly(peer, 1) if begun else b""
        head = exactly(peer, 4)
        yield kind, kind + head + exactly(peer, struct.unpack("!I", head)[0] - 4)
        begun = True


def _is_commit(data: bytes) -> bool:
    """Whether it says what is to be done in a commit of tau: the text of a statement that is not prepared, or the name
    of one that is."""
    name = data[5:].split(b"\0")[1 if data[:1] == b"B" else 0]
    if data[:1] == b"B":
        return name.startswith(b"tau_append")
    return data[:1] == b"P" and not name and b"insert into tau.log" in data


def _postgres_requests(client: socket.socket) -> Iterator[Request]:
    for kind, data in messages(client, begun=False):
        yield Request(data, bool(kind) and _is_commit(data), kind in (b"", b"S", b"Q"))


def _postgres_answers(server: socket.socket) -> Iterator[tuple[bytes, bool]]:
    for kind, data in messages(server):
        yield data, kind == b"Z"


# Redis and Valkey


def _line(peer: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\r\n"):
        data += exactly(peer, 1)
    return data


def _value(peer: socket.socket) -> bytes:
    """A value of the protocol RESP, of version 2 or 3, as it is sent."""
    data = _line(peer)
    kind, size = data[:1], data[1:-2]
    if kind in b"$=!" and size != b"-1":
        return data + exactly(peer, int(size) + 2)
    if kind in b"*~>%|":
        for _ in range(max(0, int(size)) * (2 if kind in b"%|" else 1)):
            data += _value(peer)
        return data + _value(peer) if kind == b"|" else data
    return data


def _redis_requests(client: socket.socket) -> Iterator[Request]:
    from tau.stores.redis.scripts import APPEND  # needs a driver

    while True:
        data = _value(client)
        yield Request(data, APPEND.digest.encode() in data[:100], True)


def _redis_answers(server: socket.socket) -> Iterator[tuple[bytes, bool]]:
    while True:
        data = _value(server)
        yield data, data[:1] != b">"  # what the server says of itself answers nothing


PROTOCOLS = {
    "postgres": Protocol(_postgres_requests, _postgres_answers),
    "redis": Protocol(_redis_requests, _redis_answers),
}


class Proxy(Listener):
    """A TCP proxy on a ``port`` of this machine in front of ``server``, for as long as its ``with`` block lasts.

    ``strike`` is called with the number of each commit, from 0 on, and says what becomes of it: ``""`` passes it on;
    ``"before"`` cuts the connection before the server gets to see it; ``"after"`` lets the server carry it out and cuts
    the connection in place of the reply; ``"stall"`` passes nothing on from then on, in no connection, and cuts
    nothing, as a network does that swallows all; a number delays it by so many seconds. ``cuts`` counts the cut ones.
    ``stalls`` is the event that says that all is silent; it may be set and cleared from outside. ``change`` may alter
    what the server says.

    ``protocol`` is "postgres" (without TLS: ``sslmode=disable``) or "redis". What counts as a commit is a commit of
    tau's stores; for other programs give ``is_commit``, a function of the bytes of a request.

    Making one raises `ConfigError` for a protocol that is not known, `OSError` where no port is free.

    >>> from tau.testing import Proxy
    >>> def strike(number):
    ...     return "after" if number == 1 else ""  # the second commit is carried out, and its reply is lost
    >>> with Proxy(("127.0.0.1", 5432), strike) as proxy:
    ...     url = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres?sslmode=disable"
    ...     proxy.cuts
    0
    """

    def __init__(
        self,
        server: tuple[str, int],
        strike: Callable[[int], str | float] = lambda number: "",
        change: Callable[[bytes], bytes] = lambda data: data,
        *,
        protocol: str = "postgres",
        is_commit: Callable[[bytes], bool] | None = None,
    ) -> None:
        if protocol not in PROTOCOLS:
            raise ConfigError(f"the protocol of a proxy is one of {', '.join(PROTOCOLS)}, found {protocol!r:.80}")
        self.strike, self.change, self.is_commit = strike, change, is_commit
        self.protocol = PROTOCOLS[protocol]
        self.numbers = itertools.count()
        self.cuts = 0
        self.stalls = threading.Event()
        super().__init__(server)

    def serve(self, client: socket.socket) -> None:
        with closing(self.connect()) as server:
            passage = _Passage()
            threading.Thread(target=self._answer, args=(server, client, passage), daemon=True).start()
            try:
                for request in self.protocol.requests(client):
                    how = self._struck(request)
                    if self.stalls.is_set():
                        continue
                    if how == "before":
                        break
                    if how == "after":
                        passage.lost = passage.asked + 1
                    passage.asked += request.is_answered
                    server.sendall(request.data)
            finally:
                for peer in (server, client):  # closing alone wakes nobody who reads there
                    with suppress(OSError):
                        peer.shutdown(socket.SHUT_RDWR)

    def _struck(self, request: Request) -> str:
        """What becomes of it; a delay is over."""
        found = request.is_commit if self.is_commit is None else self.is_commit(request.data)
        if not found or self.stalls.is_set():
            return ""
        how = self.strike(next(self.numbers))
        if how == "stall":
            self.stalls.set()
        if not isinstance(how, str):
            self._over.wait(how)
            return ""
        self.cuts += how in ("before", "after")
        return how

    def _answer(self, server: socket.socket, client: socket.socket, passage: _Passage) -> None:
        answered = 0
        with suppress(OSError):
            for data, ends in self.protocol.answers(server):
                is_lost = 0 < passage.lost <= answered + 1
                answered += ends
                if is_lost:
                    if ends:  # it is committed
                        break
                elif not self.stalls.is_set():
                    client.sendall(self.change(data))
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


class _Passage:
    """A connection through the proxy: how many requests that are answered it has passed on, and the number of the one
    whose answer is lost."""

    asked = 0
    lost = 0
