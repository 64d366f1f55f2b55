"""The verbs that run a run once more, answered from what it had done and was answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from tau.config import ObserverSpec
from tau.engine.stop import Stop, checked_options
from tau.errors import ConfigError
from tau.late_imports import load_module
from tau.spelling import names_keywords
from tau.state import State
from tau.state_names import check_run_id
from tau.verbs.running import Model, Running

if TYPE_CHECKING:
    from tau.stores.contract import Store

Missing = Literal["error", "call"]
"""What `StateGraph.replay` does with a call that the other run has not made."""


class Replaying(Running[Model]):
    """Run a run once more."""

    @names_keywords
    def replay(
        self,
        run_id: str,
        *,
        new_run_id: str | None = None,
        missing: Missing = "error",
        resources: Mapping[str, Any] | None = None,
        observer: ObserverSpec = None,
        stop: Stop | None = None,
        max_runtime: float | None = None,
    ) -> State[Model]:
        """Run a run once more, as a new run that has it as its parent, and return the final state. Only the code of
        nodes runs, as it is now: journaled calls, those of agents among them, steps, the items of maps and chains, and
        questions are answered from the log of the parent, by where they are and what was asked; seeds are the same.

        What the parent has not done is a `ReplayError` that names it, and the run fails; ``missing="call"`` does it.
        The new run is durable: killed, it goes on as a replay by ``resume(new_run_id)``. The parent may have finished,
        failed or been stopped, and must be kept until then, with its whole history. ``new_run_id`` is by default made
        up. The other arguments are those of `execute`.

        Raises `CheckpointNotFoundError` for a run that the store does not hold (`RunFinishedError` if it finished and
        its checkpoints were deleted), `ConfigError` for one whose history was trimmed or whose state was replaced by
        hand, `CorruptCheckpointError` for one that is damaged, `RunExistsError` for a ``new_run_id`` that is in use,
        `GraphChangedError` for a run of another graph, `ArtifactError` for a file of its input that is missing or
        altered, and what `execute` raises.

        >>> graph.replay("squares-1", new_run_id="squares-1-again")["sum"]
        14
        """
        options = checked_options(0.0, resources, stop, max_runtime)
        new = self._begin_replay(self.store, run_id, new_run_id, missing)
        return self.resume(new, observer=observer, **options)

    @names_keywords
    async def areplay(
        self,
        run_id: str,
        *,
        new_run_id: str | None = None,
        missing: Missing = "error",
        resources: Mapping[str, Any] | None = None,
        observer: ObserverSpec = None,
        stop: Stop | None = None,
        max_runtime: float | None = None,
    ) -> State[Model]:
        """`replay` in an event loop, with the same arguments.

        Raises what `replay` raises, and ``asyncio.CancelledError`` when its task is cancelled.

        >>> import asyncio
        >>> asyncio.run(graph.areplay("squares-1", new_run_id="squares-1-more"))["sum"]
        14
        """
        options = checked_options(0.0, resources, stop, max_runtime)
        store = self.store
        new = await self._in_thread(lambda: self._begin_replay(store, run_id, new_run_id, missing))
        return await self.aresume(new, observer=observer, **options)

    def _begin_replay(self, store: Store, run_id: str, new_run_id: str | None, missing: str) -> str:
        """Store the new run, which has not begun then; its id."""
        load_module("tau.log.parent_log")
        from tau.log.parent_log import MISSING, ParentLog  # only loaded where somebody replays

        if missing not in MISSING:
            raise ConfigError(f"missing must be 'error' or 'call', found {missing!r:.80}")
        parent = ParentLog(store, check_run_id(run_id))
        self.freeze()
        load_module("tau.engine.forking")
        from tau.engine.forking import fork

        request = self._request(check_run_id(new_run_id) if new_run_id is not None else State().run_id)
        return fork(store, self.host, request, run_id, at=parent.first, changes={}, replays=missing)
