"""`tau stats`: a store in numbers."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from cli_shell import Here, Shell

GRAPH = "pipeline.py:graph"


def test_it_counts_runs_checkpoints_and_resumes(shell: Shell, here: Here, store: str) -> None:
    assert "nothing was ever stored" in here("stats", "--store", store).err
    here("run", GRAPH, "--run-id", "r", "--store", store)
    shell.write("broken", "")
    here("run", GRAPH, "--run-id", "s", "--store", store, code=1)
    here("resume", "s", GRAPH, "--store", store, code=1)
    shell.remove("broken")
    here("resume", "s", GRAPH, "--store", store)
    said = here("stats", "--store", store).out
    assert "2: 2 finished" in said
    assert "6, one every " in said
    assert "2, 50% of those that ended succeeded" in said
    assert "\ntext " not in said
    found = here.json("stats", "--store", store)
    assert [one["run_id"] for one in found["runs"]] == ["s", "r"]
    assert set(found["runs"][0]["keys"]) == {"raw", "mean", "text"}


def test_it_names_damaged_runs(here: Here, tmp_path: Path) -> None:
    where = f"sqlite:///{tmp_path}/kept.db"
    for run_id in ("good", "bad"):
        here("run", GRAPH, "--run-id", run_id, "--store", where)
    assert "damaged" not in here("stats", "--store", where).out
    with closing(sqlite3.connect(tmp_path / "kept.db")) as database, database:
        database.execute("update log set record = x'00' where run = (select id from runs where run_id = 'bad')")
    said = here("stats", "--store", where).out
    assert "1 run, which is not counted as a whole: bad; tau verify bad says what is wrong" in said
    found = here.json("stats", "--store", where)
    assert found["damaged"] == ["bad"]
    assert {one["run_id"]: one["damage"] is None for one in found["runs"]} == {"good": True, "bad": False}
