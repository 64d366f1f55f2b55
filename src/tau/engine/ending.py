"""How a run ends, whatever ends it: what is finished is saved, its end is told once, and it is let go.

`Engine` stands on this. What is to be recorded and told is kept in the fields while the run goes on, so that the ending
can be entered again where an interrupt comes in its middle: what it has done by then it does not do again.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tau import events
from tau.engine.advice import explain
from tau.engine.choosing import NoTransition
from tau.engine.effects import Effect, Emit, Release, RunRequest
from tau.engine.stop import StopNow
from tau.engine.verdicts import UNSAVED, stopped, terminal, waiting_for
from tau.errors import ExecutionError, RunInterruptedError, StoreError, TauError
from tau.events import text_of
from tau.graph.edges import Route
from tau.log.append import Append
from tau.log.records import OF_NO_PERSON, Failed, Interrupted, Pause, Progress, Record, Scope, describe
from tau.log.replay import status_after
from tau.log.subgraphs import Subgraphs
from tau.node.current import RunNode
from tau.state import State, view
from tau.values.stored import StoredValue

if TYPE_CHECKING:
    from tau.schema.schema import Schema

Steps = Generator[Effect, Any, Any]


class Ending:
    """What is known of a run, and its ending."""

    def __init__(self, request: RunRequest) -> None:
        self.request = request
        self.values: dict[str, Any] = {}
        self.progress = Progress(
            graph=request.graph.name, created=request.now, next=request.graph.entry_point, seed=request.seed
        )
        self.at = request.graph.entry_point or ""  # the node in flight, or the next one
        self.effect: RunNode | None = None  # the attempt in flight
        self.asks: Route | None = None  # what has yet to say which node comes next
        self.interrupt: BaseException | None = None  # what broke the visit off and is to reach the caller as it is
        self.late: BaseException | None = None  # what came after the visit: raised when its work is committed
        self.last: tuple[Record, ...] = ()  # how the run ends, where that was decided before the ending
        self.cells: tuple[StoredValue, ...] = ()  # what these records say of values
        self.verdict: dict[str, Any] = {}  # what its terminal event says of the error
        self.conclusion: Emit | None = None  # its terminal event, of which there is one
        self.ended = False  # it has come to its exit point
        self.scope: Scope = ()  # where the graph belongs, if it is one inside a node
        self.subgraphs: Subgraphs = {}  # how far the graphs inside the node in flight are

    def end(self, error: BaseException) -> Generator[Effect, Any, BaseException]:
        """Whatever was raised, wherever: what is to reach the caller. Interrupts that come meanwhile change nothing."""
        if isinstance(error, GeneratorExit) and error is not self.interrupt:
            raise error  # the driver dropped the generator: nothing may follow
        final: BaseException = error
        if isinstance(error, StopNow):
            final = self.stopped(self.at, text_of(error))
        told = final
        if self.request.stored and not isinstance(error, UNSAVED):
            self.progress.status, last = self._last(error)
            try:
                newest = yield from self._insist(self.appended(last, ending=True, cells=self.cells))
                yield from self.saved(newest)
            except TauError as unsaved:
                if isinstance(final, TauError):
                    final = unsaved
                if not isinstance(unsaved, StoreError):
                    told = unsaved
        if self.conclusion is None and not self.ended and self.request.observed:
            about = self.verdict if told is error else {}
            data = {"error": text_of(told), "error_type": type(told).__name__, **about, "run_id": self.request.run_id}
            self.conclusion = Emit(terminal(told), data)
        if self.conclusion is not None and not self.conclusion.told:
            yield from self._insist(self.conclusion)
        with suppress(TauError):
            yield from self._insist(Release())
        return final

    def appended(self, records: tuple[Record, ...], *, flush: bool = True, **more: Any) -> Append:
        """What appends these records to the log."""
        return Append(records, self.progress, self.values, flush=flush, **more)

    def named(self, node: str) -> str:
        """What people are told a node of this graph is called."""
        return node

    def _last(self, error: BaseException) -> tuple[str, tuple[Record, ...]]:
        """The status in which the run is left, and the records that say so."""
        if self.last:
            return status_after(self.last[-1], self.progress.status), self.last
        if isinstance(error, Exception):
            return "failed", (Failed(node=self.at, failure=describe(error), attempt=self.tried),)
        reason = text_of(error) or type(error).__name__
        return "interrupted", (Interrupted(node=self.at, reason=reason, attempt=self.tried),)

    @property
    def tried(self) -> int:
        """How many attempts at the node that comes next have begun."""
        effect = self.effect
        return self.progress.crashes if effect is None else effect.attempt - (not effect.begun)

    def _insist(self, effect: Effect) -> Generator[Effect, Any, Any]:
        """Have it done although an interrupt comes: then it is tried once more, and a second interrupt ends that."""
        for _ in range(2):
            try:
                return (yield effect)
            except (TauError, GeneratorExit):
                raise
            except BaseException:
                if isinstance(effect, Emit) and effect.told:
                    break
        return ""

    def saved(self, newest: str, **keys: Any) -> Steps:
        if newest:
            yield from self.emit(events.CHECKPOINT_SAVE, node=newest, **keys)

    # What ends a run before its end: the record of it, and the error to raise.

    def node_failed(self, name: str, error: Exception) -> ExecutionError:
        if self.request.stored:
            effect = self.effect
            explain(error, self.request.artifacts, None if effect is None else effect.node)
        self.last = (Failed(node=name, failure=describe(error), attempt=self.tried),)
        text = f"node execution failed: {text_of(error) or type(error).__name__}"
        return self._error(name, error, text, (*self.progress.path, name))

    def failed(self, name: str, error: Exception) -> ExecutionError:
        """The run cannot go on, at or after this node: no edge holds, or a limit is reached."""
        self.last = (Failed(node=name, failure=describe(error), attempt=self.tried),)
        path = tuple(self.progress.path)
        done = isinstance(error, NoTransition) and path[-1:] == (name,)
        return self._error(name, error, text_of(error) or type(error).__name__, path if done else (*path, name))

    def _error(self, name: str, error: Exception, text: str, path: tuple[str, ...]) -> ExecutionError:
        name = self.named(name)
        self.verdict = {"node": name, "error": text, "error_type": type(error).__name__}
        said, run_id = f"execution failed at node {name}: {text}", self.request.run_id
        return ExecutionError(said, node=name, state=self.view(self.request.graph.schema), path=path, run_id=run_id)

    def interrupted(self, name: str, error: BaseException) -> BaseException:
        """The visit in flight was broken off."""
        reason = text_of(getattr(error, "reason", "")) or text_of(error) or type(error).__name__
        if isinstance(error, SystemExit) and reason in OF_NO_PERSON:
            reason = f"SystemExit: {reason}"  # of the worker's own words: it would be taken again without end
        self.last = (Interrupted(node=name, reason=reason, attempt=self.tried),)
        if isinstance(error, StopNow | RunInterruptedError):
            final = self.stopped(name, reason)
            final.__cause__ = error
            return final
        self.interrupt = error
        return error

    def waiting(self, name: str, waits: tuple[tuple[Pause, StoredValue | None], ...]) -> BaseException:
        """The visit in flight asked people something."""
        self.last = tuple(record for record, _ in waits)
        self.cells = tuple(cell for _, cell in waits if cell is not None)
        asked = sorted((record for record, _ in waits), key=lambda one: (one.asked, one.name))
        names = tuple(record.name for record in asked)  # in the order of `pauses.waiting`
        self.verdict = {"node": name, "pauses": list(names)}
        return waiting_for(self.request.run_id, names)

    def stopped(self, name: str, reason: str) -> RunInterruptedError:
        begun = self.effect is not None and self.effect.begun
        return stopped(self.request, self.named(name), self.view(), reason, begun, unanswered=self.asks is not None)

    def view(self, schema: Schema | None = None) -> State:
        progress = self.progress
        state = view(self.values, self.request.run_id, progress.node, progress.updated or progress.created)
        state._schema = schema
        return state

    def emit(self, type_: str, **data: Any) -> Steps:
        if self.request.observed:
            data["run_id"] = self.request.run_id
            yield Emit(type_, data)
