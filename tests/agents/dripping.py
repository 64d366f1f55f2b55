"""Servers that send for ever, each byte in time: headers, a body, a stream, what follows its end; and one that
reads nothing."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import chain, cycle, repeat
from typing import Any

PACE = 0.02
"""Seconds between two bytes, or two pieces."""

_HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _piece(is_ollama: bool, text: str, ends: bool = False) -> bytes:
    """One piece of a stream."""
    if is_ollama:
        told: dict[str, Any] = {"model": "m", "message": {"role": "assistant", "content": text}, "done": ends}
        return _chunk(json.dumps(told).encode() + b"\n")
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": "stop" if ends else None}
    told = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return _chunk(b"data: " + json.dumps(told).encode() + b"\n\n")


def _sent(kind: str, is_ollama: bool) -> Iterator[bytes]:
    if kind == "headers":
        return chain([b"HTTP/1.1 200 OK\r\n"], cycle([b"X", b"-", b"A", b":", b" ", b"b", b"\r\n"]))
    if kind == "body":
        return chain([_HEADERS % b"application/json"], repeat(_chunk(b" ")))
    headers = _HEADERS % (b"application/x-ndjson" if is_ollama else b"text/event-stream")
    if kind == "ended":
        whole = [headers, _piece(is_ollama, "well"), _piece(is_ollama, "", ends=True)]
        return chain(whole, repeat(_chunk(b" " if is_ollama else b": on\n\n")))
    return chain([headers], repeat(_piece(is_ollama, "well ")))


class Dripping:
    """One such server on loopback. ``kind``: ``headers``, ``body``, ``stream``, ``ended`` or ``deaf``."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.began = threading.Event()
        """Set when the first request is there."""
        self.left = threading.Semaphore(0)
        """Released whenever a client has gone."""
        self._ends = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        if kind == "deaf":
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def _serve(self) -> None:
        while not self._ends.is_set():
            with suppress(OSError):
                connection, _ = self._socket.accept()
                self._threads.append(threading.Thread(target=self._drip, args=(connection,)))
                self._threads[-1].start()

    def _drip(self, connection: socket.socket) -> None:
        with closing(connection):
            if self.kind == "deaf":
                self._ends.wait()
                return
            with suppress(OSError):
                request = connection.recv(1 << 16)
                self.began.set()
                for part in _sent(self.kind, request.startswith(b"POST /api")):
                    connection.sendall(part)
                    if self._ends.wait(PACE):
                        return
            self.left.release()

    def close(self) -> None:
        self._ends.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._socket.close()


@contextmanager
def dripping(kind: str) -> Iterator[Dripping]:
    server = Dripping(kind)
    try:
        yield server
    finally:
        server.close()
