"""`tau verify`: what is sound, and what is damaged, by run and record."""

from __future__ import annotations

from pathlib import Path

from cli_shell import Here

from tau import open_store

GRAPH = "pipeline.py:graph"


def test_it_says_what_was_read(here: Here, store: str) -> None:
    here("run", GRAPH, "--run-id", "r", "--store", store)
    here("run", GRAPH, "--run-id", "s", "--store", store)
    assert here("verify", "--store", store).out.startswith("2 runs, 12 records, 0 blobs, 0 artifacts (")
    alone = here("verify", "r", "--store", store)
    assert alone.out.startswith("1 run, 6 records, ")
    assert alone.out.endswith("all sound\n")


def test_a_damaged_record_is_named_and_the_exit_code_is_5(here: Here) -> None:
    here("run", GRAPH, "--run-id", "r", "--store", "sqlite:///runs.db")
    here("run", GRAPH, "--run-id", "s", "--store", "sqlite:///runs.db")
    open_store("sqlite:///runs.db").close()
    file = Path("runs.db")
    file.write_bytes(file.read_bytes().replace(b"mean 2", b"mean 3"))
    done = here("verify", "--store", "sqlite:///runs.db", code=5)
    *lines, end = done.out.splitlines()[1:]
    assert sorted(line.split("\t")[:2] for line in lines) == [["r", "record"], ["s", "record"]]
    assert all("checksum does not match" in line for line in lines)
    assert end.endswith(": 2 damaged")


def test_what_is_not_there_is_not_made(here: Here, store: str) -> None:
    done = here("verify", "--store", store)
    assert "nothing was ever stored" in done.err
    here("verify", "r", "--store", store, code=3)
    here("run", GRAPH, "--run-id", "r", "--store", store)
    here("verify", "s", "--store", store, code=3)
