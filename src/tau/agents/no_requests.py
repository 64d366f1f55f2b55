"""The switch that makes any real request an error, for tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tau.agents.errors import RequestsForbiddenError
from tau.agents.records import Call

VARIABLE: Final = "TAU_NO_REQUESTS"
"""Set to anything but nothing or 0, it forbids requests in this process and in those that it starts."""


@contextmanager
def no_requests() -> Iterator[None]:
    """In the block, any real request of an agent raises `RequestsForbiddenError`, in all threads of this process and in
    processes that it starts; scripted agents answer. Raises nothing itself.

    >>> from tau.agents import Agent, no_requests
    >>> with no_requests():
    ...     Agent("ollama", "llama3.2:3b").chat("hi")
    Traceback (most recent call last):
    ...
    tau.agents.errors.RequestsForbiddenError: ...
    """
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before


def check_allowed(call: Call, address: str) -> None:
    """Raises `RequestsForbiddenError` where no request may be made."""
    if os.environ.get(VARIABLE, "") not in ("", "0"):
        raise RequestsForbiddenError(
            f"agent {call.agent!r} was about to ask {call.model} at {address}, and {VARIABLE} or "
            "tau.agents.no_requests() forbids real requests here; give the code a scripted agent",
            agent=call.agent,
            provider=call.provider,
            model=call.model,
            address=address,
        )
