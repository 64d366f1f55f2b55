"""The drivers do what the engine asks for: here in the caller's thread."""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tau import forks
from tau.engine.abandoned import abandoned
from tau.engine.admission import taken_meanwhile
from tau.engine.driver import Driver
from tau.engine.effects import AskRoute, Backoff, DeleteRecords, Effect, Emit, Load, Outcome, Release, RunTogether
from tau.engine.stop import StopNow, end_branch
from tau.events import text_of
from tau.late_imports import load_module
from tau.log.append import Append
from tau.log.journal import Journal
from tau.log.loading import Known
from tau.log.records import Claimed
from tau.log.tickets import Result
from tau.node.calls import call_in_thread, is_late
from tau.node.current import RunNode, left_behind, run_scope
from tau.node.left_calls import Call, Key, left, waits
from tau.node.step_commits import StepCommits
from tau.state import State
from tau.stores.contract import Batch, PositionConflict
from tau.waiting import LOOK, DaemonThread

if TYPE_CHECKING:
    from tau.log.committer import Committer
    from tau.node.async_calls import NodeLoop


class SyncDriver(Driver):
    """Does each effect at once, in the caller's thread."""

    branches: Sequence[_Branch] = ()
    _loop: NodeLoop | None = None
    _committer: Committer | None = None
    _kept: KeyboardInterrupt | None = None

    def drive(self, given: Any = None) -> State:
        """Run to the end; ``given`` is the reply to what the engine asked for last, if it has begun."""
        handlers = self._handlers()
        try:
            self.begin()
            final: State = self._interpret(handlers, given=given)
        except BaseException as error:
            if self.is_over or self.process is not forks.process:
                raise
            final = self._interpret(handlers, error)  # it came between two effects
        finally:
            try:
                self.end()
            finally:
                if self._loop is not None and self.process is forks.process:
                    self._loop.close()
        return final

    def claim(self, known: Known) -> Batch | None:
        """The batch that claims the run, for who commits several of them together and then calls `claimed`; ``None``
        where the run needs something else first. ``known`` is of a moment ago: the commit finds out whether it is still
        true. Raises why it cannot be taken."""
        journal = self.journal
        assert journal is not None
        if known.summary.owner is not None or known.summary.pauses:
            return None
        self._work = self.host.hold(journal.owner)
        self.engine.send(None)
        effect = self.engine.send(self.look(None, known))
        if type(effect) is Append and effect.expected is not None and type(effect.records[0]) is Claimed:
            return journal.prepare(effect)
        self.engine.close()
        return None

    def claimed(self, batch: Batch, result: Result) -> None:
        """It is committed: `drive` goes on, or `let_go`. Raises why it is not; what has become of a run that another
        process was faster to change is not asked, as this one never had it."""
        assert self.journal is not None
        if isinstance(result, PositionConflict):
            raise taken_meanwhile(self.request.run_id)
        self.journal.settle(batch, result)
        self.note_owner()

    def let_go(self, error: BaseException) -> None:
        """End a run that is claimed and has not gone on. Raises how it ended."""
        try:
            self.engine.send("")
            self._interpret(self._handlers(), error)
        finally:
            self.end()

    def _handlers(self) -> Mapping[type, Callable[[Any], Any]]:
        return {
            Emit: self.emit,
            Load: self.load,
            Backoff: self.pause,
            DeleteRecords: self.drop,
            AskRoute: self.ask,
            RunTogether: self.together,
            Release: lambda _: self.release(),
        }

    def _interpret(
        self, handlers: Mapping[type, Callable[[Any], Any]], error: BaseException | None = None, given: Any = None
    ) -> Any:
        """Do what the engine asks for, and tell it whatever is raised meanwhile, until it has come to its end."""
        engine = self.engine
        send: Callable[[Any], Effect] = engine.send
        step = send if error is None else engine.throw
        run_node, append = self.run_node, self.append
        given = given if error is None else error
        while True:
            try:
                effect = step(given)
                if type(effect) is RunNode:  # the two that every step has go the short way
                    given = run_node(effect)
                elif type(effect) is Append:
                    given = append(effect)
                else:
                    given = handlers[type(effect)](effect)
                step = send
            except BaseException as raised:
                if self.process is not forks.process:
                    raise  # in a child of fork nothing may follow: the run is its parent's
                if self.is_over:
                    if isinstance(raised, StopIteration):
                        self._interrupted()
                        return raised.value
                    raise
                step, given = engine.throw, raised

    def hand_over(self, journal: Journal, batch: Batch) -> None:
        """Here it is waited for."""
        abandoned(journal, batch, journal.store.committer.commit(batch))

    def append(self, effect: Append) -> str:
        journal = self.journal
        assert journal is not None
        committer = self._committer
        if committer is None:  # in this process it stays the same
            committer = self._committer = journal.store.committer
        newest = journal.append(effect, committer.commit)
        if (effect.progress.status == "running") is not self._owned:
            self.note_owner()
        return newest

    def pause(self, effect: Backoff) -> str:
        wake = self.stop.event if self.stop is not None else None
        self.host.sleep(self.time_until_retry(effect), wake)
        return self.stopping()

    def run_node(self, effect: RunNode) -> Outcome:
        began = self._now()
        node = effect.node
        self.scope.effect = effect
        around = left_behind.get()
        left_behind.set((self.scope, effect))  # the tasks and threads that it starts belong to this attempt
        try:
            if self._kept is not None:
                self._interrupted()
            if left:
                for seconds in waits(self.key_of(effect), effect, self.stopping):
                    self.host.sleep(seconds, self._wake)
            if self._stoppable and (reason := self.stopping()):
                raise StopNow(reason)
            if node.executor is not None and node.executor != "threads":
                result = self.call(effect)
            elif node.is_async:
                result = self._awaited(effect, self.call(effect))
            elif node.timeout is not None or node.executor is not None:
                result = call_in_thread(effect, self.key_of(effect), lambda: self.call(effect))
            else:
                result = self.call(effect)
            if result is not None and type(result) is not dict and is_late(result):
                result = self._awaited(effect, result)
        except BaseException as error:
            left_behind.set(around)
            return self.outcome(began, error=error)
        left_behind.set(around)
        return self.outcome(began, result)

    def ask(self, effect: AskRoute) -> Outcome:
        began = self._now()
        try:
            self._interrupted()
            if self._stoppable and (reason := self.stopping()):
                raise StopNow(reason)
            load_module("tau.engine.asking")
            from tau.engine.asking import answer_of  # asyncio is only loaded where something needs it

            answer = self._in_loop(answer_of(effect.route, effect.state, self.stopping, self.journal))
        except BaseException as error:
            return self.answered(began, error=error)
        return self.answered(began, answer)

    def _awaited(self, effect: RunNode, awaitable: Any) -> Any:
        load_module("tau.node.async_calls")
        from tau.node.async_calls import with_timeout

        try:
            return self._in_loop(with_timeout(effect.node, awaitable))
        except BaseException:
            if inspect.iscoroutine(awaitable) and inspect.getcoroutinestate(awaitable) == inspect.CORO_CREATED:
                awaitable.close()  # an interrupt came before it began: nobody is told that it was never awaited
            raise

    def _in_loop(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        load_module("tau.node.async_calls")
        from tau.node.async_calls import NodeLoop  # asyncio is only loaded where something needs it

        if self._loop is None:
            self._loop = NodeLoop()
        try:
            return self._loop.run(coroutine)
        finally:
            self._kept, self._loop.kept = self._kept or self._loop.kept, None

    def _interrupted(self) -> None:
        """Raise Ctrl-C that a node or route kept to itself: the run stops after it."""
        kept, self._kept = self._kept, None
        if kept is not None:
            raise kept from None

    def together(self, effect: RunTogether) -> list[Outcome]:
        """Run branches, each in a thread. After an interrupt no node begins, and those that have are waited for;
        another one ends the waiting."""
        key = self.key_of(effect.effect)
        if left:
            for seconds in waits(key, effect.effect, self.stopping):
                self.host.sleep(seconds, self._wake)
        self.branches = branches = [_Branch(self, one, effect.effect) for one in effect.branches]
        try:
            for branch in branches:
                branch.start()
            for branch in branches:
                branch.work.over.wait()
        except BaseException as error:
            was_stopping = self.stopping()  # then a first signal has said so, and this is the second one
            for branch in branches:
                branch.hurry(text_of(error) or type(error).__name__)
            try:
                if was_stopping:
                    raise
                for branch in branches:
                    branch.work.over.wait()
            except BaseException:
                for branch in branches:
                    branch.leave(key)
                raise
            raise
        finally:
            self.branches = []
        return [branch.work.result() for branch in branches]


class _Branch(SyncDriver):
    """Runs a branch of a node in a thread of its own, beside the others of the same run."""

    def __init__(self, around: SyncDriver, engine: Any, effect: RunNode) -> None:
        self.__dict__.update(around.__dict__)
        self.engine = engine
        self.branches = ()
        self._loop = None
        self._around = around
        self._hurried = ""
        self._stoppable = True
        self._name = effect.node.name
        self._commits = None if self.journal is None else StepCommits(self.journal, self._name)
        self.scope = self.new_scope()
        self.scope.ends_here = partial(end_branch, self.stopping)
        self.work = Call(self._run)

    def start(self) -> None:
        """Begin, in a thread where there is one to be had."""
        try:
            DaemonThread(contextvars.copy_context().run, f"tau-branch-{self._name}", (self.work,)).start()
        except RuntimeError:
            contextvars.copy_context().run(self.work)

    def hurry(self, reason: str) -> None:
        """Begin no further node, and have an async one end."""
        self._hurried = self._hurried or reason
        if self.work.give_up():
            self.engine.close()
            self.work.over.set()
        elif self._loop is not None:
            self._loop.cancel()
        for branch in self.branches:
            branch.hurry(reason)

    def leave(self, key: Key) -> None:
        """Nothing waits for it any more, and it can save nothing more."""
        if self.work.over.is_set():
            return
        for branch in self.branches:
            branch.leave(key)
        if self._commits is not None:
            self._commits.shut()
        self.scope.shut()
        self.work.leave(key)

    def stopping(self) -> str:
        return self._hurried or self._around.stopping()

    def append(self, effect: Append) -> str:
        assert self._commits is not None
        self._commits.append(effect)
        return self._commits.told()

    def pause(self, effect: Backoff) -> str:
        seconds, wake = self.time_until_retry(effect), self.stop.event if self.stop is not None else None
        while seconds > 0 and not self.stopping():
            self.host.sleep(min(seconds, LOOK), wake)
            seconds -= LOOK
        return self.stopping()

    def _run(self) -> Outcome:
        run_scope.set(self.scope)
        try:
            outcome: Outcome = self._interpret(self._handlers())
        finally:
            if self._commits is not None:
                self._commits.close()
            if self._loop is not None and self.process is forks.process:
                self._loop.close()
        return outcome
