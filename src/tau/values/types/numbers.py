"""Decimals, fractions and UUIDs."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID, SafeUUID

from tau.values import tags
from tau.values.registry import Kind

# Decimal() answers other text with NaN where the caller's context does not trap; this text it always takes exactly.
_DECIMAL = re.compile(rb"-?(\d+(\.\d+)?(E[+-]\d+)?|Infinity|s?NaN\d*)")
_SAFE = (SafeUUID.unknown, SafeUUID.safe, SafeUUID.unsafe)


def _unpack_decimal(data: bytes) -> Decimal:
    if not _DECIMAL.fullmatch(data):
        raise ValueError("not a decimal number")
    text = data.decode()
    value = Decimal(text)
    if str(value) != text:
        raise ValueError("not a decimal number in its usual form")
    return value


def _unpack_fraction(body: Any) -> Fraction:
    numerator, denominator = body
    if type(numerator) is not int or type(denominator) is not int:
        raise ValueError("a fraction needs two integers")
    value = Fraction(numerator, denominator)
    if value.denominator != denominator:
        raise ValueError("a fraction that is not in lowest terms")
    return value


def _pack_uuid(value: UUID) -> bytes:
    safe = _SAFE.index(value.is_safe)
    return value.bytes + (bytes((safe,)) if safe else b"")


def _unpack_uuid(data: bytes) -> UUID:
    if len(data) not in (16, 17):
        raise ValueError("a UUID needs 16 bytes")
    return UUID(bytes=data[:16], is_safe=_SAFE[data[16]] if len(data) == 17 else SafeUUID.unknown)


KINDS = (
    Kind(
        tag=tags.DECIMAL,
        types=(Decimal,),
        pack=lambda value: Decimal.__str__(value).encode(),
        unpack=_unpack_decimal,
        raw=True,
        atom=True,
    ),
    Kind(
        tag=tags.FRACTION,
        types=(Fraction,),
        pack=lambda value: [value.numerator, value.denominator],
        unpack=_unpack_fraction,
        atom=True,
    ),
    Kind(tag=tags.UUID, types=(UUID,), pack=_pack_uuid, unpack=_unpack_uuid, raw=True, atom=True),
)
