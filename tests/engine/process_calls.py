"""Functions that worker processes import, and that journal calls."""

from __future__ import annotations

from typing import Any

from tau import current


def answer(number: int) -> str:
    return f"asked {number}"


def ask(number: int) -> str:
    return current().journal("ask", answer, number)


def node(state: Any) -> dict[str, Any]:
    return {"out": ask(1)}
