"""Runs with journaled calls and replays that an earlier version wrote are read, replayed, and go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from golden_replays import Service, asking

from tau import ExecutionError, Hub, ReplayError
from tau.stores.contract import Store

ARCHIVE = Path(__file__).with_name("replays.tar.xz")
ALL = ["trend", "trend", "ice", "fit", "pressure", "east", "west"]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub("station") as opened:
        yield opened


def test_a_run_that_has_ended_is_replayed_without_a_question(store: Store, hub: Hub) -> None:
    service = Service()
    graph = asking(store, service, hub)
    whole = graph.resume("whole")
    assert whole["chat"] == "about ice"
    assert whole["out"] == 2
    assert dict(graph.resume("again")) == dict(whole)
    for parent in ("whole", "again"):
        assert dict(graph.replay(parent)) == dict(whole)
    assert service.asked == []


def test_a_run_that_failed_asks_for_the_rest(store: Store, hub: Hub) -> None:
    service = Service()
    graph = asking(store, service, hub)
    assert graph.resume("part")["hub"] == "about pressure"
    assert service.asked == ALL[4:]
    assert dict(graph.replay("part"))["map"] == ["about east", "about west"]
    assert service.asked == ALL[4:]


def test_a_replay_that_was_begun_stays_one(store: Store, hub: Hub) -> None:
    service = Service()
    graph = asking(store, service, hub)
    with pytest.raises(ExecutionError) as caught:
        graph.resume("begun")
    assert isinstance(caught.value.__cause__, ReplayError)
    graph.resume("part")
    asked = [*service.asked]
    assert graph.resume("begun")["hub"] == "about pressure"
    assert service.asked == asked
