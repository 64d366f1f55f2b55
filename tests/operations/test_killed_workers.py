"""Workers that are killed strand no run, and none is run twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from programs import DEADLINE, HELD, POISON, check_none_twice, ended, load, notes, start, until, write

from tau import ExecutionError, open_store
from tau.stores.contract import Store


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.getfixturevalue("postgres_url") if request.param == "postgres" else f"sqlite:///{tmp_path}/runs.db"


def killed_at_random(folder: Path, url: str, *, runs: int, kills: int) -> None:
    write(folder)
    chance = random.Random(7)
    with open_store(url) as store:
        graph = load(folder, url)
        for number in range(runs):
            graph.admit({"n": number}, run_id=f"r{number}")
        workers = [start(folder, url) for _ in range(4)]
        try:
            for kill in range(1, kills + 1):
                until(lambda at=kill: len(notes(folder)) >= at * 3 * runs // (kills + 1), processes=workers)
                dead = workers.pop(chance.randrange(4))
                dead.kill()
                dead.communicate()
                workers.append(start(folder, url))
            for number in range(runs):
                assert graph.wait(f"r{number}", DEADLINE).checkpoint_node == "third"
        finally:
            for one in workers:
                one.terminate()
            results = [ended(one) for one in workers]
        assert {code for code, _, _ in results} <= {0, -signal.SIGTERM}, results  # one may just have begun
        check_none_twice(notes(folder), runs, kills)
        assert {row.status for row in store.runs()} == {"finished"}
        assert [row.run_id for row, _ in store.due("counted", 10)] == []


def test_of_many_runs_none_is_lost_or_done_twice_by_workers_that_are_killed(tmp_path: Path, url: str) -> None:
    killed_at_random(tmp_path, url, runs=40, kills=5)


@pytest.mark.deep
def test_of_very_many_runs_none_is_lost_or_done_twice(tmp_path: Path, url: str) -> None:
    killed_at_random(tmp_path, url, runs=500, kills=40)


def test_a_run_that_one_process_began_and_was_killed_is_finished_by_a_worker(tmp_path: Path, url: str) -> None:
    write(tmp_path, HELD)
    program = "from counted import graph; graph.execute({}, run_id='r')"
    began = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env={**os.environ, "RUNS": url})
    until(lambda: ("r", "second", 1) in notes(tmp_path))
    began.kill()
    began.wait(60)
    (tmp_path / "go").touch()
    code, out, err = ended(start(tmp_path, url, "--once"))
    assert (code, '"finished": 1' in out) == (0, True), err
    assert notes(tmp_path) == [("r", "first", 1), ("r", "second", 1), ("r", "second", 2), ("r", "third", 1)]
    with open_store(url) as store:
        assert store.load("r").checkpoint_node == "third"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"sqlite:///{tmp_path}/runs.db")


def test_a_run_that_kills_its_process_costs_no_other_and_fails(tmp_path: Path, store: Store) -> None:
    """Each run is in a child process of its own; the worker goes on."""
    write(tmp_path, POISON, crashes=1)
    graph = load(tmp_path, store.location)
    for number in range(8):
        graph.admit({"poison": number == 3}, run_id=f"r{number}")
    process = start(tmp_path, store.location, "--concurrency", "2")
    try:
        for number in range(8):
            if number != 3:
                graph.wait(f"r{number}", DEADLINE)
        with pytest.raises(ExecutionError, match="killed 2 times in a row at node 'second'"):
            graph.wait("r3", DEADLINE)
    finally:
        process.send_signal(signal.SIGTERM)
        code, out, err = ended(process)
    assert code == 0, err
    assert '"deaths": 2' in out
    found = notes(tmp_path)
    assert sorted(attempt for run, node, attempt in found if (run, node) == ("r3", "second")) == [1, 2]
    assert len(found) == 7 * 3 + 3
    store.close()


def test_a_worker_that_ends_when_all_is_done_waits_for_a_run_in_its_pause_after_a_crash(
    tmp_path: Path, store: Store
) -> None:
    """The first death costs no pause, and the second one does; no worker comes later to take what this one left."""
    write(tmp_path, POISON, crashes=2)
    graph = load(tmp_path, store.location)
    graph.admit({"poison": True}, run_id="r")
    graph.admit({}, run_id="tomorrow", not_before=time.time() + 86400)
    code, out, err = ended(start(tmp_path, store.location, "--concurrency", "2", "--once"))
    assert code == 0, err
    found = json.loads(out)
    assert (found["deaths"], found["failed"], found["later"]) == (3, 1, 1), out
    assert {row.run_id: row.status for row in store.runs()} == {"r": "failed", "tomorrow": "admitted"}
    store.close()


def test_a_worker_whose_time_is_up_does_not_wait_for_a_pause_after_a_crash(tmp_path: Path, store: Store) -> None:
    """Its time is up long before the pauses are over that lead to the end of this run."""
    write(tmp_path, POISON, crashes=50)
    graph = load(tmp_path, store.location)
    graph.admit({"poison": True}, run_id="r")
    code, out, err = ended(start(tmp_path, store.location, "--concurrency", "2", "--once", "--max-runtime", "4"))
    assert (code, json.loads(out)["failed"]) == (0, 0), err
    assert [row.status for row in store.runs()] != ["failed"]
    store.close()


def test_runs_that_shared_a_process_when_it_died_are_next_taken_alone(tmp_path: Path, store: Store) -> None:
    """Only the death of one that was alone counts against it, so that in the end one fails, and no other."""
    write(tmp_path, POISON, crashes=1)
    graph = load(tmp_path, store.location)
    for number in range(5):
        graph.admit({"poison": number == 3}, run_id=f"r{number}")
    codes = []
    ends = time.monotonic() + DEADLINE
    while {row.status for row in store.runs()} - {"finished", "failed"}:
        assert time.monotonic() < ends
        codes.append(ended(start(tmp_path, store.location, "--concurrency", "5", "--once", ASYNC="1"))[0])
    assert {row.run_id: row.status for row in store.runs()} == {
        f"r{number}": "failed" if number == 3 else "finished" for number in range(5)
    }
    assert codes.count(-signal.SIGKILL) == 3  # with the others, then twice alone
    attempts = sorted(attempt for run, node, attempt in notes(tmp_path) if (run, node) == ("r3", "second"))
    assert attempts == [1, 2, 3]
    store.close()
