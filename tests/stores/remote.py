"""Stores in another process: ``python remote.py`` does to them what it is told on its standard input."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO

import msgspec

from tau.errors import StoreError
from tau.stores import open_store
from tau.stores.contract import Batch, Lease, PositionConflict, Query, Store, Summary

ARGUMENTS: dict[str, Any] = {
    "commit": tuple[list[Batch]],
    "select": tuple[Query],
    "blobs": tuple[str, list[bytes]],
    "delete": tuple[str, bool, int | None],
}
ANSWERS: dict[str, Any] = {
    "commit": list[tuple[str, int] | int],
    "select": list[Summary],
    "summary": Summary | None,
    "lease": Lease | None,
    "read": list[tuple[int, bytes]],
    "blobs": dict[bytes, bytes],
}


def send(stream: BinaryIO, message: Any) -> None:
    data = msgspec.msgpack.encode(message)
    stream.write(struct.pack("<I", len(data)) + data)
    stream.flush()


def receive(stream: BinaryIO) -> bytes:
    head = stream.read(4)
    return stream.read(struct.unpack("<I", head)[0]) if head else b""


def start() -> subprocess.Popen[bytes]:
    """Another process; it ends when its standard input is closed."""
    process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert receive(process.stdout) == b"\xa5ready"
    return process


class RemoteStore(Store):
    """The store at ``url`` in that process."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.location = url
        self._process = process

    def _ask(self, method: str, *arguments: Any) -> Any:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        send(process.stdin, (self.location, method))
        send(process.stdin, arguments)
        kind = msgspec.msgpack.decode(receive(process.stdout))
        answer = receive(process.stdout)
        if kind == "conflict":
            raise PositionConflict(*msgspec.msgpack.decode(answer))
        if kind == "error":
            raise StoreError(msgspec.msgpack.decode(answer))
        return msgspec.msgpack.decode(answer, type=ANSWERS.get(method, Any))

    def commit(self, batches: Sequence[Batch]) -> Sequence[int | Exception]:
        found = self._ask("commit", list(batches))
        return [
            PositionConflict(each.run_id, each.expected, answer[1]) if isinstance(answer, tuple) else answer
            for each, answer in zip(batches, found, strict=True)
        ]

    def read(self, run_id: str, after: int = 0) -> Sequence[tuple[int, bytes]]:
        found: Sequence[tuple[int, bytes]] = self._ask("read", run_id, after)
        return found

    def summary(self, run_id: str) -> Summary | None:
        found: Summary | None = self._ask("summary", run_id)
        return found

    def blobs(self, run_id: str, digests: Iterable[bytes]) -> Mapping[bytes, bytes]:
        found: Mapping[bytes, bytes] = self._ask("blobs", run_id, list(digests))
        return found

    def select(self, query: Query) -> Sequence[Summary]:
        found: Sequence[Summary] = self._ask("select", query)
        return found

    def delete(self, run_id: str, keep_summary: bool = False, *, expected: int | None = None) -> None:
        self._ask("delete", run_id, keep_summary, expected)

    def lease(self, run_id: str) -> Lease | None:
        found: Lease | None = self._ask("lease", run_id)
        return found

    def renew(self, run_id: str, nonce: str, seconds: float) -> bool:
        return bool(self._ask("renew", run_id, nonce, seconds))

    def release(self, run_id: str, nonce: str) -> None:
        self._ask("release", run_id, nonce)

    def close(self) -> None:
        self._ask("close")


def carry_out(store: Store, method: str, arguments: Any) -> Any:
    if method == "delete":
        run_id, keep_summary, expected = arguments
        return store.delete(run_id, keep_summary, expected=expected)
    answer = getattr(store, method)(*arguments)
    if method == "commit":
        return [("conflict", each.position) if isinstance(each, PositionConflict) else each for each in answer]
    return answer


def main() -> None:
    stores: dict[str, Store] = {}
    given, answers = sys.stdin.buffer, sys.stdout.buffer
    send(answers, "ready")
    while order := receive(given):
        url, method = msgspec.msgpack.decode(order)
        store = stores[url] = stores.get(url) or open_store(url)
        arguments = msgspec.msgpack.decode(receive(given), type=ARGUMENTS.get(method, Any))
        try:
            kind, answer = "done", carry_out(store, method, arguments)
        except PositionConflict as error:
            kind, answer = "conflict", (error.run_id, error.expected, error.position)
        except StoreError as error:
            kind, answer = "error", str(error)
        send(answers, kind)
        send(answers, answer)


if __name__ == "__main__":
    main()
