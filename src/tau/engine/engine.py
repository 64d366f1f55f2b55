"""The engine: a generator that decides what happens in a run and does nothing itself.

It yields effects and is sent their results; it calls no store, clock, thread or observer, a driver does that. The first
effect of a run with a store admits or loads it, the last releases it, and each one between is a point at which the
process may die without harm.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import Any

from tau import events
from tau.engine.admission import Opened, open_run
from tau.engine.advice import say_how_to_go_on
from tau.engine.choosing import NoTransition, choose
from tau.engine.effects import Backoff, DeleteRecords, Effect, Emit, Outcome, Release, RunRequest
from tau.engine.ending import Steps
from tau.engine.routing import Routing
from tau.engine.stop import StopNow
from tau.engine.verdicts import may_retry, no_changes, too_many_visits
from tau.errors import RunInterruptedError, TauError
from tau.events import text_of
from tau.graph.edges import END, Edge
from tau.log.journal import Append
from tau.log.loading import LoadedRun
from tau.log.records import CheckpointRecord, Failed, Finished, Interrupted, Record, advance, describe
from tau.node.current import RunNode
from tau.state import State, raw, snapshot, view
from tau.state_changes import collect, fitted_values
from tau.values.plain_mappings import only_items
from tau.values.stored import StoredValue


class Engine(Routing):
    """One attempt at one run: `run` is the generator."""

    def __init__(self, request: RunRequest) -> None:
        super().__init__(request)
        self.graph = request.graph
        self.changed: dict[str, StoredValue] = {}  # what the visit set, and what it removed
        self.removed: list[str] = []
        self.begun = False  # the run is admitted or claimed: an error says how to go on with it

    def run(self) -> Generator[Effect, Any, State]:
        """Carry the run to its end; returns the final state."""
        try:
            yield from self._open()
            yield from self._loop()
            if self.request.stored and not self.request.preserve and not self.progress.preserve:
                kept: Exception | None = yield DeleteRecords(self.values, self.progress.created)
                if kept is not None:
                    yield from self.emit(events.CHECKPOINT_KEPT, error=text_of(kept), error_type=type(kept).__name__)
            with suppress(TauError):  # the driver has said so; no other process is kept out for longer than the lease
                yield Release()
        except BaseException as error:
            try:
                final = yield from self.end(error)
            except GeneratorExit:
                raise
            except BaseException:  # between two effects of the ending: what it has done it does not do again
                final = yield from self.end(error)
            if self.begun and not self.ended:
                say_how_to_go_on(final, self.request, self.progress)
            self.interrupt = self.late = None
            try:
                if final is error:
                    raise
                raise final from error
            finally:
                del final  # else it and this frame, which its traceback holds, keep each other and all of the node
        return self.view(self.graph.schema)

    def _open(self) -> Steps:
        """Admit or claim the run, and tell that it starts."""
        request = self.request
        if not request.stored:
            self.values = dict(request.values)
            yield from self._started()
            return
        opened: Opened = yield from open_run(request, self.progress)
        self.progress, self.values = opened.progress, opened.values
        self.begun = True
        progress = self.progress
        if opened.found is None:
            yield from self._started()
        elif progress.status == "finished":
            self.ended = True
            yield from self.emit(events.CHECKPOINT_LOAD, node=progress.node, status="finished")
            yield from self._changed(opened.changes)
        else:
            yield from self._resumed(opened.found, opened)

    def _resumed(self, found: LoadedRun, opened: Opened) -> Steps:
        progress = self.progress
        damage = {"damaged": found.damaged} if found.damaged else {}
        yield from self.emit(events.CHECKPOINT_LOAD, node=progress.node, **damage)
        if progress.next is None:
            yield from self.decide()
        yield from self.emit(events.CHECKPOINT_RESUME, checkpoint_node=progress.node, resume_node=progress.next)
        yield from self._changed(opened.changes)
        if opened.moved:
            yield from self.emit(events.PROVENANCE_CHANGED, changes=opened.moved)
        yield from self._started(resumed=True, start_node=progress.next)

    def _changed(self, changes: tuple[str, ...]) -> Steps:
        if changes:
            yield from self.emit(events.GRAPH_CHANGED, changes=list(changes), on_change=self.request.on_change)

    def _started(self, **extra: Any) -> Steps:
        begin, exits = self.graph.entry_point, len(self.graph.exit_points)
        yield from self.emit(events.GRAPH_START, entry_point=begin, exit_points=exits, **extra)

    # The loop: one visit after another until an exit point.

    def _loop(self) -> Steps:
        graph, progress, request = self.graph, self.progress, self.request
        while progress.next is not None:
            name = progress.next
            if progress.iteration >= request.max_iterations:
                error = too_many_visits(request.max_iterations, request.run_id)
                raise self.failed(name, error) from error
            visit = progress.visits.get(name, 0) + 1
            if visit > 1 and request.observed:
                counts = {"visit_count": visit, "iteration": progress.iteration + 1, "path_length": progress.iteration}
                yield from self.emit(events.CYCLE_DETECTED, node=name, **counts)
            self.at, attempt = name, progress.crashes + 1
            given = view(self.values, request.run_id, progress.node, progress.updated or progress.created)
            effect = self.effect = RunNode(graph.nodes[name], given, visit, attempt)
            outcome: Outcome = (yield from self._observed(effect)) if request.observed else (yield effect)
            failed = outcome.error if outcome.error is not None else self._take(effect, outcome)
            if failed is not None:
                outcome, attempt = yield from self._again(effect, outcome, failed)
            chosen, tried, stuck = self._advance(name, visit, outcome)
            if request.stored:
                saved = yield self._checkpoint(name, visit, attempt, outcome, stuck)
                self.at = progress.next or name
                if self.late is not None:
                    raise self.late
                if saved and request.observed:
                    yield from self.saved(saved, changed=sorted(self.changed), removed=sorted(self.removed))
            if self.asks is not None:
                chosen, stuck = yield from self.ask(self.asks, outcome.stop)
                tried = [] if chosen is None else [chosen]
            if request.observed:
                yield from self.tell(name, chosen, tried)
            if stuck is not None:
                raise self.failed(name, stuck) from (stuck.__cause__ or stuck)
            if outcome.stop and progress.next is not None:
                raise self.stopped(progress.next, outcome.stop)
        if not self.ended and request.observed:
            total, about = progress.iteration, {"exit_point": progress.node}
            data = {**about, "iterations": total, "path_length": total, "run_id": request.run_id}
            self.conclusion = Emit(events.GRAPH_COMPLETE, data)
            yield self.conclusion
        self.ended = True

    def _again(
        self, effect: RunNode, outcome: Outcome, error: BaseException | None
    ) -> Generator[Effect, Any, tuple[Outcome, int]]:
        """Run a node that failed until it succeeds or may not be tried again: its outcome, and in which attempt."""
        node, visit, request, tries = effect.node, effect.visit, self.request, 1
        while error is not None:
            if self.late is not None:
                raise self.late
            if outcome.waits:
                raise self.waiting(node.name, outcome.waits)
            if not isinstance(error, Exception) or isinstance(error, RunInterruptedError):
                raise self.interrupted(node.name, error)
            if node.retry is None or not may_retry(node, node.retry, error, tries):
                raise self.node_failed(node.name, error) from error
            stop = outcome.stop or (yield Backoff(node, tries, visit, effect.attempt, error))
            if stop:
                raise self.interrupted(node.name, StopNow(stop))
            tries += 1
            effect = self.effect = RunNode(node, self.view(), visit, effect.attempt + 1)
            outcome = (yield from self._observed(effect)) if request.observed else (yield effect)
            error = outcome.error if outcome.error is not None else self._take(effect, outcome)
        return outcome, effect.attempt

    def _observed(self, effect: RunNode) -> Generator[Effect, Any, Outcome]:
        given = effect.state
        where: dict[str, Any] = {
            "node": effect.node.name,
            "iteration": self.progress.iteration + 1,
            "visit": effect.visit,
            "attempt": effect.attempt,
        }
        snapshots = self.request.snapshots
        yield from self.emit(events.NODE_START, **where, **({"input_snapshot": snapshot(given)} if snapshots else {}))
        outcome: Outcome = yield effect
        error = outcome.error
        more: dict[str, Any] = {"error": error is not None, "duration_seconds": outcome.seconds}
        if error is not None:
            more["error_type"] = type(error).__name__
        elif snapshots and isinstance(outcome.result, Mapping):
            more["output_snapshot"] = snapshot(outcome.result)
        try:
            yield from self.emit(events.NODE_COMPLETE, **where, **more)
        except GeneratorExit:
            raise
        except BaseException as interrupt:
            if error is not None or not self.request.stored:
                raise
            self.late = interrupt  # raised when what the node did is committed
        return outcome

    def _take(self, effect: RunNode, outcome: Outcome) -> Exception | None:
        """Turn what the node returned into changes; the error where that cannot be done."""
        node, result, stored = effect.node, outcome.result, self.request.stored
        if result is None and not stored:
            return None
        if type(result) is not dict and result is not None and not only_items(result):
            return no_changes(node, result)
        try:
            if stored:
                self.changed, self.removed = outcome.changes or collect(
                    self.values, effect.state, result, node.name, node.schema
                )
                if self.changed or self.removed:
                    values = {**self.values, **self.changed}
                    for key in self.removed:
                        del values[key]
                    self.values = values
            elif node.schema is not None:
                self.values = fitted_values(self.values, result, node.name, node.schema)
            elif type(result) is not dict and isinstance(result, State):
                self.values = raw(result)
            elif result:
                self.values = {**self.values, **result}
        except Exception as error:
            return error
        return None

    def _advance(self, name: str, visit: int, outcome: Outcome) -> tuple[Edge | None, list[Edge], NoTransition | None]:
        """Choose the edge and go on to its target: the edge, those looked at, and why none was chosen."""
        progress, request = self.progress, self.request
        tried: list[Edge] = []
        chosen: Edge | None = None
        stuck: NoTransition | None = None
        before, progress.updated = progress.updated, outcome.began + outcome.seconds
        if name not in self.graph.exit_points:
            edges = self.graph.edges.get(name, ())
            route = edges[0].route if edges else None
            if edges and edges[0].predicate is None:
                tried.append(chosen := edges[0])
            elif route is not None and route.is_async:
                self.asks = route
            else:
                try:
                    chosen = choose(edges, (self.values, request.run_id, name, progress.updated), tried, name)
                except NoTransition as error:
                    assert self.effect is not None
                    if (waits := self.refused_answer(self.effect, error, progress.updated)) is not None:
                        progress.updated = before
                        raise (self.late or waits) from error
                    stuck = error
        advance(progress, name, visit, None if chosen is None or chosen.target == END else chosen.target)
        self.effect = None
        return chosen, tried, stuck

    def _checkpoint(self, name: str, visit: int, attempt: int, outcome: Outcome, stuck: NoTransition | None) -> Append:
        progress = self.progress
        changed = {}
        for key, cell in self.changed.items():
            if cell.change is not None:
                changed[key] = cell.change
        checkpoint = CheckpointRecord(
            node=name,
            visit=visit,
            iteration=progress.iteration,
            attempt=attempt,
            next=progress.next,
            changed=changed,
            removed=tuple(self.removed) if self.removed else (),
            seconds=outcome.seconds,
        )
        ending: Record
        if stuck is not None:
            progress.status, ending = "failed", Failed(node=name, failure=describe(stuck), attempt=0)
        elif progress.next is None and self.asks is None:
            progress.status, ending = "finished", Finished(node=name)
        elif outcome.stop:
            progress.status, ending = "interrupted", Interrupted(node=progress.next or "", reason=outcome.stop)
        else:
            return Append((checkpoint,), progress, self.values, flush=self.asks is not None)
        return Append((checkpoint, ending), progress, self.values, flush=True)
