"""What may stand between an S3 store and its service: it counts requests, loses them or their answers, answers in the
service's place, and makes of a service one that does not heed conditions."""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple

from proxies import Listener


class Request(NamedTuple):
    """``kind`` is PUT, GET, HEAD, DELETE or LIST; ``key`` is that below the place of the store."""

    kind: str
    key: str
    head: bytes
    body: bytes


def refusal(status: str, code: str, message: str = "said by the proxy") -> bytes:
    """An answer of S3 that refuses."""
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
        f"Connection: close\r\n\r\n{body}"
    ).encode()


class S3Proxy(Listener):
    """``choose`` says for the number of a request, from 0 on among those of its kind and tree (``PUT log``), and the
    request: "" for passing it on, "before" or "after" for hanging up before or after the service has got it, "stall"
    for never answering, or the answer that is given instead. ``strip`` names headers that the service does not see."""

    def __init__(
        self,
        port: int,
        choose: Callable[[int, Request], str | bytes] = lambda number, request: "",
        strip: tuple[str, ...] = (),
    ) -> None:
        self.choose, self.strip = choose, strip
        self.requests: list[Request] = []
        self.lost = 0
        self._numbers: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._over = threading.Event()
        super().__init__(("127.0.0.1", port))

    def __exit__(self, *_: object) -> None:
        self._over.set()
        super().__exit__()

    def count(self) -> dict[str, int]:
        """How many requests of each kind there were since the last call."""
        with self._counting:
            found, self.requests = self.requests, []
        return dict(Counter(request.kind for request in found))

    def serve(self, client: socket.socket) -> None:
        with closing(client.makefile("rb")) as stream:
            head = b""
            while True:
                line = stream.readline()
                if not line:
                    return
                head += line
                if line == b"\r\n":
                    break
            size = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            request = self._noted(head, stream.read(int(size[1])) if size else b"")
        self._answer(client, request)

    def _noted(self, head: bytes, body: bytes) -> Request:
        method, path = head.split(b" ", 2)[:2]
        place, _, query = path.decode().partition("?")
        kind = "LIST" if "list-type" in query else method.decode()
        key = place.partition("/some/place/")[2]
        return Request(kind, key, head, body)

    def _answer(self, client: socket.socket, request: Request) -> None:
        with self._counting:
            self.requests.append(request)
            tree = f"{request.kind} {request.key.partition('/')[0]}"
            number = self._numbers[tree]
            self._numbers[tree] += 1
        how = self.choose(number, request)
        self.lost += how in ("before", "after")
        if how == "before":
            return
        if how == "stall":
            self._over.wait()
            return
        if isinstance(how, bytes):
            client.sendall(how)
            return
        answer = self._asked(request)
        if how != "after":
            client.sendall(answer)

    def _asked(self, request: Request) -> bytes:
        """What the service says, which hangs up behind it."""
        lines = [
            line
            for line in request.head.split(b"\r\n")
            if line.partition(b":")[0].decode().lower() not in (*self.strip, "connection")
        ]
        lines.insert(1, b"Connection: close")
        with closing(self.connect()) as server:
            server.sendall(b"\r\n".join(lines) + request.body)
            parts = []
            while part := server.recv(65536):
                parts.append(part)
        answer = b"".join(parts)
        if b"\r\nconnection: close" not in answer.lower():
            answer = answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        return answer
