"""Whether a script that is a list knows whose turn it is: it begins anew in each process, while a run goes on."""

from __future__ import annotations

import os
import time

from tau.agents.errors import AgentError
from tau.agents.records import Call, Response
from tau.errors import TauError
from tau.log.journal import Journal
from tau.node.current import RunScope, run_scope


class Turn:
    """Which runs one list has answered, from its first answer on. Not thread-safe.

    A list is refused where answers of its agent may be recorded that it did not give: in a run that another process
    began or that went on without it, and in a worker process. One that a node makes for itself begins with the attempt.
    """

    def __init__(self) -> None:
        scope = run_scope.get()
        self.ids: set[str] = set()
        """Of the answers that it gave."""
        self._made_in = "" if scope is None else scope.run_id
        self._made_at = time.time()
        self._runs: set[str] = set()
        self._behind: set[str] = set()

    def replayed(self, response: Response) -> None:
        """A recorded answer was given again. Raises nothing."""
        scope = run_scope.get()
        if scope is not None and response.id not in self.ids:
            self._behind.add(scope.run_id)

    def check(self, call: Call) -> None:
        """Raises `AgentError` where the next answer may not be the right one."""
        scope = run_scope.get()
        if scope is None:
            return
        run = scope.run_id
        if run in self._behind:
            raise _lost(call, f"run {run!r} has answers of it that this list did not give")
        if run not in self._runs and run != self._made_in and (why := self._unknown(scope)):
            raise _lost(call, why)
        self._runs.add(run)

    def _unknown(self, scope: RunScope) -> str:
        """Why the run may have answers of another list; empty where it cannot."""
        try:
            scope.at_hand("call")
        except TauError:
            return f"this is a worker process of run {scope.run_id!r}"
        effect = scope.visit_here()
        journal: Journal | None = None if effect is None else scope.steps_of(effect).journal
        progress = None if journal is None else journal.progress
        if journal is None or progress is None or not journal.is_resumed:
            return ""
        if progress.parent is not None and not progress.replays and progress.parent not in self._runs:
            return f"run {scope.run_id!r} is a fork of {progress.parent!r}"
        where = progress.provenance
        is_own = (where.get("host"), where.get("pid")) == (os.uname().nodename, str(os.getpid()))
        if is_own and self._made_at <= progress.created:
            return ""
        return f"run {scope.run_id!r} goes on, and was begun without this list"


def _lost(call: Call, why: str) -> AgentError:
    return AgentError(
        f"agent {call.agent!r} answers from a list, which begins anew in each process, and {why}: its next "
        "answer may be a wrong one. Give agents.scripted a mapping, or use agents.function: they know what to answer",
        agent=call.agent,
        provider=call.provider,
        model=call.model,
    )
