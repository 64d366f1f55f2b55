"""What both drivers share: everything that neither waits nor runs a node."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tau import forks
from tau.engine.abandoned import abandoned
from tau.engine.admission import has_other_input
from tau.engine.effects import Backoff, DeleteRecords, Emit, Load, Outcome, RunRequest
from tau.engine.engine import Engine
from tau.engine.fitting import misfits
from tau.engine.stop import Stop
from tau.errors import (
    ArtifactError,
    CheckpointNotFoundError,
    ConfigError,
    CorruptCheckpointError,
    StoreError,
    TauError,
)
from tau.events import CHECKPOINT_RETRY, NODE_RETRY, Event, Observer, text_of
from tau.host import Host, Work
from tau.late_imports import load_module
from tau.log import lease_renewal as renewal
from tau.log.append import Append
from tau.log.journal import Journal
from tau.log.loading import Known, LoadedRun, Watch, admitted_input, near_id
from tau.log.patience import Patience
from tau.log.records import WALLTIME, Interrupted, Progress
from tau.log.tickets import Result, Ticket
from tau.node.artifacts import check_read
from tau.node.context import Context
from tau.node.current import RunNode, RunScope, run_scope
from tau.node.left_calls import Key, key_of
from tau.node.paused import Paused
from tau.node.seeds import of_run
from tau.observers.notify import notify
from tau.stores.artifact_content import check_all
from tau.stores.contract import Batch
from tau.values.stored import StoredValue

if TYPE_CHECKING:
    from tau.node.steps import StepRunner

_log = logging.getLogger("tau")


class Driver:
    """What both drivers share: everything that neither waits nor runs a node."""

    def __init__(
        self,
        request: RunRequest,
        host: Host,
        *,
        journal: Journal | None = None,
        observer: Observer | None = None,
        resources: Mapping[str, Any] | None = None,
        stop: Stop | None = None,
        max_runtime: float | None = None,
        wait: float = 0.0,
    ) -> None:
        self.request, self.host, self.journal = request, host, journal
        self.observer, self.stop, self.wait = observer, stop, wait
        self.engine = Engine(request).run()
        self.process = forks.process
        self._ends = None if max_runtime is None else host.monotonic() + max_runtime
        self._wake = stop.event if stop is not None else None
        self._work: Work | None = None
        self._patience: Patience | None = None
        self._before: RunScope | None = None
        self._released = self._owned = False
        self._stoppable = stop is not None or max_runtime is not None
        self._now = host.now
        self._resources = resources
        self._deadline = None if max_runtime is None else host.now() + max_runtime
        self.scope = self.new_scope()

    def new_scope(self) -> RunScope:
        """What the visits share that are run one after the other."""
        request, journal = self.request, self.journal
        scope = RunScope(
            request.run_id,
            resources=self._resources,
            should_stop=self.stopping,
            deadline=self._deadline,
            store=journal.store if journal is not None else None,
            make_items=self.items,
            seed=self.seed,
            observer=self.observer,
            tell=self.tell if request.observed else None,
        )
        scope.replays = journal.parent.missing if journal is not None and journal.parent is not None else ""
        return scope

    @property
    def is_over(self) -> bool:
        """Whether the engine has come to its end: what was raised before then, it has to be told."""
        return inspect.getgeneratorstate(self.engine) == inspect.GEN_CLOSED

    def begin(self) -> None:
        """From here on this process may own the run."""
        if self.journal is not None and self._work is None:
            self._work = self.host.hold(self.journal.owner)
        self._before = run_scope.get()
        run_scope.set(self.scope)

    def end(self) -> None:
        """It does no longer, however the run ended: also where the engine was dropped, or struck in its ending."""
        self._work = None
        journal = self.journal
        try:
            if journal is not None:
                self._let_go(journal)
                left = not self._released and (journal.claimed or journal.end > journal.position)
                if left and self.process is forks.process:
                    self._abandon(journal)
        finally:
            if run_scope.get() is self.scope:  # in another context, where a task was collected, it is not
                run_scope.set(self._before)
            del self.scope  # it knows this driver: without the cycle a run is freed as soon as it is not needed

    def _abandon(self, journal: Journal) -> None:
        """Save what is finished and let go of the run."""
        progress = journal.progress
        if progress is None:
            return
        progress.status = "interrupted"
        effect = self.scope.effect
        tried = effect.attempt if effect is not None and effect.begun else progress.crashes
        record = Interrupted(node=progress.next or "", reason="broken off", attempt=tried)
        batch = journal.prepare(Append((record,), progress, {}, flush=True, ending=True))
        if batch is not None:
            self.hand_over(journal, batch)

    def hand_over(self, journal: Journal, batch: Batch) -> None:
        """Have the last batch committed without waiting: nothing can be awaited in a task that is collected."""
        with suppress(RuntimeError, StoreError):  # there is no thread: the interpreter ends, and with it this owner
            journal.store.committer.submit(Ticket(batch, lambda result: abandoned(journal, batch, result)))

    def stopping(self) -> str:
        """Why the run should stop, or nothing."""
        if self.stop is not None and self.stop.is_set():
            return text_of(self.stop.reason) or "stop requested"
        if self._ends is not None and self.host.monotonic() >= self._ends:
            return WALLTIME
        return ""

    def emit(self, effect: Emit) -> Any:
        self.tell(effect.type, effect.data, effect)

    def tell(self, type_: str, data: dict[str, Any], effect: Emit | None = None) -> None:
        """Tell the observers, of whom there is at least one."""
        assert self.observer is not None
        time = datetime.fromtimestamp(self.host.now(), UTC)
        notify(self.observer, Event(type_, self.request.graph.name, time, data), effect)

    def items(self, effect: RunNode | None) -> StepRunner:
        """What finishes inside that visit."""
        load_module("tau.node.steps")
        from tau.node.steps import StepRunner  # only loaded where a node has steps or artifacts

        request = self.request
        emit = self.tell if request.observed else None
        return StepRunner(
            request.run_id,
            effect,
            journal=self.journal,
            place=self.place,
            emit=emit,
            now=self._now,
            on_change=request.on_change,
        )

    def seed(self) -> int:
        """The seed of the run."""
        request, journal = self.request, self.journal
        progress = journal.progress if journal is not None else None
        seed = request.seed if progress is None else progress.seed
        return of_run(request.run_id) if seed is None else seed

    def place(self) -> str | None:
        """Where the artifacts of this run go."""
        load_module("tau.stores.artifact_files")
        from tau.stores.artifact_files import place_of  # with a store on disk it is there

        return place_of(self.journal.store if self.journal is not None else None, self.request.artifacts)

    def settle(self, batch: Batch, result: Result) -> str:
        journal = self.journal
        assert journal is not None
        newest = journal.settle(batch, result)
        self.note_owner()
        return newest

    def note_owner(self) -> None:
        """A commit may have made this process the owner of the run, or have ended that."""
        journal = self.journal
        assert journal is not None
        owned = journal.claimed
        if owned is not self._owned:
            if owned:
                self._own(journal)
            else:
                self._let_go(journal)
            self._owned = owned

    def _own(self, journal: Journal) -> None:
        renewal.renewer.watch(journal)
        if self.request.patience:
            self._patience = journal.store.committer.patience[self.request.run_id] = Patience(
                self.request.run_id, self.request.patience, journal.owner.lease,
                host=self.host, stopping=self.hurried, tell=self.tell_of_retry if self.request.observed else None,
            )  # fmt: skip

    def _let_go(self, journal: Journal) -> None:
        renewal.renewer.forget(journal)
        if self._patience is not None:
            patience = journal.store.committer.patience
            if patience.get(self.request.run_id) is self._patience:
                del patience[self.request.run_id]
            self._patience = None

    def hurried(self) -> object:
        """Whether a commit that fails is not to be tried again."""
        return self.stopping()

    def tell_of_retry(self, error: StoreError, seconds: float) -> None:
        """Tell that a commit failed for the first time, and is tried again for so long; from any thread."""
        about = {"error": text_of(error), "error_type": type(error).__name__, "patience_seconds": seconds}
        self.tell(CHECKPOINT_RETRY, {**about, "run_id": self.request.run_id})

    def time_until_retry(self, effect: Backoff) -> float:
        """For how many seconds to wait before another attempt; tells that there will be one."""
        node, error = effect.node, effect.error
        assert node.retry is not None
        seconds = node.retry.wait(effect.tries, self.host.random())
        said, kind = text_of(error), type(error).__name__
        _log.warning(
            "node %r of run %r failed in attempt %d and is tried again in %.3g s: %s: %s",
            node.name, self.request.run_id, effect.attempt, seconds, kind, said,
        )  # fmt: skip
        if self.request.observed:
            where = {"node": node.name, "visit": effect.visit, "attempt": effect.attempt}
            about = {"error": said, "error_type": kind, "wait_seconds": seconds, "run_id": self.request.run_id}
            self.tell(NODE_RETRY, {**where, **about})
        return seconds

    def load(self, effect: Load) -> LoadedRun:
        watch = self.watch(effect)
        while (found := self.look(watch)) is None:
            assert watch is not None
            self.host.sleep(watch.pause, self._wake)
        return found

    def watch(self, effect: Load) -> Watch | None:
        """What waits for a run to be free, where it is to be taken."""
        assert self.journal is not None
        return self.journal.watch(self.wait, self._wake) if effect.take else None

    def look(self, watch: Watch | None, known: Known | None = None) -> LoadedRun | None:
        """The run, or ``None`` where it has an owner; see `Journal.look`."""
        assert self.journal is not None
        found = self.journal.look(watch, known)
        if found is not None and found.pauses and watch is not None:
            found = self._end_overdue(found, watch)
        if found is not None and found.status not in ("finished", "cancelled"):
            if found.progress is not None and found.progress.replays:
                self._attach(found.progress)
            check_all(found.values.values(), thorough=self.request.verify_artifacts)
        if found is not None and self.request.graph.schema is not None:
            found.misfits = misfits(self.request, found)
        if found is not None and self.request.resuming and found.status == "deleted":
            found.near = near_id(self.journal.store, self.request.run_id)
        if found is not None and not self.request.resuming and has_other_input(self.request, found):
            found.input = admitted_input(self.journal.store, self.request.run_id)
        return found

    def _attach(self, progress: Progress) -> None:
        """A run that replays another one is answered from its log."""
        if self.journal is not None and self.journal.parent is None:
            parent_log = load_module("tau.log.parent_log")  # only loaded where a run is replayed
            self.journal.parent = parent_log.ParentLog(self.journal.store, progress.parent or "", progress.replays)
            self.scope.replays = progress.replays

    def _end_overdue(self, found: LoadedRun, watch: Watch) -> LoadedRun | None:
        """The run as it is once what nobody answered in time is answered by its default."""
        assert self.journal is not None
        load_module("tau.log.answers")
        from tau.log.answers import answer_overdue  # only loaded where somebody was asked

        while found.pauses and answer_overdue(self.journal.store, self.request.run_id, found, self.host):
            if (again := self.journal.look(watch)) is None:
                return None
            found = again
        return found

    def drop(self, effect: DeleteRecords) -> Exception | None:
        """Why the records of the finished run could not be deleted, if they could not."""
        load_module("tau.stores.artifact_files")
        from tau.stores.artifact_files import drop as drop_run

        journal = self.journal
        assert journal is not None
        request, values = self.request, effect.values.values()
        position, created = journal.position, effect.created
        try:
            drop_run(journal.store, request.run_id, request.artifacts, values, position=position, created=created)
        except (CheckpointNotFoundError, CorruptCheckpointError):
            raise  # a value of the final state is gone or damaged
        except Exception as error:
            for value in values:  # another process may delete the records at any time: the state holds what it needs
                if isinstance(value, StoredValue):
                    value.data()
            _log.warning("run %r is finished, and its checkpoints were not deleted: %s", self.request.run_id, error)
            return error
        return None

    def release(self) -> Any:
        journal = self.journal
        if journal is None:
            return
        self._let_go(journal)
        try:
            journal.release()
        except TauError as error:
            _log.warning("run %r could not be released, its lease will run out: %s", journal.run_id, error)
            raise
        finally:
            self._released = True

    def key_of(self, effect: RunNode) -> Key:
        """What tells the calls of that node."""
        return key_of(self.journal.store if self.journal is not None else None, self.request.run_id, effect)

    def call(self, effect: RunNode) -> Any:
        """Call the node's function; an async one gives its coroutine."""
        node, effect.begun = effect.node, True
        if self.journal is not None and self.journal.items.single:
            self.scope.steps_of(effect).restore()
        if node.executor == "processes":
            load_module("tau.workflows.remote_node")
            from tau.workflows.remote_node import call_elsewhere  # only loaded where a node asks for it

            return call_elsewhere(self.scope, effect)
        state: Any = effect.state if node.reader is None else typed().give(effect)
        if not node.wants_context:
            return node.function(state)
        context = Context(self.scope, effect)
        if node.context_name is None:
            return node.function(state, context)
        return node.function(state, **{node.context_name: context})

    def answered(self, began: float, answer: Any = None, error: BaseException | None = None) -> Outcome:
        """What became of a route."""
        if self.process is not forks.process:
            raise forks.refusal(self.request.run_id, "go on after the route")
        return Outcome(answer, error, began, max(self._now() - began, 0.0))

    def outcome(self, began: float, result: Any = None, error: BaseException | None = None) -> Outcome:
        if self.process is not forks.process:
            raise forks.refusal(self.request.run_id, "go on after the node")
        scope = self.scope
        effect, scope.effect = scope.effect, None
        asked = scope.items.asked if scope.items is not None else None
        if error is None and effect is not None and effect.node.schema is not None:
            try:
                result = typed().settle(effect, result)
            except Exception as wrong:
                error = wrong
        try:
            if scope.items is not None:
                result = scope.leave(result if error is None else error)
            if error is None and effect is not None and self.journal is not None:
                visit = effect.state._visit
                if visit is not None and visit.artifacts:
                    check_read(effect, result)
        except (ArtifactError, ConfigError) as wrong:
            error = error or wrong
        waits: tuple[Any, ...] = ()
        if asked is not None and asked.waits:
            error = asked.end(error)
            waits = tuple(asked.waits) if isinstance(error, Paused) else ()
        seconds = self._now() - began
        stop = self.stopping() if self._stoppable else ""
        return Outcome(result, error, began, seconds if seconds > 0.0 else 0.0, stop, waits=waits)


def typed() -> Any:
    """What is only loaded where a graph has a schema."""
    return load_module("tau.node.typed")
