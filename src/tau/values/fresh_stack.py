"""A stack of one's own, for callers who have used up most of theirs."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any, TypeVar

Result = TypeVar("Result")


def with_fresh_stack(function: Callable[[Any], Result], argument: Any) -> Result:
    """``function(argument)``, run in a thread that has the whole recursion limit before it; errors pass through."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function(argument))
        except BaseException as error:
            errors.append(error)

    thread = Thread(target=run, name="tau-values", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
