"""References to artifacts inside encodings, found and put in others' place without decoding what is around them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from msgspec.msgpack import Decoder, Encoder

from tau.signals import pass_on
from tau.values import tags
from tau.values.types.artifact import Artifact
from tau.values.types.references import pack_reference, unpack_reference

Move = Callable[[Artifact], Artifact]
"""Gives the reference that takes the place of one."""

_may_hold = re.compile(rb"\xc7.\x29|\xc8..\x29|\xc9....\x29", re.DOTALL).search
assert tags.ARTIFACT == 0x29

_RAW: Final = frozenset({
    tags.BIG_INT, tags.TEXT, tags.BYTEARRAY, tags.COMPLEX, tags.NAMED_ZONE, tags.DECIMAL, tags.UUID, tags.ND_ARRAY,
    tags.ND_SCALAR, tags.ND_VOID, tags.ND_DTYPE, tags.ARROW_TABLE, tags.ARROW_BATCH, tags.ARROW_ARRAY,
    tags.ARROW_CHUNKED, tags.ARROW_SCHEMA, tags.ARROW_SCALAR, tags.POLARS_FRAME, tags.POLARS_SERIES,
})  # fmt: skip
"""Extensions that hold no encoding."""

_FIXED: Final = {0xC0: 1, 0xC2: 1, 0xC3: 1, 0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3,
          0xD2: 5, 0xD3: 9, 0xDC: 3, 0xDD: 5, 0xDE: 3, 0xDF: 5, 0xD4: 3, 0xD5: 4, 0xD6: 6, 0xD7: 10,
          0xD8: 18}  # fmt: skip
"""Bytes of what has always as many; of arrays and maps the header, as what they hold follows like anything else."""

_LENGTH: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4}
"""Bytes of the length of texts, binaries and extensions."""

_encode: Final = Encoder().encode
_decode: Final = Decoder().decode


def may_hold_artifact(data: bytes) -> bool:
    """Whether there can be a reference in an encoding, or in a part of one."""
    return _may_hold(data) is not None


def relocated(data: bytes, move: Move) -> bytes:
    """An encoding, or what was added at the end of one, with each reference replaced. What holds none is returned as
    it is, and so is what is no encoding."""
    if not may_hold_artifact(data):
        return data
    try:
        return b"".join(_pieces(data, move))
    except (_NoEncodingError, RecursionError):
        return data


class _NoEncodingError(Exception):
    """It does not consist of whole values."""


def _pieces(data: bytes, move: Move) -> list[bytes]:
    found: list[bytes] = []
    at = start = 0
    while at < len(data):
        first = data[at]
        width = _LENGTH.get(first)
        if width is None:
            at += _FIXED.get(first, 1 + (first & 31 if 0xA0 <= first <= 0xBF else 0))
            continue
        size = int.from_bytes(data[at + 1 : at + 1 + width])
        if not 0xC7 <= first <= 0xC9:
            at += 1 + width + size
            continue
        body = at + 2 + width
        if body + size > len(data):
            raise _NoEncodingError
        tag = data[body - 1]
        content = data[body : body + size]
        moved = _moved(tag, content, move)
        if moved is not content:
            found += (data[start:at], _extension(tag, moved))
            start = body + size
        at = body + size
    if at != len(data):
        raise _NoEncodingError
    found.append(data[start:])
    return found


def _moved(tag: int, content: bytes, move: Move) -> bytes:
    if tag == tags.ARTIFACT:
        try:
            artifact = unpack_reference(_decode(content))
        except Exception as error:
            pass_on(error)
            return content
        moved = move(artifact)
        return content if moved is artifact else _encode(pack_reference(moved))
    if tag in _RAW or not may_hold_artifact(content):
        return content
    moved_content = b"".join(_pieces(content, move))
    return content if moved_content == content else moved_content


def _extension(tag: int, content: bytes) -> bytes:
    for first, width in ((0xC7, 1), (0xC8, 2), (0xC9, 4)):
        if len(content) < 1 << 8 * width:
            return b"%c%b%c%b" % (first, len(content).to_bytes(width), tag, content)
    raise ValueError("it is too long")
