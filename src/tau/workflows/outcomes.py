"""What became of the items of a parallel map: `Outcome`, `ParallelResult`, and what is said of their failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Protocol, TypeVar

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


class Results(Protocol):
    """Results by the indexes of their items."""

    def put(self, index: int, result: Any, /) -> None:
        """What the call for an item gave."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """The result of an item that has one."""
        ...


class GivenResults:
    """Results as the task returned them."""

    def __init__(self) -> None:
        self._found: list[Any] = []

    def put(self, index: int, result: Any) -> None:
        found = self._found
        while len(found) <= index:
            found.append(None)
        found[index] = result

    def __getitem__(self, index: int) -> Any:
        return self._found[index]

    def dense(self, statuses: bytes) -> list[Any]:
        """Those of the items that are done."""
        found = self._found
        return found if statuses.count(DONE) == len(found) else [*_read(self, statuses)]


class _ReadLater:
    """The list of results is made when it is asked for."""

    __slots__ = ("_unread",)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name != "results" or (unread := getattr(self, "_unread", None)) is None:
                raise AttributeError(name)
            object.__setattr__(self, "results", found := list(_read(unread, self.statuses)))
            object.__setattr__(self, "_unread", None)
            return found


@dataclass(frozen=True, slots=True)
class ParallelResult(_ReadLater, Generic[R]):
    """What a parallel map came to.

    ``results`` are those of the items that are done, in the order of the items and without gaps; ``errors`` those of
    the items that failed, in the same order; ``outcomes`` tells which is which. Making one raises nothing. To iterate
    over it gives the results one after the other, without a list of them all where they are stored.

    >>> from tau import ParallelConfig, process_parallel
    >>> result = process_parallel([2, 0, 4], lambda n: 8 // n, ParallelConfig(fail_fast=False, observer=None))
    >>> result.results, [one.status for one in result.outcomes], result.errors[0].index
    ([4, 2], ['done', 'failed', 'done'], 1)
    """

    results: list[R] = field(default_factory=list)
    errors: tuple[TaskError, ...] = ()
    statuses: bytes = field(default=b"", repr=False)

    def __iter__(self) -> Iterator[R]:
        """The results in the order of the items. In a run with a store each is read when it is its turn, which raises
        `CorruptCheckpointError` or `StoreError` where it cannot be read."""
        unread: Results | None = getattr(self, "_unread", None)
        return iter(self.results) if unread is None else _read(unread, self.statuses)

    @property
    def outcomes(self) -> tuple[Outcome[R], ...]:
        """One for each item, in the order of the items, as far as these are known. Raises nothing."""
        values, errors = iter(self), iter(self.errors)
        return tuple(
            Outcome(
                index,
                STATUSES[status],
                next(values) if status == DONE else None,
                next(errors) if status == FAILED else None,
            )
            for index, status in enumerate(self.statuses)
        )


def result_of(results: Results, errors: tuple[TaskError, ...], statuses: bytes) -> ParallelResult[Any]:
    """What a map came to that is over."""
    if isinstance(results, GivenResults):
        return ParallelResult(results.dense(statuses), errors, statuses)
    found: ParallelResult[Any] = object.__new__(ParallelResult)
    for name, value in (("_unread", results), ("errors", errors), ("statuses", statuses)):
        object.__setattr__(found, name, value)
    return found


def unread_of(result: ParallelResult[Any]) -> Any:
    """Its results that lie in a store; ``None`` where there are none such."""
    return getattr(result, "_unread", None)


def _read(results: Results, statuses: bytes) -> Iterator[Any]:
    return (results[index] for index, status in enumerate(statuses) if status == DONE)


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
