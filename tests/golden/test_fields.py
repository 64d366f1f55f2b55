"""Runs that were stored before the values of members and the numbers under guarded names counted go on as they did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from golden_fields import AFTER, Model, fields_graph

from exactness import same
from tau import GraphChangedError
from tau.graph import syntax_digest
from tau.observers import Recorder
from tau.stores.contract import Store

ARCHIVE = Path(__file__).with_name("fields.tar.xz")
DISK = {"disk": True}

# What only the third rule counts, and what is said of it.
EDITS: dict[str, tuple[dict[str, Any], str]] = {
    "a number under a guarded name": ({"model": Model(max_tokens=9)}, r"'ask' changed \(model.max_tokens, which"),
    "a value of a member": ({"trend": "theilsen"}, r"'fit' changed \(Method.TREND, which"),
    "a value of a flag": ({"exact": 4}, r"'fit' changed \(Flags.FAST\|EXACT, which"),
}


def test_what_did_not_change_goes_on_and_no_source_is_parsed_for_it(store: Store) -> None:
    syntax_digest._functions.cache_clear()
    syntax_digest._trees.clear()
    recorder = Recorder()
    final = fields_graph(store, recorder).resume("failed", resources=DISK)
    assert same(dict(final), AFTER)
    assert [event.data["node"] for event in recorder.events if event.type == "node.start"] == ["report"]
    assert not [event for event in recorder.events if event.type == "graph.changed"]
    assert syntax_digest._functions.cache_info().misses == 0
    assert same(dict(fields_graph(store).resume("finished")), AFTER)


@pytest.mark.parametrize("edit", EDITS)
def test_what_only_the_third_rule_counts_is_compared_by_the_one_before(store: Store, edit: str) -> None:
    graph = fields_graph(store, **EDITS[edit][0])
    for run in ("failed", "finished"):
        plan = graph.plan(run)
        assert (plan.can_resume, plan.blocking, plan.notes) == (True, (), ())
    assert same(dict(graph.resume("failed", resources=DISK)), AFTER)


@pytest.mark.parametrize("edit", EDITS)
def test_once_gone_on_with_the_run_is_compared_by_the_third_rule(store: Store, edit: str) -> None:
    fields_graph(store).resume("failed", resources=DISK)
    with pytest.raises(GraphChangedError, match=EDITS[edit][1]):
        fields_graph(store, **EDITS[edit][0]).resume("failed")
    assert same(dict(fields_graph(store).resume("failed")), AFTER)


def test_what_the_rule_before_counts_is_still_refused(store: Store) -> None:
    with pytest.raises(GraphChangedError, match=r"'ask' changed \(model.rate, which"):
        fields_graph(store, model=Model(rate=0.75)).resume("failed")


def test_another_token_is_no_change(store: Store) -> None:
    fields_graph(store, model=Model(token="another")).resume("failed", resources=DISK)
    assert fields_graph(store, model=Model(token=None)).plan("failed").notes == ()
