"""`tau export`, `tau import`, `tau copy`."""

from __future__ import annotations

import re

import pytest
from cli_shell import Here, Shell

from tau import State, StateGraph

GRAPH = "pipeline.py:graph"


def test_a_run_goes_on_where_it_was_imported(shell: Shell, here: Here, store: str) -> None:
    shell.write("broken", "")
    here("run", GRAPH, "--run-id", "r", "--store", store, code=1)
    done = here("export", "r", "r.tau", "--store", store)
    assert "failed" in done.out
    assert str(shell.folder / "r.tau") in done.out
    assert "already exists" in here("export", "r", "r.tau", "--store", store, code=2).err
    here("import", "r.tau", "--store", "file:there", "--as", "s")
    shell.remove("broken")
    here("resume", "s", GRAPH, "--store", "file:there")
    assert shell.calls == ["ingest", "analyze", "analyze", "report"]


def test_an_id_in_use_is_refused_with_the_remedy(here: Here, store: str) -> None:
    here("run", GRAPH, "--run-id", "r", "--store", store)
    here("export", "r", "r.tau", "--store", store)
    done = here("import", "r.tau", "--store", store, code=4)
    assert "already exists" in done.err
    assert "--as NEW" in done.err
    assert re.search(r"tau delete --store \S+ r frees this one", done.err)
    here("copy", "r", "--to", store, "--store", store, code=4)
    here("copy", "r", "--to", "file:there", "--store", store)
    said = here("copy", "r", "--to", "file:there", "--store", store, code=4).err
    assert re.search(r"tau delete --store file:\S+there r frees this one", said)


def test_what_frees_an_id_in_another_store_never_names_the_first(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAU_STORE", "file:here")
    here("run", GRAPH, "--run-id", "r")
    here("copy", "r", "--to", "file:there")
    said = here("copy", "r", "--to", "file:there", code=4).err
    assert re.search(r"tau delete --store file:\S+there r frees this one", said)
    here("export", "r", "r.tau")
    assert "; tau delete r frees this one" in here("import", "r.tau", code=4).err


def test_a_run_at_work_is_not_moved_and_what_ends_it_names_where_it_is(here: Here) -> None:
    graph = StateGraph("climate", store="file:here")

    def fit(state: State) -> None:
        said = here("copy", "r", "--to", "file:there", "--store", "file:here", "--move", code=4).err
        assert "stop its process" in said
        assert re.search(r"tau cancel --store file:\S+here r ends the run for good", said)

    graph.add_node("fit", fit)
    graph.sequence("fit")
    graph.execute({}, run_id="r")


def test_a_copy_needs_an_id_that_is_free_there(here: Here, store: str) -> None:
    here("run", GRAPH, "--run-id", "r", "--store", store)
    found = here.json("copy", "r", "--to", store, "--as", "s", "--store", store)
    assert (found["run_id"], found["status"]) == ("s", "finished")


def test_a_run_that_has_not_ended_is_moved(shell: Shell, here: Here, store: str) -> None:
    here("run", GRAPH, "--run-id", "r", "--store", store, "--max-runtime", "0", code=75)
    assert "new_run_id" not in here("copy", "r", "--to", "file:there", "--store", store, code=2).err
    here("copy", "r", "--to", "file:there", "--store", store, "--move")
    assert here.json("show", "r", "--store", store)["status"] == "cancelled"
    for said in (
        here("history", "r", "--store", store).out,
        here("show", "r", "--store", store).out,
        here("resume", "r", GRAPH, "--store", store, code=4).err,
        here("run", GRAPH, "--run-id", "r", "--if-exists", "resume", "--store", store, code=4).err,
    ):
        assert "moved to run 'r' in file://" in said
    assert "go on with it there" in said
    assert "starts a new run" not in said
    assert here.json("show", "r", "--store", store)["stopped_by"].startswith("moved to run 'r' in file://")
    here("resume", "r", GRAPH, "--store", "file:there")
    assert shell.calls == ["ingest", "analyze", "report"]
    assert here.json("copy", "r", "--to", "file:there", "--store", store, "--move")["status"] == "finished"


def test_a_run_at_work_is_exported_and_not_moved(shell: Shell, here: Here, store: str) -> None:
    with shell.held("run", GRAPH, "--run-id", "r", "--store", store) as held:
        assert here.json("export", "r", "r.tau", "--store", store)["status"] == "running"
        here("copy", "r", "--to", "file:there", "--store", store, "--move", code=4)
        held.let_go()
        assert held.end()[0] == 0
    here("import", "r.tau", "--store", "file:there")
    assert here.json("show", "r", "--store", "file:there")["status"] == "interrupted"


def test_what_is_not_there_or_no_archive_is_told(shell: Shell, here: Here, store: str) -> None:
    here("export", "r", "r.tau", "--store", store, code=3)
    here("copy", "r", "--to", "file:there", "--store", store, code=3)
    assert "No such file" in here("import", "r.tau", "--store", store, code=2).err
    here("run", "pipeline.py:graph", "--run-id", "r", "--store", store)
    assert "nowhere" in here("export", "r", "nowhere/r.tau", "--store", store, code=2).err
    shell.write("r.tau", "not an archive")
    assert "r.tau" in here("import", "r.tau", "--store", store, code=5).err


def test_its_artifacts_go_where_they_are_told_to(shell: Shell, here: Here, store: str) -> None:
    shell.write(
        "files.py",
        "from tau import StateGraph\n"
        "graph = StateGraph('files')\n"
        "@graph.node\n"
        "def make(state, ctx):\n"
        "    with ctx.artifact('note') as path:\n"
        "        path.write_text('kept')\n"
        "graph.sequence('make')\n",
    )
    here("run", "files.py:graph", "--run-id", "r", "--store", store)
    here("export", "r", "r.tau", "--store", store)
    here("import", "r.tau", "--store", "file:there", "--artifacts", "apart")
    (found,) = here.json("show", "r", "--store", "file:there")["artifacts"]
    assert found["path"].startswith(str(shell.folder / "apart"))
    assert (shell.folder / "apart").is_dir()
    assert here.json("verify", "r", "--store", "file:there")["artifacts"] == 1
