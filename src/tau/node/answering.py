"""Answers as Python gives them: checked by the forms that the graph knows, then handed to the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tau.checks import checked_name, refused
from tau.graph.nodes import Node
from tau.host import Host
from tau.log.answers import answer, misfit
from tau.log.pauses import PauseState
from tau.node.forms import Form, plain_of
from tau.node.pauses import PauseNode
from tau.schema.fields import Misfit
from tau.schema.schema import Schema
from tau.state_names import check_run_id
from tau.stores.contract import Store


def give(
    store: Store,
    host: Host,
    nodes: Mapping[str, Node],
    run_id: str,
    answers: Mapping[str, Any],
    *,
    schema: Schema | None = None,
    by: str | None = None,
    changes: Mapping[str, Any] | None = None,
    again: bool = False,
) -> None:
    """See `StateGraph.answer`; all answers are given, or none. With ``again`` those that are there already are no
    error where they are the same."""
    for what, mapping in (("answers", answers), ("changes", {} if changes is None else changes)):
        if not isinstance(mapping, Mapping):
            raise refused(what, mapping, "a mapping of names to values")
    for name in answers:
        checked_name("the name of a pause", name)

    def plain(state: PauseState, value: Any) -> Any:
        """An answer as it is stored: plain data where the pause has a form."""
        form, around = _asked(nodes, schema, state)
        try:
            if state.form is not None:
                value = plain_of(value) if form is None or form.schema is None else form.plain(value)
        except Misfit as error:
            raise misfit(run_id, state.name, [str(error)]) from None
        if form is not None and around is not None:
            try:
                around.fitted(state.name, form.kept(value))
            except Misfit as error:
                wrong = f"the state is to hold it, by the schema {around.name}: {state.name!r}: {error}"
                raise misfit(run_id, state.name, [wrong]) from None
        return value

    who = host.user() if by is None else checked_name("by", by)
    answer(store, check_run_id(run_id), answers, host, by=who, plain=plain, changes=changes, again=again)


def _asked(nodes: Mapping[str, Node], schema: Schema | None, state: PauseState) -> tuple[Form | None, Schema | None]:
    """The form of a `pause_node`, as the graph knows it, and the schema of the state that holds the answer; ``None``
    for what a node asks."""
    if not state.scope:
        asks = [one.function for one in nodes.values() if type(one.function) is PauseNode]
        return next((one.question.form for one in asks if one.name == state.name), None), schema
    *around, (name, _, asked) = state.scope
    for outer, _, branch in around:
        inner = nodes[outer].inside if outer in nodes else None
        graph = next((one.graph for one in inner.branches if one.name == branch), None) if inner is not None else None
        nodes, schema = ({}, None) if graph is None else (graph.nodes, graph.schema)
    function = nodes[name].function if name in nodes else None
    form = function.question.form if type(function) is PauseNode and function.name == asked else None
    return form, schema
