"""`tau history`: every entry of a run's log, and the state as it was after one of them."""

from __future__ import annotations

import re

from cli_shell import Here, Shell

from tau import State, StateGraph, open_store

GRAPH = "pipeline.py:graph"


def failed_and_resumed(shell: Shell, here: Here, store: str) -> None:
    shell.write("broken", "")
    here("run", GRAPH, "--run-id", "r", "--store", store, "--set", "factor=2", code=1)
    shell.remove("broken")
    here("resume", "r", GRAPH, "--store", store)


def test_the_whole_log_is_told_in_order(shell: Shell, here: Here, store: str) -> None:
    failed_and_resumed(shell, here, store)
    found = here.json("history", "r", "--store", store)
    told = [(entry["seq"], entry["kind"], entry.get("node")) for entry in found["entries"]]
    assert told == [
        (1, "admitted", None),
        (2, "claimed", None),
        (3, "checkpoint", "ingest"),
        (4, "failed", "analyze"),
        (5, "claimed", None),
        (6, "checkpoint", "analyze"),
        (7, "checkpoint", "report"),
        (8, "finished", "report"),
    ]
    entries = {entry["seq"]: entry for entry in found["entries"]}
    assert (entries[3]["changed"], entries[3]["next"]) == (["raw"], "analyze")
    assert entries[4]["failure"]["frames"][-1]["function"] == "analyze"
    assert entries[1]["keys"] == ["factor"]
    assert (found["status"], found["damage"]) == ("finished", None)
    rows = [line.split("\t") for line in here("history", "r", "--store", store).out.splitlines()]
    assert rows[0] == ["seq", "time", "what", "node", "detail"]
    assert rows[4][2:] == ["failed", "analyze", "ValueError: bad sensor"]
    assert re.fullmatch(r"\S+ ms, set raw, next analyze", rows[3][4])
    assert rows[1][4] == "graph climate, input factor"


def test_only_the_newest_entries_on_demand(shell: Shell, here: Here) -> None:
    here("run", GRAPH, "--run-id", "r")
    entries = here.json("history", "r", "--limit", "2")["entries"]
    assert [entry["kind"] for entry in entries] == ["checkpoint", "finished"]


def test_the_state_as_it_was_then(shell: Shell, here: Here, store: str) -> None:
    failed_and_resumed(shell, here, store)
    found = here.json("history", "r", "--at", "3", "--values", "--store", store)
    assert {key["name"]: key["value"] for key in found["keys"]} == {"factor": 2, "raw": [1, 2, 3]}
    assert (found["kind"], found["checkpoint_node"]) == ("checkpoint", "ingest")
    assert [key["name"] for key in here.json("history", "r", "--at", "1", "--store", store)["keys"]] == ["factor"]
    said = here("history", "r", "--at", "6", "--values", "--store", store).out
    assert re.search(r"^mean\tfloat\t9 B\t4\.0$", said, re.MULTILINE)
    assert re.search(r"^after +analyze$", said, re.MULTILINE)
    assert (
        "has no readable entry 9; the entries before it are 1 to 8"
        in here("history", "r", "--at", "9", "--store", store, code=2).err
    )


def test_a_state_saved_by_hand_is_told_as_such(here: Here, store: str) -> None:
    graph = StateGraph("hand", store=store)
    graph.sequence(lambda_less)
    graph.execute({"a": 1}, run_id="r")
    open_store(store).save(State({"b": 2}, run_id="r"))
    entries = [entry["kind"] for entry in here.json("history", "r", "--store", store)["entries"]]
    assert entries[-2:] == ["admitted", "interrupted"]
    assert "saved by hand: graph hand, input b" in here("history", "r", "--store", store).out


def lambda_less(state: State) -> None:
    """A node that changes nothing."""


def test_a_damaged_entry_is_told_and_the_rest_shown(shell: Shell, here: Here) -> None:
    here("run", GRAPH, "--run-id", "r", "--store", "sqlite:///runs.db")
    store = open_store("sqlite:///runs.db")
    records = store.read("r")
    store.close()
    damaged = (shell.folder / "runs.db").read_bytes().replace(records[2][1][20:], records[2][1][20:][::-1])
    for end in ("-wal", "-shm"):
        (shell.folder / f"runs.db{end}").unlink(missing_ok=True)
    (shell.folder / "runs.db").write_bytes(damaged)
    done = here("history", "r", "--store", "sqlite:///runs.db")
    assert "what can be read is shown" in done.err
    assert "admitted" in done.out
