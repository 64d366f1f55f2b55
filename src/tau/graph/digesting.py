"""What digests of code are made of: hashing, the constants in code, and the error where there is no code."""

from __future__ import annotations

import hashlib
import types
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from typing import Any
from uuid import UUID

EXACT_REPR = (Decimal, Fraction, UUID, PurePath, date, datetime, time, timedelta, range, complex)
"""The kinds of single values, beside numbers and text, whose ``repr`` says all of them."""


class Opaque(Exception):
    """There is no code of this kind to look at; the text says of what."""


def hashed(tag: str, *parts: bytes) -> bytes:
    state = hashlib.blake2b(tag.encode(errors="surrogatepass"), digest_size=16)
    for part in parts:
        state.update(len(part).to_bytes(8, "big") + part)
    return state.digest()


def scalar(value: Any) -> bytes:
    """The digest of a number, text or other single value whose ``repr`` says all of it."""
    if isinstance(value, int):  # repr() refuses integers of more than 4,300 digits
        return hashed(type(value).__name__, hex(value).encode())
    return hashed(type(value).__name__, repr(value).encode())


def constant(value: Any, code: Callable[[types.CodeType], bytes]) -> bytes:
    """The digest of what a compiler may put into code as a constant; ``code`` digests nested code."""

    def inner(value: Any) -> bytes:
        if isinstance(value, types.CodeType):
            return code(value)
        if isinstance(value, tuple):
            return hashed("tuple", *map(inner, value))
        if isinstance(value, frozenset):
            return hashed("frozenset", *sorted(map(inner, value)))
        if isinstance(value, slice):
            return hashed("slice", *map(inner, (value.start, value.stop, value.step)))
        return scalar(value)

    return inner(value)
