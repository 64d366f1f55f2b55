"""The visits of a graph's nodes, one after the other: of the graph that is run, and of those inside its nodes."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, NoReturn

from msgspec.structs import replace

from tau import events
from tau.engine.choosing import NoTransition, choose
from tau.engine.effects import Backoff, Effect, Outcome, RunRequest, RunTogether
from tau.engine.ending import Steps
from tau.engine.merging import together
from tau.engine.routing import Routing
from tau.engine.stop import StopNow
from tau.engine.verdicts import UNSAVED, may_retry, no_changes, too_many_visits
from tau.errors import ConfigError, RunInterruptedError
from tau.events import text_of
from tau.graph.edges import END, Edge
from tau.graph.inner import Branch
from tau.log.append import Append
from tau.log.records import (
    EARLY,
    CheckpointRecord,
    Failed,
    Finished,
    Interrupted,
    Pause,
    Progress,
    Record,
    advance,
    describe,
    path_of,
)
from tau.log.subgraphs import Subgraph, drop_subgraphs
from tau.node.current import RunNode
from tau.node.paused import Paused
from tau.schema.fields import Misfit, same_rule
from tau.snapshots import snapshot
from tau.spelling import did_you_mean
from tau.state import State, raw, view
from tau.state_changes import collect, fitted_values
from tau.values.plain_mappings import only_items
from tau.values.stored import StoredValue


class Visits(Routing):
    """One graph, node by node. ``root`` is the one of the run, ``scope`` where this one belongs in it."""

    def __init__(self, request: RunRequest) -> None:
        super().__init__(request)
        self.graph = request.graph
        self.root: Visits = self
        self.around: dict[str, Any] | None = None  # the state of the run, where this one is inside a node
        self.changed: dict[str, StoredValue] = {}  # what the visit set, and what it removed
        self.removed: list[str] = []

    def loop(self) -> Steps:
        """One visit after another until an exit point."""
        progress, request, nodes = self.progress, self.request, self.graph.nodes
        while progress.next is not None:
            name = progress.next
            if progress.iteration >= request.max_iterations:
                self._end_of_visits(name)
            visit = progress.visits.get(name, 0) + 1
            if visit > 1 and request.observed:
                counts = {"visit_count": visit, "iteration": progress.iteration + 1, "path_length": progress.iteration}
                yield from self.emit(events.CYCLE_DETECTED, node=self.named(name), **counts)
            self.at, attempt = name, progress.crashes + 1
            given = view(self.values, request.run_id, progress.node, progress.updated or progress.created)
            about = (given, visit, attempt)
            effect = self.effect = self.visit(name, *about) if self.scope else RunNode(nodes[name], *about)
            plain = not (request.observed or effect.node.inside)
            outcome: Outcome = (yield effect) if plain else (yield from self._run(effect))
            failed = outcome.error if outcome.error is not None else self._apply(effect, outcome)
            if failed is not None:
                outcome, attempt = yield from self._try_again(effect, outcome, failed)
            chosen, tried, stuck = self._advance(name, visit, outcome)
            if request.stored:
                saved = yield self._checkpoint(name, visit, attempt, outcome, stuck)
                self.at = progress.next or name
                if self.late is not None:
                    raise self.late
                if saved and request.observed:
                    mine = saved == self.named(name)  # or of another branch
                    keys = {"changed": sorted(self.changed), "removed": sorted(self.removed)} if mine else {}
                    yield from self.saved(saved, **keys)
            if self.asks is not None:
                chosen, stuck = yield from self.ask(self.asks, outcome.stop)
                tried = [] if chosen is None else [chosen]
            if request.observed:
                yield from self.tell(name, chosen, tried)
            if stuck is not None:
                raise self.failed(name, stuck) from (stuck.__cause__ or stuck)
            if outcome.stop and progress.next is not None:
                raise self.stopped(progress.next, outcome.stop)

    def _end_of_visits(self, name: str) -> NoReturn:
        error = too_many_visits(self.request.max_iterations, self.request.run_id)
        raise self.failed(name, error) from error

    def visit(self, name: str, given: State, visit: int, attempt: int) -> RunNode:
        """What runs a node of this graph."""
        return RunNode(self.graph.nodes[name], given, visit, attempt)

    def _try_again(
        self, effect: RunNode, outcome: Outcome, error: BaseException | None
    ) -> Generator[Effect, Any, tuple[Outcome, int]]:
        """Run a node that failed until it succeeds or may not be tried again: its outcome, and in which attempt."""
        node, visit, tries = effect.node, effect.visit, 1
        name = effect.name or node.name
        while error is not None:
            if self.late is not None:
                raise self.late
            if outcome.waits:
                raise self.waiting(name, outcome.waits)
            if not isinstance(error, Exception) or isinstance(error, RunInterruptedError):
                raise self.interrupted(name, error)
            if node.retry is None or not may_retry(node, node.retry, error, tries):
                raise self.node_failed(name, error) from error
            stop = outcome.stop or (yield Backoff(node, tries, visit, effect.attempt, error))
            if stop:
                raise self.interrupted(name, StopNow(stop))
            tries += 1
            effect = self.effect = self.visit(name, self.view(), visit, effect.attempt + 1)
            outcome = yield from self._run(effect)
            error = outcome.error if outcome.error is not None else self._apply(effect, outcome)
        return outcome, effect.attempt

    def _run(self, effect: RunNode) -> Generator[Effect, Any, Outcome]:
        if self.request.observed:
            return (yield from self._observed(effect))
        return (yield from self._inside(effect)) if effect.node.inside else (yield effect)

    def _inside(self, effect: RunNode) -> Generator[Effect, Any, Outcome]:
        """Run the graphs that the node consists of."""
        inner = effect.node.inside
        assert inner is not None
        effect.begun = True
        branches = [Inside(self, effect, one, is_alone=len(inner.branches) == 1) for one in inner.branches]
        if len(branches) == 1:
            outcomes = [(yield from branches[0].run())]
        else:
            try:
                outcomes = yield RunTogether(tuple(one.run() for one in branches), effect)
            except GeneratorExit:
                raise
            except BaseException as error:  # an interrupt: what the branches have done is kept
                if isinstance(error, UNSAVED):
                    raise
                return Outcome(error=error)
        for outcome in outcomes:
            if isinstance(outcome.error, UNSAVED):  # not of a node: the store failed, or the run is another's
                raise outcome.error
        return together(effect, self.values, branches, outcomes, stored=self.request.stored)

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
        outcome: Outcome = (yield from self._inside(effect)) if effect.node.inside else (yield effect)
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

    def _apply(self, effect: RunNode, outcome: Outcome) -> Exception | None:
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
            return self.misfit_answer(effect, outcome, error) if stored else error
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
        if self.effect is not None and self.effect.node.inside is not None:
            drop_subgraphs(self.root.subgraphs, self.scope, name, visit)
        self.effect = None
        return chosen, tried, stuck

    def _checkpoint(self, name: str, visit: int, attempt: int, outcome: Outcome, stuck: NoTransition | None) -> Append:
        progress = self.progress
        changed = {}
        for key, cell in self.changed.items():
            if cell.change is not None:
                changed[key] = cell.change
        checkpoint = CheckpointRecord(
            time=progress.updated,
            scope=self.scope,
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
            return Append(
                (checkpoint,), self.root.progress, self.values, flush=self.asks is not None, around=self.around
            )
        return self.appended((checkpoint, ending))


class Inside(Visits):
    """A graph inside a node: it goes on where an earlier attempt at the node left it."""

    def __init__(self, outer: Visits, effect: RunNode, branch: Branch, *, is_alone: bool) -> None:
        """``is_alone``: the node consists of nothing else."""
        graph = branch.graph
        super().__init__(replace(outer.request, graph=graph, max_iterations=graph.max_iterations))
        self.root, self.branch, self.scope = outer.root, branch, effect.scope_of(branch.name)
        assert effect.node.inside is not None
        around = tuple((node, branch) for node, _, branch in self.scope)
        self._labelled = effect.node.inside.labelled.setdefault(around, {})
        self._is_alone = is_alone
        self.around = self.root.values
        self._before, self._around_schema = outer.values, outer.graph.schema
        self._waits: tuple[tuple[Pause, StoredValue | None], ...] = ()
        self._began, self._stop = 0.0, ""
        reached = self.root.subgraphs.get(self.scope) if self.request.stored else None
        if reached is None:
            progress = Progress(graph=graph.name, next=graph.entry_point, crashes=effect.attempt - 1)
            reached = self.root.subgraphs[self.scope] = Subgraph(progress)
        self.reached, self.progress = reached, reached.progress  # how far it is, and what it changed until there
        self.progress.created = outer.progress.updated or outer.progress.created
        self.at = self.progress.next or ""
        if self.progress.status != "finished":
            self.progress.status = "running"
        self.values = {key: value for key, value in outer.values.items() if key not in reached.removed}
        self.values.update(reached.changed)

    def run(self) -> Generator[Effect, Any, Outcome]:
        """Carry it to its exit point; how that went."""
        progress = self.progress
        try:
            if progress.status != "finished":
                self._check_state()
                if progress.next is None:
                    yield from self.decide()
                yield from self.loop()
        except BaseException as error:
            if isinstance(error, GeneratorExit) and error is not self.interrupt:
                raise  # the driver dropped the generator: nothing may follow
            return (yield from self._broken_off(error))
        return Outcome(began=self._began, stop=self._stop)

    def _check_state(self) -> None:
        """Raises `SchemaError` where it cannot begin or go on with this state: other keys are none of its own."""
        schema, known = self.graph.schema, self._around_schema
        if schema is None or schema is known:
            return
        wrong = [(key, Misfit("it is missing")) for key in schema.missing(self.values)]
        for key, field in schema.fields.items():
            same = known is not None and key in known.fields and same_rule(field, known.fields[key])
            if key in self.values and not same and key not in self.reached.changed:  # what it set itself is validated
                try:
                    field.fitted(self.view()[key])
                except Misfit as error:
                    wrong.append((key, error))
        if wrong:
            when = "goes on" if self.progress.iteration else "begins"
            raise schema.error(wrong, None, f"the state with which graph {self.graph.name!r} {when} does")

    def handed_up(self) -> tuple[dict[str, Any], list[str]]:
        """What it changed in the state of its node and hands up: values or cells by key, and the keys it removed."""
        changed, removed, outputs = self.reached.changed, self.reached.removed, self.branch.outputs
        if not self.request.stored:
            changed = {key: value for key, value in self.values.items() if self._before.get(key, self) is not value}
            removed = self._before.keys() - self.values.keys()
        missing = next((key for key in outputs or () if key not in self.values and key not in self._before), None)
        if missing is not None:
            near = did_you_mean(missing, self.values)
            raise ConfigError(
                f"graph {self.graph.name!r} is to hand up {missing!r}, which its state does not have{near}"
            )
        kept = [key for key in changed if outputs is None or key in outputs]
        gone = [key for key in self._before if key in removed and (outputs is None or key in outputs)]
        return {key: changed[key] for key in kept}, gone

    def visit(self, name: str, given: State, visit: int, attempt: int) -> RunNode:
        node = self._labelled.get(name)
        if node is None:
            node = self._labelled[name] = replace(self.graph.nodes[name], name=self.named(name))
        return RunNode(node, given, visit, attempt, scope=self.scope, name=name)

    def named(self, node: str) -> str:
        return path_of(self.scope, node)

    def appended(self, records: tuple[Record, ...], *, flush: bool = True, **more: Any) -> Append:
        ends = isinstance(records[-1], Finished)  # what comes of its node follows at once, if this is all of it
        for record in records:
            record.scope = self.scope
        return Append(
            records, self.root.progress, self.values,
            flush=flush and not ends, later=ends and self._is_alone, around=self.around, **more,
        )  # fmt: skip

    def waiting(self, name: str, waits: tuple[tuple[Pause, StoredValue | None], ...]) -> BaseException:
        self._waits = waits
        return Paused(f"node {self.named(name)!r} waits for an answer")

    def _apply(self, effect: RunNode, outcome: Outcome) -> Exception | None:
        failed = super()._apply(effect, outcome)
        self._began = self._began or outcome.began
        self._stop = outcome.stop
        if failed is None and self.request.stored:
            reached = self.reached
            if self.changed:
                reached.changed.update(self.changed)
                reached.removed.difference_update(self.changed)
            for key in self.removed:
                reached.changed.pop(key, None)
                reached.removed.add(key)
        return failed

    def _broken_off(self, error: BaseException) -> Generator[Effect, Any, Outcome]:
        """What ended it before its exit point; the records say so, its node ends with it."""
        progress, final = self.progress, error
        if isinstance(error, StopNow):
            final = self.stopped(self.at, text_of(error))
        if progress.status == "running" and self.request.stored and not isinstance(error, (*UNSAVED, Paused)):
            _, last = self._last(error)
            progress.status, progress.crashes = "failed", self.tried
            yield self.appended(last, flush=False)
        if self._waits and not self._is_alone:  # people may answer while other branches work
            asked = tuple(replace(record, body={EARLY: True}) for record, _ in self._waits)
            cells = tuple(cell for _, cell in self._waits if cell is not None)
            yield Append(asked, self.root.progress, self.values, flush=True, cells=cells)
        return Outcome(error=final, began=self._began, waits=self._waits)
