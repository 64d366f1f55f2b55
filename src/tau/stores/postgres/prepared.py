"""Statements that a session prepares, and what goes between them and the server: in binary, without the driver's search
for how each value is to be sent, which takes longer than all the rest."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Generator, Mapping, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from psycopg import errors, generators
from psycopg.pq import ExecStatus

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

_Dump = Callable[[Any], bytes]
_BINARY: Final = 1
_NAMED: Final = re.compile(r"%\((\w+)\)[sb]")

_count, _float = Struct("!i").pack, Struct("!d")
_array, _no_items = Struct("!iiiii").pack, Struct("!iii").pack
_NULL: Final = _count(-1)


def _of_int(value: int) -> bytes:
    return value.to_bytes(8, "big", signed=True)


def _to_int(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


# By name, as in a cast: the number of the type in every server, that of arrays of it, and how a value is sent.
_TYPES: Final[dict[str, tuple[int, int, _Dump]]] = {
    "boolean": (16, 1000, lambda value: b"\1" if value else b"\0"),
    "bytea": (17, 1001, bytes),
    "bigint": (20, 1016, _of_int),
    "text": (25, 1009, str.encode),
    "double precision": (701, 1022, _float.pack),
}
_LOADS: Final[dict[int, Callable[[bytes], Any]]] = {20: _to_int, 25: bytes.decode, 701: lambda it: _float.unpack(it)[0]}


class Statement:
    """One statement for all sessions: its ``text``, with the names of its terms as psycopg has them, and ``types``,
    those that PostgreSQL calls the terms by. ``label`` is in the name that a session gives it."""

    def __init__(self, label: str, text: str, types: Mapping[str, str]) -> None:
        self.label = label
        self.text = text
        self.names = tuple(dict.fromkeys(_NAMED.findall(text)))
        numbers = {name: f"${number}" for number, name in enumerate(self.names, 1)}
        self.numbered = _NAMED.sub(lambda found: numbers[found[1]], text).encode()
        pairs = [_type_of(types[name]) for name in self.names]
        self.types = [number for number, _ in pairs]
        self._dumps = [(name, dump) for name, (_, dump) in zip(self.names, pairs, strict=True)]
        self.formats = [_BINARY] * len(self.names)

    def dump(self, terms: Mapping[str, Any]) -> list[bytes | None]:
        """The terms as they are sent."""
        return [None if (term := terms[name]) is None else dump(term) for name, dump in self._dumps]


def _type_of(name: str) -> tuple[int, _Dump]:
    number, of_arrays, dump = _TYPES[name.removesuffix("[]")]
    if not name.endswith("[]"):
        return number, dump

    def dump_all(values: Sequence[Any]) -> bytes:
        if not values:
            return _no_items(0, 0, number)
        parts = [_array(1, None in values, number, len(values), 1)]
        for value in values:
            if value is None:
                parts.append(_NULL)
            else:
                data = dump(value)
                parts += (_count(len(data)), data)
        return b"".join(parts)

    return of_arrays, dump_all


class Prepared:
    """What one session has prepared, under names that no other one has: where a pooler is in between, a statement of
    another client must never be taken for one of these."""

    def __init__(self) -> None:
        self._names: dict[Statement, bytes] = {}
        self._suffix = secrets.token_hex(8)

    def execute(
        self, connection: PGconn, statement: Statement, terms: list[bytes | None]
    ) -> Generator[Any, Any, list[list[Any]]]:
        """Have it executed, which is a transaction, and first prepared if it is not yet; its rows."""
        name = self._names.get(statement)
        if name is None:
            name = f"tau_{statement.label}_{self._suffix}".encode()
            connection.send_prepare(name, statement.numbered, param_types=statement.types)
            yield from _answer(connection)
            self._names[statement] = name
        connection.send_query_prepared(name, terms, param_formats=statement.formats, result_format=_BINARY)
        result = yield from _answer(connection)
        loads = [_LOADS.get(result.ftype(column)) for column in range(result.nfields)]
        value = result.get_value
        return [
            [_loaded(value(row, column), load) for column, load in enumerate(loads)] for row in range(result.ntuples)
        ]


def _answer(connection: PGconn) -> Generator[Any, Any, Any]:
    for result in (yield from generators.execute(connection)):
        if result.status == ExecStatus.FATAL_ERROR:
            raise errors.error_from_result(result, encoding="utf-8")
    return result


def _loaded(data: bytes | None, load: Callable[[bytes], Any] | None) -> Any:
    return data if data is None or load is None else load(data)
