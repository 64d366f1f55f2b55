"""Races between reading a run and taking it, provoked at the very spot."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from engine_steps import Steps

from tau import CorruptCheckpointError, ExecutionError, RunOwnedError
from tau.host import Host
from tau.log.journal import Journal
from tau.stores.contract import Summary
from tau.stores.memory import MemoryStore


class Overtaken(MemoryStore):
    """Between the look at the owner and the look at the log, somebody else claims the run."""

    overtake = False

    def read(self, run_id: str, after: int = 0) -> list[tuple[int, bytes]]:
        if self.overtake:
            self.overtake = False
            host = Host()
            owner = host.owner(60.0)
            self.rival = host.hold(owner)
            rival = Journal(self, run_id, host, owner, interval=1)
            found = rival.look(None)
            assert found is not None
            assert found.progress is not None
            found.progress.status = "running"
            from tau.log.append import Append
            from tau.log.records import Claimed

            append = Append((Claimed(),), found.progress, found.values, flush=True, expected=found.position)
            batch = rival.prepare(append)
            assert batch is not None
            rival.settle(batch, self.committer.commit(batch))
        return super().read(run_id, after)


def test_a_run_that_is_taken_between_two_looks_is_not_taken_again() -> None:
    store = Overtaken()
    steps = Steps(store, names="ab")
    steps.failing = {"b"}
    with pytest.raises(ExecutionError):
        steps.graph.execute({}, run_id="r")
    steps.failing = set()
    store.overtake = True
    with pytest.raises(RunOwnedError):
        steps.build().resume("r")
    assert steps.ran == ["a", "b"]


class Forgetful(MemoryStore):
    """A store that lost the newest records although it said they were safe."""

    lost = 0

    def read(self, run_id: str, after: int = 0) -> list[tuple[int, bytes]]:
        rows = super().read(run_id, after)
        return rows[: len(rows) - self.lost] if self.lost else rows


def positions(store: MemoryStore) -> Sequence[int]:
    return [position for position, _ in store.read("r")]


def test_records_that_a_store_lost_are_damage_and_resume_says_so() -> None:
    store = Forgetful()
    steps = Steps(store)
    steps.failing = {"c"}
    with pytest.raises(ExecutionError):
        steps.graph.execute({}, run_id="r")
    steps.failing = set()
    store.lost = 2
    told: list[str] = []

    def tell(event: object) -> None:
        told.append(str(getattr(event, "data", {}).get("damaged", "")))
        store.lost = 0

    final = steps.build().resume("r", observer=tell)
    assert "are missing" in told[0]
    assert final["path"] == ["a", "b", "c", "d"]
    assert steps.ran == ["a", "b", "c", "b", "c", "d"]
    summary = store.summary("r")
    assert isinstance(summary, Summary)
    assert summary.status == "finished"


class Flipped(MemoryStore):
    """One record reads with a bit flipped."""

    position = 0

    def read(self, run_id: str, after: int = 0) -> list[tuple[int, bytes]]:
        def damaged(position: int, data: bytes) -> bytes:
            return data[:-1] + bytes([data[-1] ^ 1]) if position == self.position else data

        return [(position, damaged(position, data)) for position, data in super().read(run_id, after)]


def test_a_history_with_a_hole_is_an_error_until_the_run_went_on_from_before_it() -> None:
    store = Flipped()
    steps = Steps(store)
    steps.failing = {"d"}
    with pytest.raises(ExecutionError):
        steps.graph.execute({}, run_id="r")
    store.position = [entry.position for entry in steps.graph.history("r")][1]
    with pytest.raises(CorruptCheckpointError, match=f"the end of the history is lost: record {store.position} of run"):
        steps.graph.history("r")
    steps.failing = set()
    assert steps.build().resume("r")["path"] == ["a", "b", "c", "d"]
    assert [entry.node for entry in steps.graph.history("r")] == ["a", "b", "c", "d"]
