"""`tau stats`: a store in numbers."""

from __future__ import annotations

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
