"""`tau gc`: what is over a limit goes, and is named."""

from __future__ import annotations

from cli_shell import PIPELINE, Here, Shell

GRAPH = "pipeline.py:graph"
KEPT = PIPELINE.replace(
    'graph = StateGraph("climate")',
    "from tau import CheckpointConfig, GraphConfig, Retention\n"
    'graph = StateGraph(GraphConfig("climate", observer=None, checkpoint=CheckpointConfig(\n'
    '    store="sqlite:///runs.db", interval=1, preserve=True, retention=Retention(keep_last=1))))',
)


def test_the_options_say_what_is_kept(shell: Shell, here: Here, store: str) -> None:
    assert "0 runs removed" in here("gc", "--keep-last", "1", "--store", store).out
    for run_id in "abc":
        here("run", GRAPH, "--run-id", run_id, "--store", store)
    dry = here("gc", "--keep-last", "1", "--dry-run", "--store", store)
    assert "2 runs would be removed" in dry.out
    assert len(here.json("runs", "--store", store)) == 3
    found = here.json("gc", "--keep-last", "1", "--max-age", "7d", "--store", store)
    assert [one["run_id"] for one in found["removed"]] == ["a", "b"]
    assert [one["run_id"] for one in here.json("runs", "--store", store)] == ["c"]
    here("gc", "--max-bytes", "0", "--graph", "other", "--store", store)
    assert len(here.json("runs", "--store", store)) == 1


def test_the_graph_says_what_is_kept(shell: Shell, here: Here) -> None:
    shell.write("kept.py", KEPT)
    for run_id in "ab":
        here("run", "kept.py:graph", "--run-id", run_id)
    assert "1 run removed" in here("gc", "kept.py:graph").out
    assert [one["run_id"] for one in here.json("runs", "--store", "sqlite:///runs.db")] == ["b"]


def test_without_a_limit_nothing_is_done(shell: Shell, here: Here, store: str) -> None:
    assert "--keep-last" in here("gc", "--store", store, code=2).err
    assert "--keep-last" in here("gc", GRAPH, "--store", store, code=2).err
    here("gc", "--max-age", "soon", "--store", store, code=2)


def test_a_worker_removes_by_what_its_graph_says(shell: Shell, here: Here) -> None:
    shell.write("kept.py", KEPT)
    shell.write("inputs.jsonl", "".join(f'{{"run_id": "{run_id}"}}\n' for run_id in "abc"))
    here("submit", "kept.py:graph", "inputs.jsonl")
    done = here.json("worker", "kept.py:graph", "--once", "--gc")
    assert (done["finished"], done["removed"]) == (3, 2)
    assert len(here.json("runs", "--store", "sqlite:///runs.db")) == 1
    here("run", "kept.py:graph", "--run-id", "d")
    said = here("worker", "kept.py:graph", "--once", "--gc").out
    assert "removed" in said
    assert [one["run_id"] for one in here.json("runs", "--store", "sqlite:///runs.db")] == ["d"]


def test_a_worker_of_a_graph_without_limits_does_not_start_with_gc(here: Here, store: str) -> None:
    assert "Retention(keep_last=100)" in here("worker", GRAPH, "--once", "--gc", "--store", store, code=2).err
