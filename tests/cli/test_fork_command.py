"""`tau fork`: a new run where another one was."""

from __future__ import annotations

from cli_shell import Here, Shell

GRAPH = "pipeline.py:graph"


def test_it_names_the_command_that_runs_it(shell: Shell, here: Here, store: str) -> None:
    here("run", GRAPH, "--run-id", "r", "--store", store)
    found = here.json("fork", "r", GRAPH, "--at", "3", "--set", "factor=10", "--as", "s", "--store", store)
    assert found["resume"] == f"tau resume --store {store} s {GRAPH}"
    assert here.json("show", "s", "--store", store)["parent"] == "r"
    here(*found["resume"].split()[1:])
    values = {key["name"]: key.get("value") for key in here.json("show", "s", "--values", "--store", store)["keys"]}
    assert (values["mean"], values["text"]) == (20, "mean 20")
    assert shell.calls == ["ingest", "analyze", "report", "analyze", "report"]
    said = here("show", "s", "--store", store).out
    assert "parent    r" in said
    assert "forked from run 'r' at 3" in here("history", "s", "--store", store).out


def test_the_graph_may_be_named_by_the_project(shell: Shell, here: Here, store: str) -> None:
    here("run", GRAPH, "--run-id", "r", "--store", store)
    assert f"tau fork --store {store} r FILE.py:GRAPH" in here("fork", "r", "--store", store, code=2).err
    shell.write("pyproject.toml", f'[tool.tau]\nstore = "{store}"\n[tool.tau.graphs]\nclimate = "{GRAPH}"\n')
    assert "tau resume s" in here("fork", "r", "--as", "s").out


def test_what_cannot_be_forked_is_told(shell: Shell, here: Here, store: str) -> None:
    here("fork", "r", GRAPH, "--store", store, code=3)
    here("run", GRAPH, "--run-id", "r", "--store", store)
    assert "no readable entry 99" in here("fork", "r", GRAPH, "--at", "99", "--store", store, code=2).err
    assert "--as NEW" in here("fork", "r", GRAPH, "--as", "r", "--store", store, code=4).err
    here("fork", "r", GRAPH, "--set", "no equals sign", "--store", store, code=2)
