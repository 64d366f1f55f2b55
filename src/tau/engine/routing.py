"""Which way a run goes after a node: by its edges, or as its route answers, which is stored.

`Engine` stands on this. An async route is awaited only once the visit before it is on disk, and what it answers is a
record of its own, as is the answer of a route that is asked anew.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import Any

from tau.engine.choosing import NoTransition, answered, check_unchanged, choose, failed, told
from tau.engine.effects import AskRoute, Effect, Outcome
from tau.engine.ending import Ending, Steps
from tau.errors import RunInterruptedError, SchemaError
from tau.graph.edges import END, Edge, Route
from tau.late_imports import load_module
from tau.log.records import Finished, Interrupted, Record, Routed, follow
from tau.node.current import RunNode
from tau.state import raw, view
from tau.values import Refused, encode


class Routing(Ending):
    """What is decided between two nodes."""

    def decide(self) -> Steps:
        """Choose the next node of a run that has none: no edge held before, its route has not answered, or its state
        was saved by hand."""
        progress, graph = self.progress, self.request.graph
        node = progress.node
        if node is None:
            progress.next = graph.entry_point
        elif node in graph.exit_points:
            progress.status = "finished"
            yield self.appended((Finished(node=node),))
        elif (route := graph.routes.get(node)) is not None and route.is_async:
            self.asks = route
            _, stuck = yield from self.ask(route)
            if stuck is not None:
                raise self.failed(node, stuck) from (stuck.__cause__ or stuck)
        else:
            try:
                given = self.values, self.request.run_id, node, progress.updated or progress.created
                chosen = choose(graph.edges.get(node, ()), given, [], node)
            except NoTransition as error:
                raise self.failed(node, error) from (error.__cause__ or error)
            if route is None:
                progress.next = chosen.target
            else:
                yield from self._store(chosen, 0.0)

    def ask(self, route: Route, stop: str = "") -> Generator[Effect, Any, tuple[Edge | None, NoTransition | None]]:
        """Ask an async route after a visit that is stored, unless the run is to stop: the edge, which is then stored
        too, or why there is none."""
        progress, request, name = self.progress, self.request, route.source
        if stop:
            raise self.stopped(name, stop)
        given = view(self.values, request.run_id, name, progress.updated or progress.created)
        outcome: Outcome = yield AskRoute(route, given, progress.visits.get(name, 1), self.scope)
        error = outcome.error
        if error is not None and (not isinstance(error, Exception) or isinstance(error, RunInterruptedError)):
            final = self.interrupted(name, error)
            for last in self.last:
                if isinstance(last, Interrupted):
                    last.node = ""  # which comes next is not known
            raise final
        try:
            if error is not None:
                raise failed(route, error) from error
            check_unchanged(route, given)
            chosen = answered(route, request.graph.edges[name], outcome.result)
        except NoTransition as stuck:
            return None, stuck
        self.asks = None
        yield from self._store(chosen, outcome.seconds)
        return chosen, None

    def refused_answer(self, effect: RunNode, stuck: NoTransition, now: float) -> BaseException | None:
        """What a run waits for once more, as the answer to a `pause_node` leads nowhere: it counts as none."""
        load_module("tau.node.pauses")
        from tau.node.pauses import PauseNode  # only loaded where somebody is asked

        ask, name = effect.node.function, effect.name or effect.node.name
        if type(ask) is not PauseNode or stuck.__cause__ is not None or not self.request.graph.edges.get(name):
            return None
        answer = self.values.get(ask.name)
        data = None if answer is None else answer.data()
        asked = ask.again(data, effect, now, f"the run cannot go on with it: {stuck}")
        if asked is None:
            return None
        self.values = raw(effect.state)
        return self.waiting(name, (asked,))

    def misfit_answer(self, effect: RunNode, outcome: Outcome, error: Exception) -> Exception:
        """The error; where the answer to a `pause_node` does not fit the schema, the outcome waits for another one."""
        load_module("tau.node.pauses")
        from tau.node.pauses import PauseNode

        ask = effect.node.function
        if type(ask) is PauseNode and isinstance(error, SchemaError):
            with suppress(Refused):
                data = encode(outcome.result[ask.name])
                now = outcome.began + outcome.seconds
                asked = ask.again(data, effect, now, f"the state cannot hold it: {error}")
                outcome.waits = () if asked is None else (asked,)
        return error

    def tell(self, name: str, chosen: Edge | None, tried: Sequence[Edge]) -> Steps:
        for type_, about in told(name, chosen, tried):
            ends = {"from": self.named(about["from"]), "to": self.named(about["to"])}
            yield from self.emit(type_, **{**about, **ends})

    def _store(self, chosen: Edge, seconds: float) -> Steps:
        progress, node = self.progress, chosen.source
        follow(progress, node, None if chosen.target == END else chosen.target)
        visit = progress.visits.get(node, 1)
        answer = Routed(node=node, visit=visit, next=progress.next, answer=chosen.name, seconds=seconds)
        records: tuple[Record, ...] = (answer,)
        if progress.next is None:
            progress.status, records = "finished", (answer, Finished(node=node))
        if self.request.stored:
            yield self.appended(records)
        self.at = progress.next or node
