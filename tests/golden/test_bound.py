"""Runs whose nodes have graphs, stores, classes and functions of tau bound to them go on under later versions."""

from __future__ import annotations

import functools
import inspect
import sys
from pathlib import Path
from typing import Any

import pytest
from golden_bound import AFTER, INNER, MEMORY, Limits, Unit, bound, bound_graph, own, stepping

import tau
from exactness import same
from tau import GraphChangedError, Retry, State, StateGraph, open_store
from tau.graph.fingerprint import CodeFingerprint, of_code, of_node
from tau.observers import Recorder
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore

ARCHIVE = Path(__file__).with_name("bound.tar.xz")


def test_a_failed_run_goes_on_from_its_finished_step(store: Store) -> None:
    recorder = Recorder()
    final = bound_graph(store, recorder).resume("failed", resources={"disk": True})
    assert same(dict(final), AFTER)
    assert [event.data["node"] for event in recorder.events if event.type == "node.start"] == ["stepping"]


def test_a_finished_run_gives_its_result(store: Store) -> None:
    assert same(dict(bound_graph(store).resume("finished")), AFTER)


def test_once_gone_on_with_the_graph_is_compared_by_the_rule_of_now(store: Store) -> None:
    bound_graph(store).resume("failed", resources={"disk": True})
    assert bound_graph(store).plan("failed").notes == ()
    changed = bound_graph(store)
    changed._nodes["own"] = _with_another_default(changed)
    with pytest.raises(GraphChangedError, match="finished node 'own' changed"):
        changed.resume("failed")


def _with_another_default(graph: StateGraph) -> Any:
    other = StateGraph("other")
    other.add_node("own", functools.partial(own, limits=Limits(0.75)))
    return other.nodes["own"]


def test_what_the_first_rule_can_tell_is_still_refused(store: Store) -> None:
    """Nothing of another name is bound to this node, so that both rules say the same of it."""
    changed = bound_graph(store)
    other = StateGraph("other")
    other.add_node("depends", lambda state: {"depends": 2.0})
    changed._nodes["depends"] = other.nodes["depends"]
    with pytest.raises(GraphChangedError, match="finished node 'depends' changed"):
        changed.resume("failed")


BOUND: dict[str, Any] = {
    "a graph": INNER,
    "a store": MEMORY,
    "classes": (State, StateGraph, Retry, MemoryStore, GraphChangedError),
    "a frozen dataclass of tau": Retry(attempts=3),
    "a method of a graph": INNER.execute,
    "a method of a store": MEMORY.load,
    "a function": open_store,
    "an observer": Recorder(),
    "a module": tau.observers,
}


@pytest.mark.parametrize("what", BOUND)
def test_no_digest_holds_a_module_path_of_tau(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def node(state: State, thing: Any = BOUND[what]) -> None: ...

    def digests() -> list[tuple[str, str | None]]:
        parts = [of_code(node), of_code(functools.partial(bound, graph=BOUND[what]))]
        return [part.digests for part in parts] + [(name, "") for name in of_node(node).depends]

    before = digests()
    move(BOUND[what], monkeypatch)
    assert digests() == before


def move(things: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a later version of tau had them in another package, and other code in them."""
    for thing in things if isinstance(things, tuple) else (things,):
        if thing is tau.observers:
            monkeypatch.setattr(thing, "__name__", "tau.elsewhere.observers")
            continue
        plain = getattr(thing, "__func__", thing)
        monkeypatch.setattr(plain if hasattr(plain, "__qualname__") else type(plain), "__module__", "tau.a.deeper.one")
        inner = inspect.unwrap(plain) if callable(plain) else plain
        if hasattr(inner, "__code__"):
            monkeypatch.setattr(inner, "__code__", (lambda self, *args, **kwargs: None).__code__)


def test_things_of_tau_that_are_bound_are_told_apart() -> None:
    found = [of_code(functools.partial(bound, thing=thing)).digests for thing in (*BOUND.values(), Retry(attempts=4))]
    assert len(set(found)) == len(found)


def test_what_an_older_tau_reads_is_by_its_own_rule() -> None:
    """It ignores what stands behind, so that the same program resumes under either."""
    code = of_code(functools.partial(stepping, inner=Unit()))
    assert (code.rule, code.now is not None) == (2, True)
    assert CodeFingerprint(code.python, code.bytecode, code.ast).digests == (code.bytecode, code.ast)
    assert list(of_node(own, depends_on=[Unit, sys.modules[__name__]]).depends) == ["golden_bound.Unit", __name__]
