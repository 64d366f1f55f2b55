"""How an attempt ends that asked people something, without what it takes to ask."""

from __future__ import annotations

from typing import Final


class Paused(BaseException):
    """The node cannot go on without an answer. It ends the attempt; let it pass."""


class _Nothing:
    """No default."""

    def __repr__(self) -> str:
        return "no default"


NOTHING: Final = _Nothing()
