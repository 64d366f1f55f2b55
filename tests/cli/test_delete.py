"""`tau delete`: nothing is deleted without a yes, nor under the hands of an owner."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing

import pytest
from cli_shell import Here, Shell

from tau import RunOwnedError, open_store
from tau.cli.commands.delete import delete_run
from tau.host import Host

GRAPH = "pipeline.py:graph"


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


@pytest.mark.parametrize("said", ["n\n", "\n", ""])
def test_without_a_yes_nothing_is_deleted(here: Here, monkeypatch: pytest.MonkeyPatch, store: str, said: str) -> None:
    here("run", GRAPH, "--run-id", "[bold]\x1b[31m", "--store", store)
    answer(monkeypatch, said)
    done = here("delete", "[bold]\x1b[31m", "--store", store, code=4)
    assert r"Delete run [bold]\x1b[31m of graph climate (finished, 3 visits) in " in done.err
    assert "nothing was deleted" in done.err
    assert ("--yes deletes without asking" in done.err) == (said == "")
    assert len(here.json("runs", "--store", store)) == 1


def test_with_a_yes_all_of_it_is_gone(shell: Shell, here: Here, monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    here("run", GRAPH, "--run-id", "r", "--store", store)
    here("run", GRAPH, "--run-id", "s", "--store", store)
    answer(monkeypatch, "y\n")
    here("delete", "r", "--store", store)
    assert [row["run_id"] for row in here.json("runs", "--store", store)] == ["s"]
    for words in (["show", "r"], ["history", "r"], ["delete", "r", "--yes"], ["resume", "r", GRAPH]):
        here(*words, "--store", store, code=3)
    assert list(open_store(store).read("r")) == []
    here("run", GRAPH, "--run-id", "r", "--store", store)


def test_the_line_of_the_run_may_stay(here: Here, store: str) -> None:
    here("run", GRAPH, "--run-id", "r", "--store", store)
    here("run", GRAPH, "--run-id", "s", "--store", store, "--max-runtime", "0", code=75)
    for run_id in "rs":
        found = here.json("delete", run_id, "--yes", "--keep-summary", "--store", store)
        assert (found["run_id"], found["status"], found["summary_kept"]) == (run_id, "deleted", True)
    rows = {row["run_id"]: row for row in here.json("runs", "--store", store)}
    assert {run_id: (row["status"], row["checkpoints"]) for run_id, row in rows.items()} == {
        "r": ("finished", False),
        "s": ("cancelled", False),
    }
    here("resume", "s", GRAPH, "--store", store, code=4)


def test_an_owned_run_is_refused_and_a_dead_one_is_not(shell: Shell, here: Here, store: str) -> None:
    with shell.held("run", GRAPH, "--run-id", "r", "--store", store) as run:
        said = here("delete", "r", "--yes", "--store", store, code=4).err
        assert f"owned by pid {run.process.pid}" in said
        run.process.kill()
        run.end()
    here("delete", "r", "--yes", "--store", store)
    assert here.json("runs", "--store", store) == []


def test_a_run_that_is_taken_at_that_moment_stays(here: Here, store: str) -> None:
    here("run", GRAPH, "--run-id", "r", "--store", store, "--max-runtime", "0", code=75)
    place = open_store(store)
    summary = place.summary("r")
    assert summary is not None

    class Racing(Host):
        def owner(self, lease: float):  # what happens between the look and the deletion
            here("resume", "r", GRAPH, "--store", store)
            return super().owner(lease)

    with pytest.raises(RunOwnedError, match="nothing was deleted"):
        delete_run(place, summary, False, Racing())
    assert here.json("show", "r", "--store", store)["status"] == "finished"


def test_a_damaged_run_can_be_deleted(shell: Shell, here: Here) -> None:
    url = "sqlite:///runs.db"
    here("run", GRAPH, "--run-id", "r", "--store", url, "--max-runtime", "0", code=75)
    store = open_store(url)
    records = [record for _, record in store.read("r")]
    store.close()
    stored = (shell.folder / "runs.db").read_bytes()
    for record in records:
        stored = stored.replace(record[20:], record[20:][::-1])
    (shell.folder / "runs.db").write_bytes(stored)
    here("show", "r", "--store", url, code=5)
    here("delete", "r", "--yes", "--store", url)
    assert here.json("runs", "--store", url) == []


def test_a_run_whose_summary_is_damaged_can_be_deleted(shell: Shell, here: Here, store: str) -> None:
    for run_id in "rs":
        here("run", GRAPH, "--run-id", run_id, "--store", store, "--max-runtime", "0", code=75)
    damage(shell, store)
    here("show", "r", "--store", store, code=5)
    here("delete", "r", "--yes", "--keep-summary", "--store", store, code=5)
    here("delete", "r", "--yes", "--store", store)
    assert [row["run_id"] for row in here.json("runs", "--store", store)] == ["s"]
    here("run", GRAPH, "--run-id", "r", "--store", store)


def test_a_damaged_run_with_a_lease_is_refused(shell: Shell, here: Here) -> None:
    """Its owner may be at work, and cannot be read."""
    url = "sqlite:///runs.db"
    with shell.held("run", GRAPH, "--run-id", "r", "--store", url):
        damage(shell, url)
        assert "has a lease for another" in here("delete", "r", "--yes", "--store", url, code=4).err


def damage(shell: Shell, store: str) -> None:
    """The summary of run r."""
    if store.startswith("sqlite"):
        with closing(sqlite3.connect(shell.folder / store.removeprefix("sqlite:///"))) as connection, connection:
            connection.execute("update runs set summary = x'00' where run_id = 'r'")
    else:
        packs = sorted((shell.folder / store.removeprefix("file:") / "runs" / "r-r").glob("p*"))
        packs[-1].write_bytes(b"damaged")


def test_a_run_that_is_owned_is_not_waited_for_and_the_remedy_says_so(shell: Shell) -> None:
    with shell.held("run", GRAPH, "--run-id", "r", "--store", "file:runs"):
        said = shell.error("delete", "r", "--yes", "--store", "file:runs", code=4)
        assert "--wait" not in said
        assert "tau cancel --store" in said
