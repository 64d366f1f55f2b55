"""The executors by name."""

from __future__ import annotations

from typing import Any, Final

from tau.checks import refused
from tau.spelling import did_you_mean

INLINE: Final = "inline"
THREADS: Final = "threads"

NAMES: Final = (INLINE, THREADS)


def checked_executor(path: str, value: Any) -> str:
    """The name of an executor. Raises `ConfigError`, which lists those that there are."""
    if isinstance(value, str) and value in NAMES:
        return value
    raise refused(path, value, "one of " + ", ".join(map(repr, NAMES)) + did_you_mean(value, NAMES))
