"""Runs that were left to workers when the first version with workers wrote them are found, taken, and counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden_workers import left_to_workers

import tau
from tau import RunInterruptedError
from tau.log.encoding import unseal
from tau.log.records import Claimed
from tau.stores.contract import Store

ARCHIVE = Path(__file__).with_name("workers.tar.xz")


def test_every_run_is_listed_with_its_status_and_time(store: Store) -> None:
    rows = {row.run_id: row for row in store.runs()}
    assert {run_id: row.status for run_id, row in rows.items()} == {
        "admitted": "admitted", "later": "admitted", "walltime": "interrupted", "shared": "running",
    }  # fmt: skip
    assert (rows["admitted"].not_before, rows["later"].not_before) == (1e9, 1e11)
    assert (rows["admitted"].tags, rows["admitted"].owner) == (("night",), None)
    assert rows["walltime"].not_before == rows["walltime"].updated
    found = [(row.run_id, lease is None) for row, lease in store.due("left", 9)]
    assert found == [("admitted", True), ("walltime", True), ("shared", False)]


def test_a_worker_takes_what_is_due(store: Store) -> None:
    assert tau.worker(left_to_workers(store), once=True).finished == 2
    assert store.load("admitted")["x"] == 2
    left_to_workers(store).resume("later")
    assert left_to_workers(store).resume("shared", wait=5.0)["x"] == 2


def test_a_death_beside_other_runs_was_not_counted_and_one_alone_is(store: Store) -> None:
    claims = [
        record
        for position, data in store.read("shared")
        if isinstance(record := unseal("shared", position, data), Claimed)
    ]
    assert [(one.owner.shared if one.owner else None, one.counted) for one in claims] == [(True, True), (False, False)]
    with pytest.raises(RunInterruptedError):
        left_to_workers(store).resume("shared", wait=5.0, max_runtime=0.0)
    newest = store.read("shared")[-2]
    record = unseal("shared", *newest)
    assert isinstance(record, Claimed)
    assert record.counted
