"""Why a run failed, as its log tells it."""

from __future__ import annotations

from tau.errors import CorruptCheckpointError, TauError
from tau.log.encoding import unseal
from tau.log.loading import emptied, not_found
from tau.log.records import Failed, Failure, Interrupted
from tau.stores.contract import Store


class RunFailure(Failure, frozen=True, kw_only=True):
    """The failure of a run as it was recorded: no object of the error, but what it said.

    ``node`` failed, in its try number ``attempt``; with an error of the ``type``, a name, and the ``text``. ``frames``
    are its innermost lines, each as ``(file, line, function)``, the last one raised it. ``notes`` were added to it,
    ``cause`` is what it was raised from, or ``None``, ``errors`` what it holds, if it is a group; each of those has a
    ``type``, a ``text`` and so on, too. Reading them raises nothing.

    >>> from tau import ExecutionError, StateGraph
    >>> graph = StateGraph("one", store="sqlite:///tau.db")
    >>> graph.add_node("work", lambda state: {"n": 1 / state["n"]})
    >>> graph.sequence("work")
    >>> try:
    ...     graph.execute({"n": 0}, run_id="one-1")
    ... except ExecutionError:
    ...     failure = graph.failure("one-1")
    >>> failure.node, failure.attempt, failure.type, failure.text
    ('work', 1, 'ZeroDivisionError', 'division by zero')
    """

    node: str
    attempt: int


def failure_of(store: Store, run_id: str) -> RunFailure | None:
    """See `StateGraph.failure`."""
    summary = store.summary(run_id)
    if summary is None or summary.status == "deleted":
        raise not_found(run_id, store)
    if summary.status != "failed":
        return None
    if summary.base == 0:
        raise emptied(run_id, summary.status, summary.updated)
    last = ending(store, run_id, summary.position)
    if not isinstance(last, Failed) or last.failure is None:
        raise CorruptCheckpointError(f"run {run_id!r} failed, and the record that says why cannot be read")
    said = {name: getattr(last.failure, name) for name in Failure.__struct_fields__}
    return RunFailure(**said, node=last.node, attempt=last.attempt)


def ending(store: Store, run_id: str, position: int) -> Failed | Interrupted | None:
    """The newest record up to ``position`` that says how an attempt at the run ended; damaged ones are passed over."""
    summary = store.summary(run_id)
    last = None
    for number, data in store.scan(run_id, 0 if summary is None else max(summary.base - 1, 0)):
        try:
            record = unseal(run_id, number, data) if number <= position else None
        except TauError:
            continue
        if isinstance(record, Failed | Interrupted) and not record.scope:
            last = record
    return last
