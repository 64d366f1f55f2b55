"""File system paths. They are names: nothing is opened or resolved."""

from __future__ import annotations

import os
from pathlib import PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any

from tau.errors import UnsupportedFormatError
from tau.values import tags
from tau.values.refusal import refuse
from tau.values.registry import Kind

# The numbers are stored; they stay.
_FLAVOURS: tuple[type[PurePath], ...] = (PurePosixPath, PureWindowsPath, PosixPath, WindowsPath)
_FOREIGN = PosixPath if os.name == "nt" else WindowsPath


def _pack(value: PurePath) -> list[Any]:
    text = str(value)
    cls = type(value)
    if cls(text).parts != value.parts:
        raise refuse(value, "its text does not lead back to the same path; store a path made from one string")
    return [_FLAVOURS.index(cls), text]


def _unpack(body: Any) -> PurePath:
    number, text = body
    if type(number) is not int or type(text) is not str or not 0 <= number < len(_FLAVOURS):
        raise ValueError("a path needs its flavour and its text")
    cls = _FLAVOURS[number]
    if cls is _FOREIGN:
        raise UnsupportedFormatError(
            f"a stored value is of type {cls.__name__}, which only another operating system has; store a PurePath",
            found=number,
        )
    return cls(text)


KINDS = (Kind(tag=tags.PATH, types=_FLAVOURS, pack=_pack, unpack=_unpack, atom=True),)
