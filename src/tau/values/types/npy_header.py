"""The head of an npy file: dtype, order and shape as text, written and read without running any of it.

The format is that of NumPy (NEP 1), versions 1.0 and 2.0, in the form that ``numpy.save`` gives it, so that every
reader of npy files takes it. The text is read by the few rules below and not as Python: a dtype is a string, or a list
of fields; names are ASCII, other characters are escaped by their hexadecimal number, as Python does it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from tau.signals import pass_on

MAGIC = b"\x93NUMPY"
MAX_HEAD = 1 << 20

# What no npy file says of a dtype, said beside it.
ALIGNED = 1  # made with align=True
LONG_LONG = 2  # C's long long where it is not the usual 8-byte integer
FLAGS = ALIGNED | LONG_LONG

_UNITS = "Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as"
_SIMPLE = re.compile(rf"[<>|](b1|[iu][1248]|f[248]|c8|c16|[SUV]\d{{1,10}}|[mM]8(\[(\d{{1,9}})?({_UNITS})\])?)")
_ODD = re.compile(r"[^ !#-&(-\[\]-~]")
_TOKEN = re.compile(r"'((?:[^'\\]|\\['\\]|\\u[0-9a-f]{4}|\\U[0-9a-f]{8})*)'|(\d{1,19})|(, )|([\[\](),])")
_ESCAPE = re.compile(r"\\(?:u([0-9a-f]{4})|U([0-9a-f]{8})|(['\\]))")
_SHAPE = r"\(\)|\(\d{1,19},\)|\(\d{1,19}(?:, \d{1,19})+\)"
_HEAD = re.compile(rf"\{{'descr': (.*), 'fortran_order': (True|False), 'shape': ({_SHAPE}), \}} *\n")
_DEPTH = 32


class Unstorable(Exception):
    """A dtype that does not come back as it is; the text says why and what to do."""


def describe(dtype: np.dtype[Any]) -> tuple[int, str]:
    """The flags and the text of a dtype. Raises `Unstorable` where they do not lead back to exactly it."""
    # Dtypes that are equal need not be the same: "q" and "l" are the same 8 bytes, and two types.
    return _describe_usual(dtype.char) if dtype is np.dtype(dtype.char) else _describe(dtype)


@cache
def _describe_usual(char: str) -> tuple[int, str]:
    return _describe(np.dtype(char))


def _describe(dtype: np.dtype[Any]) -> tuple[int, str]:
    text = _text(dtype)
    for flags in (0, ALIGNED if dtype.names is not None else LONG_LONG):
        try:
            made = build(flags, text)
        except ValueError as error:
            pass_on(error)
            continue
        if same_dtype(dtype, made):
            return flags, text
    raise Unstorable(_why(dtype))


def _why(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "T":
        return "strings of variable length are not stored; store value.tolist()"
    if dtype.hasobject:
        return "it holds Python objects; store a list, as in value.tolist(), or an array of one dtype"
    if dtype.char in "gG":
        return "extended precision differs between machines; store it as float64 or complex128, or as text"
    if dtype.metadata:
        remedy = "an array of the same fields without" if dtype.names else "value.astype(value.dtype.str)"
        return f"its dtype carries metadata, which would be lost; store {remedy}"
    return f"its dtype {dtype!s:.80} is not one that comes back exactly; store it as one of NumPy's usual dtypes"


def _text(dtype: np.dtype[Any]) -> str:
    if dtype.names is None or dtype.hasobject:
        return f"'{dtype.str}'"
    inside: Any = dtype.fields
    fields, end = [], 0
    for name in dtype.names:
        field, offset, *title = inside[name]
        if offset < end:
            raise Unstorable(
                "the fields of its dtype overlap or are not in the order of their places; store "
                "numpy.lib.recfunctions.repack_fields(value)"
            )
        if title and type(title[0]) is not str:
            raise Unstorable("a field of its dtype has a title that is not text; rename its fields")
        if offset > end:
            fields.append(f"('', '|V{offset - end}')")
        label = f"({_quoted(title[0])}, {_quoted(name)})" if title else _quoted(name)
        base, shape = field.subdtype or (field, ())
        fields.append(f"({label}, {_text(base)}{f', {_shape(shape)}' if shape else ''})")
        end = offset + field.itemsize
    if dtype.itemsize > end:
        fields.append(f"('', '|V{dtype.itemsize - end}')")
    return f"[{', '.join(fields)}]"


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _quoted(text: str) -> str:
    return f"'{_ODD.sub(_escaped, text)}'"


def _escaped(found: re.Match[str]) -> str:
    char = found.group()
    if char in "'\\":
        return f"\\{char}"
    return f"\\u{ord(char):04x}" if ord(char) < 1 << 16 else f"\\U{ord(char):08x}"


def same_dtype(one: np.dtype[Any], two: np.dtype[Any]) -> bool:
    """Whether two dtypes are the same in all that can be seen of them."""
    if one != two or one.num != two.num or one.metadata or two.metadata or one.isalignedstruct != two.isalignedstruct:
        return False
    if one.subdtype is not None and two.subdtype is not None:
        return same_dtype(one.subdtype[0], two.subdtype[0])
    if one.names is None or two.names is None:
        return one.names is two.names
    mine: Any = one.fields
    other: Any = two.fields
    return list(mine) == list(other) and all(
        mine[name][1:] == other[name][1:] and same_dtype(mine[name][0], other[name][0]) for name in mine
    )


def build(flags: int, text: str) -> np.dtype[Any]:
    """The dtype of these flags and this text. Raises `ValueError` for what `describe` does not give."""
    if flags & ~FLAGS:
        raise ValueError(f"unknown flags {flags}")
    if text.startswith("'") and _SIMPLE.fullmatch(text, 1, len(text) - 1):
        return _simple(flags, text[1:-1])
    tokens = _tokens(text)
    described = _literal(tokens, 0)
    if next(tokens, None) is not None:
        raise ValueError("a dtype goes on after its end")
    return _struct(flags, described)


@cache
def _usual(text: str) -> np.dtype[Any]:
    dtype = np.dtype(text)
    if dtype.str != text:
        raise ValueError("no dtype in its usual form")
    return dtype


def _simple(flags: int, text: str) -> np.dtype[Any]:
    if not _SIMPLE.fullmatch(text):
        raise ValueError(f"no dtype: {text!r:.80}")
    dtype = _usual(text) if text[1] in "biufc" else np.dtype(text)
    if not flags:
        return dtype
    if flags == LONG_LONG and text[1:] in ("i8", "u8"):
        return np.dtype(text[0] + ("q" if text[1] == "i" else "Q"))
    raise ValueError(f"a dtype {text} with the flags {flags}")


def _struct(flags: int, described: Any) -> np.dtype[Any]:
    if type(described) is str:
        return _simple(0, described)
    if type(described) is not list or flags & ~ALIGNED:
        raise ValueError("a dtype is a string or a list of fields")
    names, formats, offsets, titles, end = [], [], [], [], 0
    for label, inner, *shape in described:
        dtype = _struct(flags if type(inner) is list else 0, inner)
        if shape:
            (dimensions,) = shape
            dtype = np.dtype((dtype, dimensions))
        if label != "":
            title, name = label if type(label) is tuple else (None, label)
            names.append(name)
            titles.append(title)
            formats.append(dtype)
            offsets.append(end)
        end += dtype.itemsize
    fields: Any = {"names": names, "formats": formats, "offsets": offsets, "titles": titles, "itemsize": end}
    made: np.dtype[Any] = np.dtype(fields, align=bool(flags & ALIGNED))
    return made


def _tokens(text: str) -> Iterator[re.Match[str]]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError("no description of a dtype")
        at = found.end()
        yield found


def _literal(tokens: Iterator[re.Match[str]], depth: int) -> Any:
    """A text, a number, a tuple or a list of these; ``None`` stands for the end of the one around it."""
    found = next(tokens, None)
    if found is None or depth > _DEPTH:
        raise ValueError("a description of a dtype that does not end, or is nested too deeply")
    text, number, _, sign = found.groups()
    if text is not None:
        return _ESCAPE.sub(lambda m: m.group(3) or chr(int(m.group(1) or m.group(2), 16)), text)
    if number is not None:
        return int(number)
    if sign in ("]", ")"):
        return None
    if sign not in ("[", "("):
        raise ValueError("a description of a dtype that is not text, a tuple or a list")
    items = []
    close = {"[": "]", "(": ")"}[sign]
    while (item := _literal(tokens, depth + 1)) is not None:
        items.append(item)
        after = next(tokens, None)
        if after is None or after.group() not in (", ", ",", close):
            raise ValueError("a description of a dtype lacks a comma or an end")
        if after.group() == close:
            break
    return items if sign == "[" else tuple(items)


def head(text: str, fortran: bool, shape: tuple[int, ...]) -> bytes:
    """The beginning of an npy file, a multiple of 64 bytes long."""
    body = f"{{'descr': {text}, 'fortran_order': {fortran}, 'shape': {_shape(shape)}, }}".encode("ascii")
    wide = len(body) > 65_000
    size = len(MAGIC) + (6 if wide else 4) + len(body) + 1
    body += b" " * (-size % 64) + b"\n"
    return MAGIC + (b"\2\0" if wide else b"\1\0") + len(body).to_bytes(4 if wide else 2, "little") + body


def read_head(data: memoryview) -> tuple[str, bool, tuple[int, ...], int]:
    """Dtype text, whether in Fortran order, shape, and where the elements begin. Raises `ValueError`."""
    start = bytes(data[:12])
    if start[:6] != MAGIC or start[6:8] not in (b"\1\0", b"\2\0") or len(start) < 12:
        raise ValueError("not an npy file of version 1.0 or 2.0")
    wide = start[6] == 2
    begin = 12 if wide else 10
    size = int.from_bytes(start[8:begin], "little")
    if size > MAX_HEAD:
        raise ValueError(f"the head of an npy file is longer than {MAX_HEAD} bytes")
    found = _HEAD.fullmatch(bytes(data[begin : begin + size]).decode("ascii"))
    if found is None:
        raise ValueError("no head of an npy file")
    shape = tuple(map(int, re.findall(r"\d+", found.group(3))))
    return found.group(1), found.group(2) == "True", shape, begin + size
