"""A lease that could not be ended is told in the log: whoever waits for the run wants to know why."""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path

import pytest
from engine_steps import config

from tau import State, StateGraph, StoreUnavailableError, open_store


@pytest.mark.parametrize("how", ["execute", "aexecute"])
@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_a_store_that_does_not_open_any_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, how: str
) -> None:
    root = tmp_path / "store"
    store = open_store(f"sqlite:///{root}/runs.db" if kind == "sqlite" else f"file:{root}")
    graph = StateGraph(config(store))

    def replace_it(state: State) -> None:
        store.close()
        shutil.rmtree(root)
        root.write_text("something else")

    graph.add_node("replace", replace_it)
    graph.sequence("replace")

    def run() -> State:
        return graph.execute(run_id="r") if how == "execute" else asyncio.run(graph.aexecute(run_id="r"))

    with caplog.at_level(logging.WARNING, logger="tau"), pytest.raises(StoreUnavailableError):
        run()
    said = [record.getMessage() for record in caplog.records]
    assert [text for text in said if "the lease of run 'r' could not be ended, and has to run out" in text] != []
