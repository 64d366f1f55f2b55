"""Answers as Python gives them: checked by the forms that the graph knows, then handed to the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tau.checks import checked_name, refused
from tau.graph.nodes import Node
from tau.host import Host
from tau.log.answers import answer, misfit
from tau.log.pauses import PauseState
from tau.node.forms import plain_of
from tau.node.pauses import PauseNode
from tau.schema.fields import Misfit
from tau.state import check_run_id
from tau.stores.contract import Store


def give(
    store: Store,
    host: Host,
    nodes: Iterable[Node],
    run_id: str,
    answers: Mapping[str, Any],
    *,
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
    forms = {one.function.name: one.function.question.form for one in nodes if type(one.function) is PauseNode}

    def plain(state: PauseState, value: Any) -> Any:
        """An answer as it is stored: plain data where the pause has a form."""
        if state.form is None:
            return value
        form = None if state.scope else forms.get(state.name)
        try:
            return plain_of(value) if form is None or form.schema is None else form.plain(value)
        except Misfit as error:
            raise misfit(run_id, state.name, [str(error)]) from None

    who = host.user() if by is None else checked_name("by", by)
    answer(store, check_run_id(run_id), answers, host, by=who, plain=plain, changes=changes, again=again)
