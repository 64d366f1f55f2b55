"""The engine: a generator that decides what happens in a run and does nothing itself.

It yields effects and is sent their results; it calls no store, clock, thread or observer, a driver does that. The first
effect of a run with a store admits or loads it, the last releases it, and each one between is a point at which the
process may die without harm.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import Any

from tau import events
from tau.engine.admission import Opened, open_run
from tau.engine.advice import say_how_to_go_on
from tau.engine.effects import DeleteRecords, Effect, Emit, Release, RunRequest
from tau.engine.ending import Steps
from tau.engine.visits import Visits
from tau.errors import TauError
from tau.events import text_of
from tau.log.loading import LoadedRun
from tau.state import State


class Engine(Visits):
    """One attempt at one run: `run` is the generator."""

    def __init__(self, request: RunRequest) -> None:
        super().__init__(request)
        self.begun = False  # the run is admitted or claimed: an error says how to go on with it

    def run(self) -> Generator[Effect, Any, State]:
        """Carry the run to its end; returns the final state."""
        try:
            yield from self._open()
            yield from self.loop()
            yield from self._complete()
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
        if opened.found is not None:
            self.subgraphs = opened.found.subgraphs
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
        yield from self.emit(
            events.CHECKPOINT_RESUME, checkpoint_node=progress.node, resume_node=progress.next, **self._kept()
        )
        yield from self._changed(opened.changes)
        if opened.moved:
            yield from self.emit(events.PROVENANCE_CHANGED, changes=opened.moved)
        yield from self._started(resumed=True, start_node=progress.next)

    def _kept(self) -> dict[str, int]:
        """How much of the node in flight is finished: items, and visits of the graphs inside it; what is none is left
        out."""
        inside = [one.progress for one in self.subgraphs.values()]
        items = sum(one.items for one in inside) if inside else self.progress.items
        items = 0 if self.request.on_change == "redo" else items
        kept = {"kept_items": items, "kept_visits": sum(one.iteration for one in inside)}
        return {name: count for name, count in kept.items() if count}

    def _changed(self, changes: tuple[str, ...]) -> Steps:
        if changes:
            yield from self.emit(events.GRAPH_CHANGED, changes=list(changes), on_change=self.request.on_change)

    def _started(self, **extra: Any) -> Steps:
        begin, exits = self.graph.entry_point, len(self.graph.exit_points)
        yield from self.emit(events.GRAPH_START, entry_point=begin, exit_points=exits, **extra)

    def _complete(self) -> Steps:
        """Tell that the run has come to its end."""
        progress, request = self.progress, self.request
        if not self.ended and request.observed:
            total, about = progress.iteration, {"exit_point": progress.node}
            data = {**about, "iterations": total, "path_length": total, "run_id": request.run_id}
            self.conclusion = Emit(events.GRAPH_COMPLETE, data)
            yield self.conclusion
        self.ended = True
