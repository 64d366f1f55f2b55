"""What notebooks show: plain HTML, everything escaped, no script, nothing loaded from anywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from tau.errors import TauError
from tau.redaction import REDACTED
from tau.values import decode
from tau.values.registry import kind_of_tag
from tau.values.stored import INLINE, NO_ATOM, Blobs, Inline, StoredValue
from tau.values.tags import FROZENSET, MAP, SET, TUPLE

SHOWN: Final = 80
"""How many characters of a value, and how many rows of a table, are shown."""

_EXACT = (type(None), bool, int, float, str, bytes)
_STRUCTURES = {TUPLE: "tuple", MAP: "dict", SET: "set", FROZENSET: "frozenset"}
_CELL = ' style="text-align:left"'


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[Any]], facts: Mapping[str, Any]) -> str:
    """A heading, facts (those without a value are left out), and rows."""
    told = " &middot; ".join(f"{_text(name)}: {_text(fact)}" for name, fact in facts.items() if fact not in (None, ""))
    listed = list(rows)
    body = "".join("<tr>" + "".join(f"<td{_CELL}>{_text(one)}</td>" for one in row) + "</tr>" for row in listed[:SHOWN])
    more = f"<p>and {len(listed) - SHOWN} more</p>" if len(listed) > SHOWN else ""
    head = "".join(f"<th{_CELL}>{_text(one)}</th>" for one in heads)
    grid = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if listed else ""
    return f"<div><p><b>{_text(title)}</b></p>" + (f"<p>{told}</p>" if told else "") + f"{grid}{more}</div>"


def value(stored: Any, size: int | None, secret: bool) -> tuple[str, str, str]:
    """Type, size and, for short scalars, the value. A cell's own memory is all that is looked at: nothing is fetched, a
    long encoding is not decoded, and the cell stays as it is."""
    if type(stored) is StoredValue:
        size = stored.size
        kind, stored = _of_cell(stored)
    else:
        kind = name_of(type(stored))
    shown = REDACTED if secret else _short(stored) if type(stored) in _EXACT else _extent(stored)
    return kind, "" if size is None else f"{size:,} B", shown


def _of_cell(cell: StoredValue) -> tuple[str, Any]:
    if cell.atom is not NO_ATOM:
        return name_of(type(cell.atom)), cell.atom
    if type(cell.whole) is Inline:
        try:
            found = decode(cell.whole.data)  # a copy of its own; at most a few hundred bytes
        except TauError as error:
            return "cannot be read", type(error).__name__
        return name_of(type(found)), found
    head = cell.encoded or (cell.whole.head if type(cell.whole) is Blobs else b"")
    return _kind_of(head[: INLINE * 8]) if head else "not read yet", NO_ATOM


def _kind_of(data: bytes) -> str:
    """The type of an encoding, by its first bytes."""
    first = data[0]
    if 0x80 <= first <= 0x9F:
        return "dict" if first < 0x90 else "list"
    plain = {0xDE: "dict", 0xDF: "dict", 0xDC: "list", 0xDD: "list", 0xC4: "bytes", 0xC5: "bytes", 0xC6: "bytes"}
    place = {0xC7: 2, 0xC8: 3, 0xC9: 5, 0xD4: 1, 0xD5: 1, 0xD6: 1, 0xD7: 1, 0xD8: 1}.get(first)
    if place is None or len(data) <= place:
        return plain.get(first, "str" if first in (0xD9, 0xDA, 0xDB) or 0xA0 <= first <= 0xBF else "not read yet")
    tag = data[place]
    if tag in _STRUCTURES:
        return _STRUCTURES[tag]
    try:
        types = kind_of_tag(tag).types
    except TauError:
        return "not known here"
    return name_of(types[0]) if len(types) == 1 else "not read yet"


def _extent(found: Any) -> str:
    """How much there is of what is not shown: of plain containers, and of arrays and tables."""
    if type(found) in (list, tuple, set, frozenset, dict, bytearray):
        return f"{len(found):,} items"
    shape = getattr(found, "shape", None) if type(found).__module__.partition(".")[0] in _WITH_SHAPE else None
    return " x ".join(map(str, shape)) if type(shape) is tuple else ""


_WITH_SHAPE = ("numpy", "pandas", "polars", "pyarrow", "xarray")


def _short(scalar: Any) -> str:
    if type(scalar) is int and abs(scalar) >= 1 << 256:
        return f"{scalar.bit_length():,} bits"
    text = repr(scalar[: SHOWN + 1] if isinstance(scalar, str | bytes) else scalar)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def name_of(kind: type) -> str:
    """A type by the name under which users import it, as in ``xarray.Dataset``, where its package has it by that."""
    package = kind.__module__.partition(".")[0]
    if getattr(sys.modules.get(package), kind.__qualname__, None) is kind:
        return kind.__name__ if package == "builtins" else f"{package}.{kind.__qualname__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def _text(anything: Any) -> str:
    return escape(str(anything).encode("utf-8", "backslashreplace").decode())
