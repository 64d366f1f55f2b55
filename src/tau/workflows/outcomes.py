"""What became of the items of a parallel map: `Outcome`, `ParallelResult`, and what is said of their failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeVar

from tau.errors import ParallelError, TaskError
from tau.workflows.surroundings import said

R = TypeVar("R")

Status = Literal["done", "failed", "cancelled", "not_run"]
STATUSES: Final[tuple[Status, ...]] = ("not_run", "done", "failed", "cancelled")
NOT_RUN, DONE, FAILED, CANCELLED = range(4)
"""The statuses as they are kept, one byte for each item."""

_MAX_KINDS = 8


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R]):
    """What became of one item: ``done`` with a ``value``; ``failed`` with an ``error``; ``cancelled`` in the middle;
    or ``not_run``, as something else had ended the work before."""

    index: int
    status: Status
    value: R | None = None
    error: TaskError | None = None


@dataclass(frozen=True, slots=True)
class ParallelResult(Generic[R]):
    """What a parallel map came to.

    ``results`` are those of the items that are done, in the order of the items and without gaps; ``errors`` those of
    the items that failed, in the same order; ``outcomes`` tells which is which. Making one raises nothing.
    """

    results: list[R] = field(default_factory=list)
    errors: tuple[TaskError, ...] = ()
    statuses: bytes = field(default=b"", repr=False)

    @property
    def outcomes(self) -> tuple[Outcome[R], ...]:
        """One for each item, in the order of the items, as far as these are known. Raises nothing."""
        values, errors = iter(self.results), iter(self.errors)
        return tuple(
            Outcome(
                index,
                STATUSES[status],
                next(values) if status == DONE else None,
                next(errors) if status == FAILED else None,
            )
            for index, status in enumerate(self.statuses)
        )


def task_error(index: int, item: Any, error: BaseException, text: str = "item {index}: {said}") -> TaskError:
    """The failure of an item, whose cause is what its task raised."""
    failure = TaskError(text.format(index=index, said=said(error)), index=index, item=item, error=error)
    failure.__cause__ = error
    return failure


def parallel_error(errors: Iterable[TaskError], result: ParallelResult[Any], why: str = "") -> ParallelError:
    """The failure of the whole; ``why`` says what broke it off, if something did."""
    found = tuple(errors)
    summary = _summary(found)
    what = f"cancelled: {why}" + (f"; {summary}" if summary else "") if why else f"failed: {summary}"
    text = f"parallel execution {what}" if why or summary else "parallel execution failed"
    return ParallelError(text, errors=found, result=result)


def _summary(errors: tuple[TaskError, ...]) -> str:
    """``item 5: no route`` or ``4 items failed with 2 error types: 'no route' (3 items), 'timeout' (1 item)``; of those
    as frequent as each other, the first one comes first."""
    if len(errors) <= 1:
        return "".join(map(str, errors))
    kinds = Counter(said(one.error) if one.error is not None else str(one) for one in errors).most_common()
    shown = [f"'{text[:200]}' ({count} item{'s' * (count > 1)})" for text, count in kinds[:_MAX_KINDS]]
    more = ["..."] if len(kinds) > _MAX_KINDS else []
    types = f"{len(kinds)} error type{'s' * (len(kinds) > 1)}"
    return f"{len(errors)} items failed with {types}: {', '.join([*shown, *more])}"
