"""`tau demo`: a run that is really killed, really goes on, and leaves nothing behind that was not asked for."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from cli_shell import Shell, command


@pytest.fixture
def temporary(shell: Shell) -> Path:
    """The place for temporary files."""
    place = shell.folder / "temporary files"
    place.mkdir()
    shell.env["TMPDIR"] = str(place)
    return place


def test_the_log_says_what_the_demo_says(shell: Shell, store: str) -> None:
    told = shell.json("demo", "--store", store)
    nodes = {one["node"]: (one["what"], one["steps"]) for one in told["nodes"]}
    assert nodes == {
        "ingest": ("skipped", 0),
        "preprocess": ("skipped", 0),
        "analyze": ("repeated", 7),
        "report": ("run", 0),
    }
    log = shell.json("history", told["run_id"], "--store", store)["entries"]
    first, second = (number for number, entry in enumerate(log) if entry["kind"] == "claimed")
    assert f"pid {told['killed_pid']} " in log[first]["owner"]
    assert f"pid {told['killed_pid']} " not in log[second]["owner"]
    assert [entry["node"] for entry in log[:second] if entry["kind"] == "checkpoint"] == ["ingest", "preprocess"]
    assert [entry["node"] for entry in log[second:] if entry["kind"] == "checkpoint"] == ["analyze", "report"]
    kept = [entry["name"] for entry in log[:second] if entry["kind"] == "item"]
    done = [entry["name"] for entry in log[second:] if entry["kind"] == "item"]
    assert (len(kept), len(kept) + len(done)) == (told["nodes"][2]["steps_kept"], 7)
    assert len(kept) >= 2
    assert not set(kept) & set(done)


def test_both_runs_are_kept_with_the_same_result(shell: Shell, store: str) -> None:
    told = shell.json("demo", "--store", store)
    assert told["equal"] is True
    names = (told["run_id"], told["undisturbed"])
    assert {row["run_id"] for row in shell.json("runs", "--store", store, "--tag", "demo")} == set(names)
    one, other = (shell.json("show", name, "--store", store, "--values")["keys"] for name in names)
    assert one == other
    assert all(shell.run(*shlex.split(line)[1:]).stdout for line in told["look"])
    assert one[-1]["value"] == told["text"]


def test_it_can_be_run_again_and_says_how_to_look_further(shell: Shell, temporary: Path) -> None:
    before = sorted(shell.folder.iterdir())
    shell.env["TAU_STORE"] = "sqlite:///mine.db"
    said = [shell.run("demo").stdout for _ in range(2)]
    del shell.env["TAU_STORE"]
    assert sorted(shell.folder.iterdir()) == before
    assert len(list(temporary.iterdir())) == 2
    for text in said:
        assert re.search(r"^analyze\trepeated it, .*\t\d of 7 came from the store$", text, re.MULTILINE)
        (place,) = re.findall(r"^look +export TAU_STORE=(.+)$", text, re.MULTILINE)
        (shell.env["TAU_STORE"],) = shlex.split(place)
        words = re.findall(r"^look +tau (.+)$", text, re.MULTILINE)
        assert [line.split()[0] for line in words] == ["runs", "show", "history", "graph"]
        assert all(shell.run(*shlex.split(line)).stdout for line in words)
        assert max(map(len, words)) < 80


def test_the_graph_can_be_run_by_itself_and_gives_the_same_each_time(shell: Shell) -> None:
    shown = [
        shell.json("run", "tau.cli.demo_pipeline:graph", "--set", f"seed={seed}", "--values")["keys"][-1]["value"]
        for seed in (7, 7, 8)
    ]
    assert shown[0] == shown[1] != shown[2]


def test_a_file_that_is_no_store_is_left_alone(shell: Shell) -> None:
    shell.write("notes.txt", "years of work, in a file that is no database")
    assert "error: " in shell.error("demo", "--store", "sqlite:///notes.txt", code=5)
    assert "error: " in shell.error("demo", "--store", "file:notes.txt", code=5)
    assert (shell.folder / "notes.txt").read_text() == "years of work, in a file that is no database"


def test_what_cannot_be_used_is_said_before_anything_runs(shell: Shell, temporary: Path) -> None:
    assert "does not outlive a process" in shell.error("demo", "--store", "memory:", code=2)
    assert "unknown checkpoint store" in shell.error("demo", "--store", "runs.db", code=2)
    shell.write("pyproject.toml", "[[[")
    assert "pyproject.toml cannot be read" in shell.error("demo", code=2)
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    ("fault", "said", "kept"),
    [
        ("os._exit(9)", "ended before it was killed", 0),
        ("random.Random.gauss = lambda *_: 0.0", "differs from demo-", 1),
    ],
)
def test_a_process_that_does_something_else_is_an_error(
    shell: Shell, temporary: Path, fault: str, said: str, kept: int
) -> None:
    (shell.folder / "first").mkdir()
    shell.write("first/sitecustomize.py", f"import os, random, sys\nif 'run' in sys.orig_argv:\n    {fault}\n")
    shell.env["PYTHONPATH"] += f":{shell.folder}/first"
    assert said in shell.error("demo", code=70)
    assert len(list(temporary.iterdir())) == kept


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_leaves_neither_a_process_nor_a_directory(
    shell: Shell, temporary: Path, number: int, code: int
) -> None:
    with subprocess.Popen(
        command("demo"), cwd=shell.folder, env=shell.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as demo:
        assert demo.stderr is not None
        pid = next(int(found[1]) for line in demo.stderr if (found := re.search(r"in process (\d+)", line)))
        assert os.path.exists(f"/proc/{pid}")
        demo.send_signal(number)
        said = demo.stderr.read()
        assert demo.wait() == code
    assert "the demo was stopped" in said
    assert not os.path.exists(f"/proc/{pid}")
    assert not list(temporary.iterdir())
