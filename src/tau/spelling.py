"""What was meant by a name that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tau.late_imports import load_module

_MANY = 1_000


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """The nearest of the ``known`` names, as in ``; did you mean 'client'?``; empty if none is near."""
    names = list(known)
    if not isinstance(name, str) or len(names) > _MANY:
        return ""
    load_module("difflib")
    from difflib import get_close_matches  # only needed for a mistyped name

    return "".join(f"; did you mean {near!r}?" for near in get_close_matches(name, names, 1))
