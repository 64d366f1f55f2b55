"""The drivers do what the engine asks for: here in the caller's thread, in ``async_driver.py`` in an event loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Token
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tau.engine.effects import Append, Drop, Effect, Emit, Found, Job, Load, Outcome, Pause, Release, RunNode, StopNow
from tau.engine.engine import Engine
from tau.engine.stop import Stop
from tau.events import Event, Observer, text_of
from tau.host import Host, Work
from tau.log import lease_renewal as renewal
from tau.log.journal import Journal
from tau.node.calls import call_in_thread
from tau.node.context import Context, Surroundings, surroundings
from tau.node.steps import Items
from tau.observers.notify import notify
from tau.state import State
from tau.stores import artifact_files as artifacts
from tau.stores.contract import Batch

if TYPE_CHECKING:
    from tau.node.async_calls import NodeLoop

Result = int | Exception


class Driver:
    """What both drivers share: everything that neither waits nor runs a node."""

    def __init__(
        self,
        job: Job,
        host: Host,
        *,
        journal: Journal | None = None,
        observer: Observer | None = None,
        resources: Mapping[str, Any] | None = None,
        stop: Stop | None = None,
        max_runtime: float | None = None,
        wait: float = 0.0,
    ) -> None:
        self.job = job
        self.host = host
        self.journal = journal
        self.observer = observer
        self.stop = stop
        self.wait = wait
        self.engine = Engine(job).run()
        self._ends = None if max_runtime is None else host.monotonic() + max_runtime
        self._work: Work | None = None
        self._stoppable = stop is not None or max_runtime is not None
        self._now = host.now
        self.around = Surroundings(
            job.run_id,
            resources=resources,
            should_stop=self.stopping,
            deadline=None if max_runtime is None else host.now() + max_runtime,
            store=journal.store if journal is not None else None,
            make_items=self.items,
        )

    def begin(self) -> Token[Surroundings | None]:
        """From here on this process may own the run."""
        if self.journal is not None:
            self._work = self.host.hold(self.journal.owner)
        return surroundings.set(self.around)

    def end(self, token: Token[Surroundings | None]) -> None:
        """It does no longer, however the run ended."""
        self._work = None
        surroundings.reset(token)
        del self.around  # it knows this driver: without the cycle a run is freed as soon as nobody needs it
        if self.journal is not None:
            renewal.renewer.forget(self.journal)

    def stopping(self) -> str:
        """Why the run should stop, or nothing."""
        if self.stop is not None and self.stop.is_set():
            return text_of(self.stop.reason) or "stop requested"
        if self._ends is not None and self.host.monotonic() >= self._ends:
            return "max_runtime"
        return ""

    def emit(self, effect: Emit) -> Any:
        assert self.observer is not None
        time = datetime.fromtimestamp(self.host.now(), UTC)
        notify(self.observer, Event(effect.type, self.job.graph.name, time, effect.data))

    def items(self, effect: RunNode | None) -> Items:
        """What finishes inside that visit."""
        return Items(self.job, effect, self.journal, self.emit if self.job.observed else None, self._now)

    def settle(self, batch: Batch, result: Result) -> str:
        journal = self.journal
        assert journal is not None
        was_claimed = journal.claimed
        newest = journal.settle(batch, result)
        if journal.claimed != was_claimed:
            (renewal.renewer.watch if journal.claimed else renewal.renewer.forget)(journal)
        return newest

    def load(self, effect: Load) -> Found:
        assert self.journal is not None
        found = self.journal.load(effect.take, self.wait, self.stop.event if self.stop is not None else None)
        if found.status not in ("finished", "cancelled"):
            artifacts.check_all(found.values.values())
        return found

    def drop(self, effect: Drop) -> None:
        assert self.journal is not None
        artifacts.drop(self.journal.store, self.job.run_id, self.job.artifacts, effect.values.values())

    def release(self) -> Any:
        if self.journal is not None:
            renewal.renewer.forget(self.journal)
            self.journal.release()

    def call(self, effect: RunNode) -> Any:
        """Call the node's function; an async one gives its coroutine."""
        node = effect.node
        if not node.wants_context:
            return node.function(effect.state)
        context = Context(self.around, effect)
        if node.context_name is None:
            return node.function(effect.state, context)
        return node.function(effect.state, **{node.context_name: context})

    def outcome(self, began: float, result: Any = None, error: BaseException | None = None) -> Outcome:
        around = self.around
        around.effect = None
        if around.items is not None:
            result = around.leave(result if error is None else error)
        seconds = self._now() - began
        stop = self.stopping() if self._stoppable else ""
        return Outcome(result, error, began, seconds if seconds > 0.0 else 0.0, stop)


class SyncDriver(Driver):
    """Does each effect at once, in the caller's thread."""

    _loop: NodeLoop | None = None

    def drive(self) -> State:
        """Run to the end."""
        handlers: dict[type, Callable[[Any], Any]] = {
            RunNode: self.run_node,
            Append: self.append,
            Emit: self.emit,
            Load: self.load,
            Pause: self.pause,
            Drop: self.drop,
            Release: lambda _: self.release(),
        }
        token = self.begin()
        try:
            return self._interpret(handlers)
        finally:  # around a call: an interrupt between two effects, where a loop begins again, must not pass it by
            self.end(token)
            if self._loop is not None:
                self._loop.close()

    def _interpret(self, handlers: Mapping[type, Callable[[Any], Any]]) -> State:
        engine = self.engine
        send = engine.send
        try:
            effect: Effect = send(None)
            while True:
                try:
                    reply = handlers[type(effect)](effect)
                except BaseException as error:
                    effect = engine.throw(error)
                else:
                    effect = send(reply)
        except StopIteration as end:
            final: State = end.value
            return final

    def append(self, effect: Append) -> str:
        journal = self.journal
        assert journal is not None
        batch = journal.prepare(effect)
        return "" if batch is None else self.settle(batch, journal.store.committer.commit(batch))

    def pause(self, effect: Pause) -> str:
        wake = self.stop.event if self.stop is not None else None
        self.host.sleep(effect.retry.wait(effect.attempt, self.host.random()), wake)
        return self.stopping()

    def run_node(self, effect: RunNode) -> Outcome:
        began = self._now()
        node = effect.node
        self.around.effect = effect
        try:
            if self._stoppable and (reason := self.stopping()):
                raise StopNow(reason)
            if node.is_async:
                result = self._run_async(effect)
            elif node.timeout is not None:
                result = call_in_thread(effect, lambda: self.call(effect))
            else:
                result = self.call(effect)
        except BaseException as error:
            return self.outcome(began, error=error)
        return self.outcome(began, result)

    def _run_async(self, effect: RunNode) -> Any:
        from tau.node.async_calls import NodeLoop, with_timeout  # asyncio is only loaded where something needs it

        if self._loop is None:
            self._loop = NodeLoop()
        return self._loop.run(with_timeout(effect.node, self.call(effect)))
