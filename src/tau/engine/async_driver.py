"""The driver of async runs: commits, loads and sync nodes run in threads of tau's own."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from tau import forks
from tau.engine.asking import answer_of
from tau.engine.driver import Driver
from tau.engine.effects import AskRoute, Backoff, DeleteRecords, Effect, Emit, Load, Outcome, Release, RunTogether
from tau.engine.stop import StopNow, end_branch
from tau.errors import StoreError
from tau.log.append import Append
from tau.log.loading import LoadedRun
from tau.log.records import Admitted, CheckpointRecord
from tau.log.tickets import Ticket
from tau.node.async_calls import (
    cancelled_inside,
    in_a_thread,
    is_dropped,
    off_the_loop,
    over,
    to_its_end,
    while_wanted,
    with_timeout,
)
from tau.node.calls import call_in_thread, is_late
from tau.node.current import RunNode, left_behind, run_scope
from tau.node.kept_state import stored_of
from tau.node.left_calls import Call, left, waits
from tau.node.step_commits import StepCommits
from tau.state import State, cells_of, raw
from tau.state_changes import collect
from tau.stores.contract import Store
from tau.values.stored import StoredValue
from tau.values.weight import LARGE, is_large

T = TypeVar("T")


class AsyncDriver(Driver):
    """Awaits what takes time; commits, loads and sync nodes run in threads of tau's own."""

    _cancelled: BaseException | None = None

    async def drive(self) -> State:
        """Run to the end."""
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        # Weak: what the store keeps of a run must not keep a task that was dropped.
        self._task: Callable[[], asyncio.Task[Any] | None] = (lambda: None) if task is None else weakref.ref(task)
        try:
            self.begin()
            final: State = await self._interpret()
        except BaseException as error:
            if self.is_over or isinstance(error, GeneratorExit) or self.process is not forks.process:
                raise
            final = await self._interpret(error)  # it came between two effects
        finally:
            self.end()
        return final

    async def _interpret(self, error: BaseException | None = None) -> Any:
        """Do what the engine asks for, and tell it whatever is raised meanwhile, until it has come to its end."""
        engine = self.engine
        step: Callable[[Any], Effect] = engine.send if error is None else engine.throw
        given: Any = error
        while True:
            try:
                effect = step(given)
                if type(effect) is RunNode:  # the two that every step has go the short way
                    given = await self.run_node(effect)
                elif type(effect) is Append:
                    given = await self.append(effect)
                else:
                    given = await self._handle(effect)
                step = engine.send
            except BaseException as raised:
                if self.process is not forks.process:
                    raise  # in a child of fork nothing may follow: the run is its parent's
                if self.is_over:
                    if not isinstance(raised, StopIteration):
                        raise
                    if self._cancelled is not None:
                        raise self._cancelled from None
                    return raised.value
                step, given = engine.throw, raised

    def hurried(self) -> object:
        with suppress(RuntimeError):
            if asyncio.get_running_loop() is self._loop:
                return True  # a step that is not awaited: the loop must not wait
        return self._cancelled is not None or self.stopping()

    def tell_of_retry(self, error: StoreError, seconds: float) -> None:
        with suppress(RuntimeError):  # the loop was closed meanwhile
            self._loop.call_soon_threadsafe(super().tell_of_retry, error, seconds)

    async def _handle(self, effect: Effect) -> Any:
        reply: Any = None
        match effect:
            case Emit():
                reply = self.emit(effect)
            case Backoff():
                reply = await self.pause(effect)
            case AskRoute():
                reply = await self.ask(effect)
            case RunTogether():
                reply = await self._together(effect)
            case Load():
                reply = await self._load(effect)
            case DeleteRecords():
                reply = await self._in_thread(lambda: self.drop(effect))
            case Release() if self.journal is None or not self.journal.claimed:
                reply = self.release()
            case Release():
                reply = await self._in_thread(self.release)
        return reply

    async def _load(self, effect: Load) -> LoadedRun:
        assert self.journal is not None
        watch, pool = self.watch(effect), self.journal.store.committer.pool
        while True:
            call = Call(partial(self.look, watch))
            await while_wanted(call, partial(pool.put, call), call.give_up)
            if (found := call.result()) is not None:
                return found
            assert watch is not None
            await asyncio.sleep(watch.pause)  # the loop waits for an owner, and no thread does

    async def append(self, effect: Append) -> str:
        journal = self.journal
        assert journal is not None
        if _writes_much(effect):
            batch = await self._in_thread(lambda: journal.prepare(effect))
        else:
            batch = journal.prepare(effect)
        if batch is None:
            return ""
        while True:
            ticket = journal.store.committer.submit(Ticket(batch))
            try:
                await over(ticket, self._hurry)
            except asyncio.CancelledError as error:
                self._cancelled = error
            result = ticket.result
            assert result is not None
            if type(result) is int or not await self._in_thread(partial(journal.goes_behind, result)):
                return self.settle(batch, result)
            if (batch := journal.held()) is None:
                return ""

    def _hurry(self) -> None:
        """A cancellation came in the middle of a commit: it is to end soon, and all that is tried again."""
        self._cancelled = self._cancelled or asyncio.CancelledError()

    async def pause(self, effect: Backoff) -> str:
        left = self.time_until_retry(effect)
        while left > 0 and not self.stopping():
            await asyncio.sleep(min(left, 0.25))
            left -= 0.25
        return self.stopping()

    async def run_node(self, effect: RunNode) -> Outcome:
        began, node, around = self._now(), effect.node, left_behind.get()
        self.scope.effect = effect
        result: Any = None
        failure: BaseException | None = None
        left_behind.set((self.scope, effect))  # the tasks and threads that it starts belong to this attempt
        try:
            if self._cancelled is not None:
                error, self._cancelled = self._cancelled, None
                raise error
            if left:
                for seconds in waits(self.key_of(effect), effect, self.stopping):
                    await asyncio.sleep(seconds)
            if self._stoppable and (reason := self.stopping()):
                raise StopNow(reason)
            if node.executor == "inline" or (node.is_async and node.executor is None):
                result = self.call(effect)
            else:
                result, failure = await self._in_pool(effect)
            if failure is None and ((node.is_async and node.executor is None) or is_late(result)):
                asked = self._asked()
                result = await (result if node.timeout is None else with_timeout(node, result))
                if self._asked() > asked:  # the node kept it to itself: the run stops after it
                    self._cancelled = self._cancelled or asyncio.CancelledError()
        except BaseException as error:
            failure = self._awaitable(error)
        left_behind.set(around)  # no token: a coroutine may be closed in another context
        if isinstance(failure, asyncio.CancelledError) and not self._asked():
            failure = cancelled_inside(f"node {node.name!r}", failure)
        if self.scope.items is not None and self.process is forks.process:
            await self._uninterrupted(self.scope.items.close_async())
        outcome = self.outcome(began, result, failure)
        if self.request.stored and outcome.error is None and _is_large(effect, outcome.result):
            await self._collect(effect, outcome)
        return outcome

    async def ask(self, effect: AskRoute) -> Outcome:
        began = self._now()
        answer: Any = None
        failure: BaseException | None = None
        try:
            if self._cancelled is not None:
                error, self._cancelled = self._cancelled, None
                raise error
            if self._stoppable and (reason := self.stopping()):
                raise StopNow(reason)
            asked = self._asked()
            answer = await answer_of(effect.route, effect.state, self.stopping, self.journal)
            if self._asked() > asked:  # the route kept it to itself: the run stops after it
                self._cancelled = self._cancelled or asyncio.CancelledError()
        except BaseException as error:
            if is_dropped(error, self._task()):
                raise
            failure = error
        return self.answered(began, answer, failure)

    async def _together(self, effect: RunTogether) -> list[Outcome]:
        """Run branches, each in a task. After a cancellation they are cancelled and waited for; another one ends the
        waiting."""
        if left:
            for seconds in waits(self.key_of(effect.effect), effect.effect, self.stopping):
                await asyncio.sleep(seconds)
        branches = [_Branch(self, one, effect.effect) for one in effect.branches]
        tasks = [self._loop.create_task(branch.run(), name=f"tau-branch-{branch.name}") for branch in branches]
        for task in tasks:
            task.add_done_callback(_looked_at)
        try:
            await asyncio.wait(tasks)
        except BaseException as error:
            with suppress(RuntimeError):  # the loop was closed
                for task in tasks:
                    task.cancel()
            if isinstance(error, GeneratorExit):  # nothing can be awaited any more
                for branch in branches:
                    branch.leave()
                raise
            try:
                await asyncio.wait(tasks)
            except BaseException:
                for branch in branches:
                    branch.leave()
                raise
            raise
        return [task.result() for task in tasks]

    def _awaitable(self, error: BaseException) -> BaseException:
        """What was raised in a node, unless nothing can be awaited any more."""
        if not is_dropped(error, self._task()):
            return error
        if self.scope.items is not None:
            self.scope.items.shut()
        raise error

    def _asked(self) -> int:
        """How often this task was asked to end; 0 where there is none."""
        task = self._task()
        return 0 if task is None else task.cancelling()

    async def _in_pool(self, effect: RunNode) -> tuple[Any, BaseException | None]:
        """Call a sync node; what it returned, or what it raised."""
        key, call = self.key_of(effect), lambda: self.call(effect)
        if effect.node.timeout is None or effect.node.executor == "processes":
            return await in_a_thread(key, call)
        return await in_a_thread(key, lambda: call_in_thread(effect, key, call))

    async def _collect(self, effect: RunNode, outcome: Outcome) -> None:
        """Encode large values in a thread, so that the loop does not stand still. The engine meets what is refused."""
        node, given, result, stored = effect.node, effect.state, outcome.result, raw(stored_of(effect))
        with suppress(Exception):
            outcome.changes = await self._in_thread(lambda: collect(stored, given, result, node.name, node.schema))

    async def _in_thread(self, function: Callable[[], T]) -> T:
        """Call in one of the store's own threads, to the end: a store that hangs holds up no other. A cancellation
        meanwhile is kept for the next node, or the end of the run."""
        assert self.journal is not None
        call, pool = Call(function), self.journal.store.committer.pool  # a child of fork has another one
        try:
            await to_its_end(call, partial(pool.put, call), self._hurry)
        except asyncio.CancelledError as error:
            self._cancelled = error
        return call.result()

    async def _uninterrupted(self, awaitable: Any) -> Any:
        """Await to the end; a cancellation meanwhile is kept for the next node, or the end of the run."""
        future = asyncio.ensure_future(awaitable)
        while not future.done():
            try:
                await asyncio.shield(future)
            except asyncio.CancelledError as error:
                if future.cancelled():
                    raise
                self._cancelled = error
            except Exception:
                break
        return future.result()


def _looked_at(task: asyncio.Task[Any]) -> None:
    """What it raised is told by who waits for it, or counts no more."""
    if not task.cancelled():
        task.exception()


class _Branch(AsyncDriver):
    """Runs a branch of a node in a task of its own, beside the others of the same run."""

    def __init__(self, around: AsyncDriver, engine: Any, effect: RunNode) -> None:
        self.__dict__.update(around.__dict__)
        self.engine = engine
        self.name = effect.node.name
        self._cancelled = None
        self._commits = None if self.journal is None else StepCommits(self.journal, self.name)
        self.scope = self.new_scope()
        self.scope.ends_here = partial(end_branch, self.stopping)

    async def run(self) -> Outcome:
        task = asyncio.current_task()
        assert task is not None
        self._task = weakref.ref(task)
        run_scope.set(self.scope)
        try:
            outcome: Outcome = await self._interpret()
        finally:
            if self._commits is not None:
                self._commits.shut()
        return outcome

    def leave(self) -> None:
        """Nothing waits for it any more, and it can save nothing more."""
        if self._commits is not None:
            self._commits.shut()
        self.scope.shut()

    async def append(self, effect: Append) -> str:
        journal, commits = self.journal, self._commits
        assert journal is not None
        assert commits is not None
        if _writes_much(effect):
            position = await self._in_thread(partial(commits.hold, effect))
        else:
            position = commits.hold(effect)
        while journal.is_due(effect) and journal.stored < position:
            try:
                await commits.commit_to(position)
            except asyncio.CancelledError as error:
                self._cancelled = error
        return commits.told()


async def in_the_store(store: Store, function: Callable[[], T]) -> T:
    """Call in one of the store's own threads, to the end; a cancellation meanwhile is raised after it."""
    result, cancelled = await off_the_loop(store.committer, function)
    if cancelled is not None:
        raise cancelled
    return result


async def input_cells(store: Store, given: State) -> dict[str, StoredValue]:
    """`cells_of`, large values encoded in a thread."""
    large = (value.size > LARGE if type(value) is StoredValue else is_large(value) for value in raw(given).values())
    if not any(large):
        return cells_of(given)
    return await in_the_store(store, lambda: cells_of(given))


def _writes_much(effect: Append) -> bool:
    """Whether a long blob belongs to these records."""
    for record in effect.records:
        if isinstance(record, CheckpointRecord | Admitted):
            for key in record.changed if isinstance(record, CheckpointRecord) else effect.values:
                for _, data in effect.values[key].blobs:
                    if len(data) > LARGE:
                        return True
    return False


def _is_large(effect: RunNode, result: Any) -> bool:
    """Whether something large may have to be written: a value that was set, or one that was read."""
    if type(result) is dict or isinstance(result, dict | State):
        before = raw(stored_of(effect))
        for key, value in (raw(result) if isinstance(result, State) else result).items():
            if is_large(value) and before.get(key) is not value:
                return True
    elif result is not None:
        return False
    visit = effect.state._visit
    if visit is not None:
        for _, value in visit.opened.copy().values():
            if is_large(value):
                return True
    return False
