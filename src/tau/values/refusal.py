"""Why a value cannot be stored, and where in it the trouble lies."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from tau.errors import LimitExceededError, UnserializableError
from tau.signals import pass_on


class Step(NamedTuple):
    """One step of a path: an index or key (``[...]``), an attribute (``.name``), a key itself, an element of a set."""

    kind: Literal["item", "attr", "key", "element"]
    value: Any = None

    def __str__(self) -> str:
        if self.kind == "attr":
            return f".{self.value}"
        if self.kind == "key":
            return f".keys()[{self.value}]"
        if self.kind == "element":
            return "{...}"
        return f"[{_short(self.value)}]"


class Refused(Exception):
    """A value that cannot be stored exactly, or that exceeds a limit. Nothing was written.

    ``path`` leads from the value to the offending part, as in ``[3].b`` (empty: the value itself); ``type_name`` is the
    type found there; ``reason`` says why, and what to do; ``limit`` is the bound that was exceeded, ``None`` otherwise.
    """

    def __init__(self, path: str, type_name: str, reason: str, limit: int | None = None) -> None:
        super().__init__(path, type_name, reason, limit)
        self.path = path
        self.type_name = type_name
        self.reason = reason
        self.limit = limit
        self.steps: list[Step] = []

    def under(self, step: Step) -> Refused:
        """Put one step in front: the refusal as the enclosing container sees it."""
        return self.retrace([step, *self.steps])

    def retrace(self, steps: list[Step]) -> Refused:
        """Replace the path."""
        self.steps = steps
        parts = list(map(str, steps))
        if len(parts) > 40:
            parts[20:-10] = [f"...({len(parts) - 30} more steps)..."]
        self.path = "".join(parts)
        return self

    def __str__(self) -> str:
        return f"value{self.path} ({self.type_name}) cannot be stored: {self.reason}"


def refuse(value: object, reason: str, limit: int | None = None) -> Refused:
    """The refusal of exactly this value."""
    return Refused("", type_name(type(value)), reason, limit)


def error_of(
    refused: Refused,
    where: str,
    path: str,
    *,
    key: str = "",
    node: str | None = None,
    why: str = "which cannot be stored",
) -> Exception:
    """What users get: a `LimitExceededError` or an `UnserializableError`, whose message begins with ``where``."""
    text = f"{where} of type {refused.type_name}, {why}: {refused.reason}"
    if refused.limit is not None:
        return LimitExceededError(text, limit=refused.limit)
    return UnserializableError(text, key=key, node=node, path=path, type_name=refused.type_name)


def type_name(cls: type) -> str:
    """The name of a type as a reader knows it: ``dict``, ``numpy.ndarray``."""
    module = getattr(cls, "__module__", "")
    return cls.__qualname__ if module == "builtins" else f"{module}.{cls.__qualname__}"


def _short(key: object) -> str:
    try:
        text = repr(key)
    except Exception as error:
        pass_on(error)
        text = f"<{type(key).__name__}>"
    return text if len(text) <= 60 else text[:57] + "..."
