"""The proofs: every crash at every point of a run with a cycle, then every second one, then chance.

The quick part takes every first fault, and samples of the pairs and seeds; the deep part takes all of them.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from simulated_graphs import (
    ANSWERS,
    branches_that_ask,
    branches_that_go_round,
    four_nodes,
    graphs_in_graphs,
    graphs_in_nodes,
    nodes_of_items,
    nodes_of_steps,
    nodes_that_ask,
    nodes_that_save,
    nodes_with_routes,
)

from tau import StateGraph
from tau.log.records import CheckpointRecord
from tau.testing import explore, simulate

WANTED = {"wanted": 2}
CONFIGURATIONS = [(1, True), (1, False), (3, True), (3, False)]
DEATHS = ("crash", "crash-after")
OTHERS = ("error", "lost", "blind", "outage", "interrupt", "interrupt-after", "stop", "mute", "cancel")
each_configuration = pytest.mark.parametrize(("interval", "preserve"), CONFIGURATIONS)
opposite_configurations = pytest.mark.parametrize(
    ("interval", "preserve"),
    [(1, True), (3, False), *(pytest.param(*other, marks=pytest.mark.deep) for other in [(1, False), (3, True)])],
)
"""Two that differ in both; the others in the deep part."""


@each_configuration
def test_every_fault_at_every_point(interval: int, preserve: bool) -> None:
    """Crashes, lost replies, store errors, second owners, naps, stops and Ctrl-C: at each effect and call."""
    assert explore(four_nodes, WANTED, interval=interval, preserve=preserve) > 400


@each_configuration
def test_a_sample_of_second_crashes(interval: int, preserve: bool) -> None:
    assert explore(four_nodes, WANTED, depth=2, kinds=DEATHS, stride=149, interval=interval, preserve=preserve) > 150


@each_configuration
def test_a_sample_of_second_owners_that_fail_too(interval: int, preserve: bool) -> None:
    second = (*DEATHS, "pause", "freeze", "error", "lost")
    pauses = ("pause", "freeze")
    how = {"kinds": pauses, "second_kinds": second, "interval": interval, "preserve": preserve}
    assert explore(four_nodes, WANTED, depth=2, stride=397, **how) > 150


@opposite_configurations
def test_every_fault_at_every_point_of_a_graph_with_routes(interval: int, preserve: bool) -> None:
    """An answer that is stored is never asked for again, wherever the process dies."""
    assert explore(nodes_with_routes, interval=interval, preserve=preserve) > 400


@opposite_configurations
def test_a_sample_of_second_crashes_of_a_graph_with_routes(interval: int, preserve: bool) -> None:
    how = {"kinds": DEATHS, "interval": interval, "preserve": preserve}
    assert explore(nodes_with_routes, depth=2, stride=67, **how) > 100


@pytest.mark.parametrize("block", range(4))
def test_chance_in_a_graph_with_routes(block: int) -> None:
    for seed in range(25 * block, 25 * (block + 1)):
        assert simulate(nodes_with_routes, seed=seed, interval=1 + seed % 3).violations == []


@opposite_configurations
def test_every_fault_at_every_point_of_nodes_with_steps(interval: int, preserve: bool) -> None:
    """Also at each commit inside a node: a finished step is never called again."""
    assert explore(nodes_of_steps, {"wanted": 1}, interval=interval, preserve=preserve) > 400


@opposite_configurations
def test_every_fault_at_every_point_of_nodes_that_save(interval: int, preserve: bool) -> None:
    """What a node saved of its state is never lost, nor counted twice."""
    assert explore(nodes_that_save, {"wanted": 1}, interval=interval, preserve=preserve) > 300


@opposite_configurations
def test_every_fault_at_every_point_of_nodes_of_items(interval: int, preserve: bool) -> None:
    """Maps of tasks, and chains: a finished item is stored once and never done again."""
    assert explore(nodes_of_items, {"wanted": 1}, interval=interval, preserve=preserve) > 400


@opposite_configurations
def test_every_fault_at_every_point_of_nodes_that_ask(interval: int, preserve: bool) -> None:
    """A run that waits for people, whose answers come twice: one counts, and nothing before the pause is repeated."""
    assert explore(nodes_that_ask, {"wanted": 1}, answers=ANSWERS, interval=interval, preserve=preserve) > 200


@opposite_configurations
def test_answers_at_every_point_and_crashes_after_them(interval: int, preserve: bool) -> None:
    """An answer costs no owner its claim, wherever it comes, and whatever happens then."""
    how = {"answers": ANSWERS, "interval": interval, "preserve": preserve}
    assert explore(nodes_that_ask, {"wanted": 1}, kinds=["answer"], **how) > 30
    pairs = {"depth": 2, "kinds": DEATHS, "second_kinds": ["answer"], "stride": 31}
    assert explore(nodes_that_ask, {"wanted": 1}, **pairs, **how) > 30


INSIDE = {"input": {"wanted": 1}, "answers": {"ask": True}}


@pytest.mark.parametrize("interval", [1, 3])
def test_crashes_and_interrupts_at_every_point_of_graphs_in_nodes(interval: int) -> None:
    """Two branches that are cycles with a map and steps, a function beside them, a graph with a pause and a route."""
    assert explore(graphs_in_nodes, **INSIDE, interval=interval, kinds=("crash", "interrupt")) > 300


@pytest.mark.parametrize("interval", [1, 3])
@pytest.mark.parametrize(
    ("kinds", "seeds"), [(("crash",), 4), pytest.param(("crash", "interrupt"), 10, marks=pytest.mark.deep)]
)
def test_manifests_in_the_middle_of_a_node(
    kinds: tuple[str, ...], seeds: int, interval: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a resume begins to read, also inside a node, it finds what all of the log adds up to."""
    monkeypatch.setattr("tau.log.journal.MANIFEST_EVERY", 1)
    for graph, given in ((graphs_in_graphs, {"wanted": 12}), (branches_that_go_round, {"wanted": 12})):
        result = simulate(graph, given, interval=interval)
        inside = [record for record in result.log if isinstance(record, CheckpointRecord) and record.scope]
        assert sum(record.manifest is not None for record in inside) > 2
    assert explore(graphs_in_graphs, {"wanted": 7}, interval=interval, kinds=kinds) > 100
    assert explore(branches_that_go_round, {"wanted": 4}, interval=interval, kinds=kinds) > 100
    for seed in range(seeds):
        simulate(branches_that_go_round, {"wanted": 6}, seed=seed, interval=interval)
        simulate(graphs_in_graphs, {"wanted": 8}, seed=seed, interval=interval)
        simulate(graphs_in_nodes, {"wanted": 1}, seed=seed, interval=interval, answers={"ask": True})


def test_a_question_beside_work_is_answered_once_whatever_dies() -> None:
    how = {"answers": {"ask": True}, "interval": 1}
    assert explore(branches_that_ask, kinds=("crash", "interrupt", "answer"), **how) > 150
    for seed in range(20):
        simulate(branches_that_ask, seed=seed, **how)


def test_seeds_with_graphs_in_nodes() -> None:
    run_inside(0, 40)


def run_inside(first: int, number: int) -> None:
    for seed in range(first, first + number):
        how = {"interval": 1 + seed % 4, "preserve": seed % 8 < 4, "answers": {"ask": True}}
        simulate(graphs_in_nodes, {"wanted": 1 + seed % 2}, seed=seed, **how)


@pytest.mark.deep
@each_configuration
def test_every_fault_at_every_point_of_graphs_in_nodes(interval: int, preserve: bool) -> None:
    assert explore(graphs_in_nodes, **INSIDE, interval=interval, preserve=preserve) > 1_500


@pytest.mark.deep
@pytest.mark.parametrize("interval", [1, 3])
def test_second_crashes_of_graphs_in_nodes(interval: int) -> None:
    how = {"kinds": DEATHS, "second_kinds": (*DEATHS, "answer"), "stride": 41, "interval": interval}
    assert explore(graphs_in_nodes, **INSIDE, depth=2, **how) > 300


@pytest.mark.deep
def test_a_second_owner_at_every_point_of_graphs_in_nodes() -> None:
    how = {"kinds": ("pause", "freeze"), "second_kinds": (*DEATHS, "pause", "freeze", "error"), "stride": 97}
    assert explore(graphs_in_nodes, **INSIDE, depth=2, **how) > 300


@pytest.mark.deep
@pytest.mark.parametrize("first", range(40, 1040, 250))
def test_a_thousand_seeds_with_graphs_in_nodes(first: int) -> None:
    run_inside(first, 250)


def test_seeds_with_items() -> None:
    for seed in range(100):
        simulate(nodes_of_items, WANTED, seed=seed, interval=1 + seed % 4, preserve=seed % 8 < 4)


def test_seeds_with_nodes_that_save() -> None:
    for seed in range(100):
        simulate(nodes_that_save, WANTED, seed=seed, interval=1 + seed % 4, preserve=seed % 8 < 4)


def test_seeds_with_steps() -> None:
    for seed in range(100):
        simulate(nodes_of_steps, WANTED, seed=seed, interval=1 + seed % 4, preserve=seed % 8 < 4)


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_some_hundred_seeds(first: int) -> None:
    run_seeds(first, 100)


def run_seeds(first: int, number: int) -> None:
    for seed in range(first, first + number):
        simulate(four_nodes, WANTED, seed=seed, interval=1 + seed % 4, preserve=seed % 8 < 4)


@pytest.mark.deep
@each_configuration
def test_every_second_crash_at_every_point_of_every_recovery(interval: int, preserve: bool) -> None:
    assert explore(four_nodes, WANTED, depth=2, kinds=DEATHS, interval=interval, preserve=preserve) > 5_000


@pytest.mark.deep
@each_configuration
def test_every_second_crash_of_nodes_with_steps(interval: int, preserve: bool) -> None:
    how = {"kinds": DEATHS, "interval": interval, "preserve": preserve}
    assert explore(nodes_of_steps, {"wanted": 1}, depth=2, stride=3, **how) > 1_000


@pytest.mark.deep
@each_configuration
def test_every_second_crash_of_nodes_of_items(interval: int, preserve: bool) -> None:
    how = {"kinds": DEATHS, "interval": interval, "preserve": preserve}
    assert explore(nodes_of_items, {"wanted": 1}, depth=2, stride=3, **how) > 1_000


@pytest.mark.deep
@each_configuration
@pytest.mark.parametrize("first", ["pause", "freeze"])
def test_a_second_owner_at_every_point_that_dies_or_stands_still_at_every_point(
    first: str, interval: int, preserve: bool
) -> None:
    second = (*DEATHS, "pause")
    how = {"kinds": (first,), "second_kinds": second, "interval": interval, "preserve": preserve}
    assert explore(four_nodes, WANTED, depth=2, **how) > 3_000


@pytest.mark.deep
@each_configuration
def test_every_other_fault_and_a_fault_in_what_follows(interval: int, preserve: bool) -> None:
    """Every eleventh pair of all the other kinds, first with second."""
    assert explore(four_nodes, WANTED, depth=2, stride=11, kinds=OTHERS, interval=interval, preserve=preserve) > 1_000


@pytest.mark.deep
@pytest.mark.parametrize("first", range(400, 10400, 1000))
def test_ten_thousand_seeds(first: int) -> None:
    run_seeds(first, 1000)


@pytest.mark.deep
@pytest.mark.parametrize("graph", [nodes_of_items, nodes_that_save, nodes_of_steps])
def test_more_seeds(graph: Callable[[], StateGraph]) -> None:
    for seed in range(100, 500):
        simulate(graph, WANTED, seed=seed, interval=1 + seed % 4, preserve=seed % 8 < 4)
