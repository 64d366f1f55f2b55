"""What is left out where values are shown: those under a name that suggests a secret."""

from __future__ import annotations

import re
from typing import Any, Final

REDACTED: Final = "[redacted]"

_SECRET = re.compile(r"passw|secret|token|credential|api_?key|authorization|private", re.IGNORECASE)


def is_secret(name: object) -> bool:
    """Whether the name suggests a secret."""
    return isinstance(name, str) and _SECRET.search(name) is not None


def without_secrets(name: object, value: Any, depth: int = 50) -> Any:
    """A copy of ``value`` in which every value under a name that suggests a secret is replaced, at any depth of plain
    data; what is nested deeper than ``depth`` is replaced as well, unseen."""
    if is_secret(name):
        return REDACTED
    if type(value) not in (dict, list, tuple):
        return value
    if depth == 0:
        return REDACTED
    if type(value) is dict:
        return {key: without_secrets(key, one, depth - 1) for key, one in value.items()}
    return type(value)(without_secrets("", one, depth - 1) for one in value)
