"""The verbs that tell what waits for an answer, and answer it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from tau.checks import checked_name
from tau.late_imports import load_module
from tau.spelling import names_keywords
from tau.state_names import check_run_id
from tau.stored_graph import StoredGraph

if TYPE_CHECKING:
    from tau.log.answers import OpenPause


class Answering(StoredGraph):
    """Look for pauses and answer them, from any process."""

    @names_keywords
    def answer(
        self, run_id: str, name: str, value: Any, *, by: str | None = None, changes: Mapping[str, Any] | None = None
    ) -> None:
        """Answer the pause ``name`` of a run, from any process, whoever owns the run; `resume` goes on with it.

        ``value`` is an instance of the form of the pause, or the same in dicts, lists and scalars. ``by`` says who
        answers, which is stored with the time; by default the user and host of this process. ``changes`` are set in the
        state in the same commit, which only the answer to a `pause_node` can do.

        Raises `AnswerError` for an answer that does not fit, `AnsweredError` if somebody was faster,
        `PauseExpiredError` after the deadline, `PauseNotFoundError` if the run does not wait for that,
        `RunCancelledError` and `CheckpointNotFoundError` as `resume` does, `UnserializableError` or
        `LimitExceededError` for a value that cannot be stored, `SchemaError` for changes that do not fit the schema,
        `ConfigError` for a wrong argument or a graph without a store, `StoreError` if the store fails. Nothing is
        stored then.

        >>> from tau import RunWaitingError, pause_node
        >>> review = StateGraph("review", store="sqlite:///tau.db")
        >>> review.add_node("approve", pause_node("approved", form=bool))
        >>> review.sequence("approve")
        >>> try:
        ...     review.execute({}, run_id="review-1")
        ... except RunWaitingError as waiting:
        ...     print(waiting.pauses)
        ('approved',)
        >>> review.answer("review-1", "approved", True, by="mara")
        >>> review.resume("review-1")["approved"]
        True
        """
        self._answer(run_id, {checked_name("the name of a pause", name): value}, by=by, changes=changes)

    @names_keywords
    async def aanswer(
        self, run_id: str, name: str, value: Any, *, by: str | None = None, changes: Mapping[str, Any] | None = None
    ) -> None:
        """`answer` in an event loop, with the same arguments; a thread of the store's own does it, to its end.

        Raises what `answer` raises, and ``asyncio.CancelledError`` when its task is cancelled.

        >>> import asyncio
        >>> from tau import RunWaitingError, pause_node
        >>> review = StateGraph("review", store="sqlite:///tau.db")
        >>> review.add_node("approve", pause_node("approved", form=bool))
        >>> review.sequence("approve")
        >>> async def work():
        ...     try:
        ...         await review.aexecute({}, run_id="review-1")
        ...     except RunWaitingError:
        ...         await review.aanswer("review-1", "approved", False)
        ...     return (await review.aresume("review-1"))["approved"]
        >>> asyncio.run(work())
        False
        """
        answers = {checked_name("the name of a pause", name): value}
        await self._in_thread(partial(self._answer, run_id, answers, by=by, changes=changes))

    def pauses(self, run_id: str | None = None) -> list[OpenPause]:
        """What waits for an answer: in that run, or in all runs of this graph, the first asked first.

        A pause past its deadline is answered by its default here, or its run fails. Raises `CheckpointNotFoundError`
        for a run that the store does not hold, `CorruptCheckpointError` or `UnsupportedFormatError` for one that cannot
        be read, `ConfigError` for a graph without a store, `StoreError` if the store fails.

        >>> graph.pauses()
        []
        """
        load_module("tau.log.answers")
        from tau.log.answers import open_pauses  # only loaded where somebody is asked

        if run_id is not None:
            return open_pauses(self.store, self.host, run_id=check_run_id(run_id))
        return open_pauses(self.store, self.host, graph=self.name)
