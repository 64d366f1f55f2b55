"""The drivers do what the engine asks for: here in the caller's thread."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from tau.engine.effects import AskRoute, Backoff, DeleteRecords, Effect, Emit, Load, Outcome, Release
from tau.engine.stop import StopNow
from tau.late_imports import load_module
from tau.log.journal import Append
from tau.node.calls import call_in_thread, is_late
from tau.node.current import RunNode
from tau.node.left_calls import left, waits
from tau.state import State

if TYPE_CHECKING:
    from tau.log.committer import Committer
    from tau.node.async_calls import NodeLoop

from tau import forks
from tau.engine.driver import Driver, abandoned
from tau.log.journal import Journal
from tau.stores.contract import Batch


class SyncDriver(Driver):
    """Does each effect at once, in the caller's thread."""

    _loop: NodeLoop | None = None
    _committer: Committer | None = None

    def drive(self) -> State:
        """Run to the end."""
        handlers: dict[type, Callable[[Any], Any]] = {
            Emit: self.emit,
            Load: self.load,
            Backoff: self.pause,
            DeleteRecords: self.drop,
            AskRoute: self.ask,
            Release: lambda _: self.release(),
        }
        try:
            self.begin()
            return self._interpret(handlers)
        except BaseException as error:
            if self.is_over or self.process is not forks.process:
                raise
            return self._interpret(handlers, error)  # it came between two effects
        finally:
            try:
                self.end()
            finally:
                if self._loop is not None and self.process is forks.process:
                    self._loop.close()

    def _interpret(self, handlers: Mapping[type, Callable[[Any], Any]], error: BaseException | None = None) -> State:
        """Do what the engine asks for, and tell it whatever is raised meanwhile, until it has come to its end."""
        engine = self.engine
        send: Callable[[Any], Effect] = engine.send
        step = send if error is None else engine.throw
        run_node, append = self.run_node, self.append
        given: Any = error
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
                        return raised.value  # type: ignore[no-any-return]
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
        try:
            if left:
                for seconds in waits(self.key_of(effect), effect, self.stopping):
                    self.host.sleep(seconds, self._wake)
            if self._stoppable and (reason := self.stopping()):
                raise StopNow(reason)
            if node.is_async:
                result = self._awaited(effect, self.call(effect))
            elif node.timeout is not None:
                result = call_in_thread(effect, self.key_of(effect), lambda: self.call(effect))
            else:
                result = self.call(effect)
            if result is not None and type(result) is not dict and is_late(result):
                result = self._awaited(effect, result)
        except BaseException as error:
            return self.outcome(began, error=error)
        return self.outcome(began, result)

    def ask(self, effect: AskRoute) -> Outcome:
        began = self._now()
        try:
            if self._stoppable and (reason := self.stopping()):
                raise StopNow(reason)
            load_module("tau.node.async_calls")
            from tau.node.async_calls import answer_of

            answer = self._in_loop(answer_of(effect.route, effect.state))
        except BaseException as error:
            return self.answered(began, error=error)
        return self.answered(began, answer)

    def _awaited(self, effect: RunNode, awaitable: Any) -> Any:
        load_module("tau.node.async_calls")
        from tau.node.async_calls import with_timeout

        return self._in_loop(with_timeout(effect.node, awaitable))

    def _in_loop(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        load_module("tau.node.async_calls")
        from tau.node.async_calls import NodeLoop  # asyncio is only loaded where something needs it

        if self._loop is None:
            self._loop = NodeLoop()
        return self._loop.run(coroutine)
