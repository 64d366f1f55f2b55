"""The digest of bytecode: what the interpreter runs, exact, but another under each Python minor version.

It does not depend on line numbers, file names, comments, docstrings or the name of the function itself. Formatting can
show, rarely, since where a line ends decides how the compiler lays out its jumps.
"""

from __future__ import annotations

import dis
import inspect
import types
from bisect import bisect_left
from collections.abc import Callable, Container, Iterator, Mapping
from weakref import WeakKeyDictionary

from tau.graph.digesting import constant, hashed

_digests: WeakKeyDictionary[types.CodeType, bytes] = WeakKeyDictionary()
_SKIPPED = frozenset({"NOP", "CACHE", "EXTENDED_ARG"})
# What the body of a nested class stores under these names depends on where it stands, not on what it does.
_PLACE_NAMES = frozenset({"__qualname__", "__firstlineno__", "__static_attributes__", "__doc__"})
_JUMPS = frozenset(dis.hasjabs) | frozenset(dis.hasjrel)
_FLAGS = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE


_NONE: Mapping[str, str] = {}


def bytecode_digest(code: types.CodeType) -> bytes:
    known = _digests.get(code)
    if known is None:
        known = _digests[code] = hashed("code", *_parts(code, bytecode_digest, _SKIPPED))
    return known


def unit_free_digest(code: types.CodeType) -> bytes:
    """The digest without what the compiler knows of the rest of its unit, a file or a notebook's statement.

    What a call of an attribute is compiled to depends on whether the name before it is imported in the same unit.
    """
    return hashed("code", *_parts(code, unit_free_digest, _SKIPPED | {"PUSH_NULL"}, {"LOAD_METHOD": "LOAD_ATTR"}))


def _parts(
    code: types.CodeType,
    nested: Callable[[types.CodeType], bytes],
    skipped: Container[str],
    names: Mapping[str, str] = _NONE,
) -> Iterator[bytes]:
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & _FLAGS)
    yield repr((counts, code.co_varnames[: sum(counts[:3:2])], code.co_freevars)).encode()
    kept = _meant(code, skipped)
    offsets = [one.offset for one in kept]
    for one in kept:
        yield names.get(one.opname, one.opname).encode()
        yield _argument(one, offsets, nested)
    for start, end, target, depth in _handlers(code.co_exceptiontable):
        yield repr((_index(offsets, start), _index(offsets, end), _index(offsets, target), depth)).encode()


def _meant(code: types.CodeType, skipped: Container[str]) -> list[dis.Instruction]:
    """The instructions without those that formatting, docstrings or the place of the code put in.

    They shift offsets, which is why jumps are counted in the instructions kept.
    """
    kept: list[dis.Instruction] = []
    for one in dis.get_instructions(code):
        if one.opname == "STORE_NAME" and one.argval in _PLACE_NAMES and kept:
            kept.pop()
        elif one.opname not in skipped:
            kept.append(one)
    return kept


def _argument(one: dis.Instruction, offsets: list[int], nested: Callable[[types.CodeType], bytes]) -> bytes:
    if one.opcode in _JUMPS:
        return str(_index(offsets, one.argval)).encode()
    if one.opcode in dis.hasconst:
        return constant(one.argval, nested)
    if isinstance(one.argval, (str, tuple)):
        return repr(one.argval).encode()
    return repr(one.arg).encode()


def _index(offsets: list[int], offset: int) -> int:
    return bisect_left(offsets, offset)


def _handlers(table: bytes) -> Iterator[tuple[int, int, int, int]]:
    """The entries (start, end, target, depth and lasti) of a code object's exception table, in bytes.

    The encoding is described in CPython's ``Objects/exception_handling_notes.txt``.
    """
    numbers = _varints(table)
    for start in numbers:
        length, target, depth = next(numbers), next(numbers), next(numbers)
        yield start * 2, (start + length) * 2, target * 2, depth


def _varints(table: bytes) -> Iterator[int]:
    number = 0
    for byte in table:
        number = (number << 6) | (byte & 63)
        if not byte & 64:
            yield number
            number = 0
