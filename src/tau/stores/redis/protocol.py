"""What is said to a Redis server and what it answers, as bytes (RESP 2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

Command = Sequence[bytes | str | int | float]

_DEEPEST: Final = 8  # answers to what tau asks are lists of lists at most
_SMALL: Final = 1 << 14  # what is smaller is put together before it is sent


class ServerError(Exception):
    """What the server answers instead of doing something. ``code`` is its first word, or that which says most."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.code = code_in(said)


class NoRedisError(Exception):
    """An answer that no Redis server gives."""


_CODES: Final = frozenset({
    "OOM", "READONLY", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "BUSY", "NOAUTH", "WRONGPASS", "NOPERM",
    "MOVED", "ASK", "CROSSSLOT", "CLUSTERDOWN", "TRYAGAIN", "WRONGTYPE", "NOSCRIPT",
})  # fmt: skip


def code_in(said: str) -> str:
    """The code of an error, which one from inside a script has somewhere in its text."""
    words = said.replace("-", " ").replace("'", " ").split()
    return next((word for word in words if word in _CODES), words[0] if words else "")


def packed(commands: Sequence[Command]) -> Iterator[bytes]:
    """The bytes of commands, in pieces."""
    pieces: list[bytes] = []
    for command in commands:
        pieces.append(b"*%d\r\n" % len(command))
        for given in command:
            data = given if isinstance(given, bytes) else _text(given)
            if len(data) < _SMALL:
                pieces.append(b"$%d\r\n%b\r\n" % (len(data), data))
            else:  # without another copy of it
                yield b"%b$%d\r\n" % (b"".join(pieces), len(data))
                yield data
                pieces = [b"\r\n"]
    yield b"".join(pieces)


def _text(given: str | float) -> bytes:
    return given.encode() if isinstance(given, str) else repr(given).encode()


class Answers:
    """Reads answers from what a subclass receives."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0

    def _receive(self) -> bytes:
        """The next bytes, at least one."""
        raise NotImplementedError

    def _next(self, depth: int = 0) -> Any:
        """One answer: a number, bytes, a list, ``None``, or a `ServerError`, which is not raised. Raises
        `NoRedisError`."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b":":
            return _number(rest)
        if kind == b"$":
            size = _number(rest)
            return None if size < 0 else self._bytes(size)
        if kind == b"*" and depth < _DEEPEST:
            return [self._next(depth + 1) for _ in range(_number(rest))]
        if kind == b"+":
            return rest
        if kind == b"-":
            return ServerError(rest.decode("utf-8", "replace"))
        raise NoRedisError(f"it answered {line[:40]!r}, which is not Redis's protocol")

    def _is_all(self) -> None:
        """Forget what was read, which was all. Raises `NoRedisError` if there is more, for which nothing was asked."""
        if self._at != len(self._data):
            raise NoRedisError("it answered what it was not asked")
        self._data.clear()
        self._at = 0

    def _line(self) -> bytes:
        data = self._data
        start = self._at
        while (end := data.find(b"\r\n", start)) < 0:
            start = max(self._at, len(data) - 1)
            if len(data) - self._at > _SMALL:
                raise NoRedisError("it answered with a line without an end")
            data += self._receive()
        line = bytes(data[self._at : end])
        self._at = end + 2
        return line

    def _bytes(self, size: int) -> bytes:
        data = self._data
        end = self._at + size
        while len(data) < end + 2:
            data += self._receive()
        found = bytes(memoryview(data)[self._at : end])
        self._at = end + 2
        return found


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise NoRedisError(f"it answered {text[:40]!r} where a number belongs") from None
