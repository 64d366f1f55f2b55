"""Ids in short: a beginning is enough where it is unique, and where nothing else can have been meant."""

from __future__ import annotations

import io
import re
import sys
import uuid

import pytest
from cli_shell import Here
from rich.cells import cell_len

from tau.cli.ids import LEAST, is_made, shortened
from tau.cli.output.columns import LEAST as NARROWEST
from tau.cli.output.columns import fit

GRAPH = "pipeline.py:graph"
FIRST, SECOND = "4f3a91c2-0000-4000-8000-000000000001", "4f3a91c2-7777-4000-8000-000000000002"
OTHER = "5b1d0c3e-1111-4111-8111-111111111111"


class TTY(io.StringIO):
    def isatty(self) -> bool:
        return True


def at_terminal(monkeypatch: pytest.MonkeyPatch, here: Here, *words: str, width: int = 100) -> list[str]:
    """The lines that a person gets to see."""
    stream = TTY()
    with monkeypatch.context() as patched:
        patched.setenv("COLUMNS", str(width))
        patched.setenv("TERM", "xterm")
        patched.setattr(sys, "stdout", stream)
        here(*words)
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()]


@pytest.fixture
def filled(here: Here, store: str) -> str:
    """A store with three runs of ids that tau makes, and two whose ids were given."""
    for run_id in (FIRST, SECOND, OTHER, "climate-1", "climate-10"):
        here("run", GRAPH, "--run-id", run_id, "--store", store)
    return store


def test_looking_takes_any_beginning_that_one_run_has(here: Here, filled: str) -> None:
    for words in (["show"], ["history"], ["verify"]):
        for beginning, run_id in (("5", OTHER), (SECOND[:12], SECOND), ("climate-10", "climate-10")):
            found = here.json(*words, beginning, "--store", filled)
            assert found.get("run_id", run_id) == run_id
    assert here.json("graph", GRAPH, "--run", "5b1d", "--store", filled)["run_id"] == OTHER
    assert here.json("verify", "5b1d", "--store", filled)["runs"] == 1
    here("export", "5b1d", "out.tau", "--store", filled)
    assert here.json("import", "out.tau", "--store", "sqlite:///other.db")["run_id"] == OTHER


def test_what_several_runs_begin_with_is_refused_and_they_are_named(here: Here, filled: str) -> None:
    said = here("show", "4f3a", "--store", filled, code=2).err
    assert f"{FIRST} (climate, finished), {SECOND} (climate, finished)" in said
    assert OTHER not in said
    assert "write more" in said
    said = here("cancel", FIRST[:8], "--store", filled, code=2).err
    assert FIRST in said
    assert "climate-10 (climate, finished)" in here("show", "clim", "--store", filled, code=2).err


def test_an_id_in_full_wins_and_the_beginning_of_a_deleted_one_is_nobody(here: Here, filled: str) -> None:
    assert here.json("show", "climate-1", "--store", filled)["run_id"] == "climate-1"
    here("run", GRAPH, "--run-id", OTHER[:8], "--store", filled)
    assert here.json("show", OTHER[:8], "--store", filled)["run_id"] == OTHER[:8]
    here("delete", FIRST, "--yes", "--store", filled)
    assert here.json("show", "4f3a", "--store", filled)["run_id"] == SECOND
    here("delete", "climate-1", "--yes", "--store", filled)
    here("show", "climate-1", "--store", filled, code=3)  # and not the run climate-10


@pytest.mark.parametrize("words", [["resume", "{}", GRAPH], ["cancel", "{}"], ["delete", "{}"], ["fork", "{}", GRAPH]])
def test_what_changes_a_run_guesses_no_id_that_was_given(here: Here, filled: str, words: list[str]) -> None:
    said = here(*(word.format("climate") for word in words), "--store", filled, code=3).err
    assert "no run 'climate'" in said
    said = here(*(word.format("5b1d") for word in words), "--store", filled, code=3).err
    assert f"what changes a run takes at least 8 characters of an id: {OTHER} (climate, finished)" in said
    assert {row["status"] for row in here.json("runs", "--store", filled)} == {"finished"}


def test_what_changes_a_run_takes_eight_characters_of_an_id_that_tau_made(here: Here, filled: str) -> None:
    assert here.json("resume", OTHER[:8], GRAPH, "--store", filled)["run_id"] == OTHER
    here("run", GRAPH, "--run-id", "9" * 8 + OTHER[8:], "--store", filled, "--max-runtime", "0", code=75)
    assert here.json("fork", "9" * 8, GRAPH, "--as", "b", "--store", filled)["parent"] == "9" * 8 + OTHER[8:]
    assert here.json("cancel", "9" * 8, "--store", filled) == here.json("cancel", "9" * 8, "--store", filled)
    assert here.json("copy", OTHER[:8], "--to", "file:copied", "--as", "c", "--store", filled)["run_id"] == "c"


def test_a_run_is_begun_under_the_very_id(here: Here, filled: str) -> None:
    """Also where it is the beginning of another, and where the run may exist."""
    for more in ([], ["--if-exists", "resume"]):
        run_id = OTHER[: 9 + len(more)]
        assert here.json("run", GRAPH, "--run-id", run_id, *more, "--store", filled)["run_id"] == run_id
    assert len(here.json("runs", "--store", filled)) == 7


def test_nothing_is_deleted_by_a_beginning_unseen(here: Here, filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = here("delete", OTHER[:8], "--yes", "--store", filled, code=2).err
    assert f"'{OTHER[:8]}' is the beginning of '{OTHER}'; with --yes, which asks nothing, write all of it" in said
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    done = here("delete", OTHER[:8], "--store", filled)
    assert f"Delete run {OTHER} of graph climate" in done.err
    assert OTHER in done.out
    here("show", OTHER, "--store", filled, code=3)


def test_on_a_terminal_ids_are_short_and_each_finds_its_run(
    here: Here, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {FIRST: FIRST[:10], SECOND: SECOND[:10], OTHER: OTHER[:8]}
    for words in ([], ["--limit", "3"], ["--status", "finished"]):
        lines = at_terminal(monkeypatch, here, "runs", "--store", filled, *words)
        shown = [line.split()[0] for line in lines[1:]]
        listed = [row["run_id"] for row in here.json("runs", "--store", filled, *words)]
        assert shown == [short.get(run_id, run_id) for run_id in listed]
        for one, run_id in zip(shown, listed, strict=True):
            assert here.json("show", one, "--store", filled)["run_id"] == run_id
    assert OTHER[:8] in [line.split()[0] for line in at_terminal(monkeypatch, here, "stats", "--store", filled) if line]
    gone = at_terminal(monkeypatch, here, "gc", "--keep-last", "0", "--dry-run", "--store", filled)
    assert {line.split()[0] for line in gone[1:-1]} == {*short.values(), "climate-1", "climate-10"}
    assert OTHER in here("gc", "--keep-last", "0", "--dry-run", "--store", filled).out
    assert OTHER in here("runs", "--store", filled).out  # in a pipe they are whole
    assert at_terminal(monkeypatch, here, "show", "5b", "--store", filled)[0].split() == ["run", OTHER]


@pytest.mark.parametrize("words", [["runs"], ["stats"], ["show", OTHER], ["runs", "--help"]])
def test_without_colour_no_escape_codes_are_written(
    here: Here, filled: str, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    stream = TTY()
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", stream)
        here(*words, *([] if "--help" in words else ["--store", filled]))
    assert stream.getvalue()
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("width", [20, 40, 60, 80])
def test_an_id_is_never_broken(here: Here, filled: str, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    given = "station-mauna-loa-2024-monthly-means"
    here("run", GRAPH, "--run-id", given, "--store", filled)
    lines = at_terminal(monkeypatch, here, "runs", "--store", filled, width=width)
    assert [line for line in lines if line.startswith(f"{given}  ")]
    if width >= 80:
        assert max(map(cell_len, lines)) <= width


def test_beside_an_id_the_other_columns_share_what_is_left() -> None:
    assert fit([36, 20, 8], 60, [True, False, False]) == [36, 12, 8]
    assert fit([36, 20, 8], 30, [True, False, False]) == [36, NARROWEST, NARROWEST]
    assert fit([36, 3], 30, [True, False]) == [36, 3]


def test_a_short_id_is_unique_among_all_that_are_known() -> None:
    ids = [str(uuid.uuid4()) for _ in range(500)]
    near = [
        f"{one[:at]}{'0' if one[at] != '0' else '1'}{one[at + 1 :]}" for one, at in zip(ids, range(9, 13), strict=False)
    ]
    near = list(filter(is_made, near))
    known = [*ids, *near, "given", ids[0][:8]]
    found = shortened(ids, known)
    for run_id, short in found.items():
        assert len(short) >= LEAST
        assert [one for one in known if one.startswith(short)] == [run_id]
    assert near
