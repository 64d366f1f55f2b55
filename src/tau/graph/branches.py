"""Graphs as nodes of another graph: `graph_node`, and `branches_node` for several at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tau.checks import checked_name, refused
from tau.errors import ConfigError
from tau.graph.graph import Graph
from tau.graph.inner import MERGES, Branch, InnerGraphs, Merge, single
from tau.graph.nodes import is_async
from tau.spelling import names_keywords


@names_keywords
def graph_node(graph: Graph, *, outputs: Iterable[str] | None = None) -> InnerGraphs:
    """A graph as a node of another: ``outer.add_node("prepare", graph_node(inner, outputs=["clean"]))``.

    Each node inside is committed when it finishes, as in a run of its own. The inner graph begins with the state of the
    outer one; what it changed is handed up when it comes to an exit point: all of it, or only the keys in ``outputs``.
    Store, interval, seed, resources, observers and stop are those of the outer run, whatever the inner graph has;
    ``max_iterations`` of the inner graph bounds its own visits, each time it is run.

    ``outer.add_node("prepare", inner)`` is the same without ``outputs``. Raises `ConfigError` for what is no graph or
    no list of keys.

    >>> from tau import StateGraph, graph_node
    >>> inner, outer = StateGraph("clean"), StateGraph("whole")
    >>> inner.add_node("strip", lambda state: {"clean": state["text"].strip(), "scratch": 1})
    >>> inner.sequence("strip")
    >>> outer.add_node("prepare", graph_node(inner, outputs=["clean"]))
    >>> outer.sequence("prepare")
    >>> dict(outer.execute({"text": " dry "}))
    {'text': ' dry ', 'clean': 'dry'}
    """
    return InnerGraphs((Branch("", _checked_graph("graph_node", graph), _checked_outputs("graph_node", outputs)),), {})


@names_keywords
def branches_node(branches: Mapping[str, Any], *, merge: Mapping[str, Merge] | None = None) -> InnerGraphs:
    """Branches that run at once, as a node: ``graph.add_node("prepare", branches_node({"sst": sst, "co2": co2}))``.

    A branch is a function, as a node has it, or a graph (see `graph_node`, which also says what a branch hands up).
    Each begins with the state of the node, and each node of it is committed when it finishes: a slow branch holds
    nobody back, and of one that fails the others finish; then the node fails with `BranchError`. A later attempt does
    only what is not finished.

    Two branches that change the same key are a `MergeError`, unless ``merge`` says what becomes of it: ``"replace"``
    (the last branch that set it, in the order declared), ``"append"`` (what each put behind the unchanged beginning of
    a list, tuple or text), ``"add"`` (the sum of the differences), ``"union"`` (of sets or mappings), or a function of
    the value before, ``None`` if there was none, and the list of new values in the order declared. The order in which
    branches finish never counts.

    Raises `ConfigError` for what cannot be a branch, a name or a merge.

    >>> from tau import StateGraph, branches_node
    >>> graph = StateGraph("both")
    >>> sst, co2 = (lambda state: {"sst": 15.2, "log": ["sst"]}), (lambda state: {"co2": 421.0, "log": ["co2"]})
    >>> graph.add_node("prepare", branches_node({"sst": sst, "co2": co2}, merge={"log": "append"}))
    >>> graph.sequence("prepare")
    >>> dict(graph.execute({"log": []}))
    {'log': ['sst', 'co2'], 'sst': 15.2, 'co2': 421.0}
    """
    if not isinstance(branches, Mapping) or not branches:
        raise refused("branches", branches, "a mapping of names to functions or graphs")
    parts = tuple(_branch(checked_name("the name of a branch", name), given) for name, given in branches.items())
    return InnerGraphs(parts, {} if merge is None else _checked_merge(merge))


def _branch(name: str, given: Any) -> Branch:
    if isinstance(given, InnerGraphs) and not given.branches[0].name:
        return given.branches[0]._replace(name=name)
    if isinstance(given, Graph):
        return Branch(name, given, None)
    if not callable(given):
        raise refused(f"branch {name!r}", given, "a function or a graph")
    return Branch(name, single(Graph(name), given), None, given)


def _checked_graph(where: str, graph: Any) -> Graph:
    if not isinstance(graph, Graph):
        raise refused(where, graph, "a StateGraph")
    return graph


def _checked_outputs(where: str, outputs: Any) -> tuple[str, ...] | None:
    if outputs is None:
        return None
    if isinstance(outputs, str) or not isinstance(outputs, Iterable):
        raise refused(f"{where}: outputs", outputs, "a list of keys")
    return tuple(checked_name("a key in outputs", key) for key in outputs)


def _checked_merge(merge: Any) -> dict[str, Merge]:
    if not isinstance(merge, Mapping):
        raise refused("merge", merge, "a mapping of keys to how they are merged")
    for key, how in merge.items():
        checked_name("a key in merge", key)
        if not (how in MERGES if isinstance(how, str) else callable(how)):
            raise refused(f"merge of {key!r}", how, f"one of {', '.join(map(repr, MERGES))}, or a function")
        if callable(how) and is_async(how):
            raise ConfigError(f"merge of {key!r}: a function that merges is not async, found {how!r:.80}")
    return dict(merge)
