"""`tau runs --watch`: each run when it changes, until Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from cli_shell import Here, Shell, command

from tau.cli.output.watching import repeat

GRAPH = "pipeline.py:graph"


@contextmanager
def watching(shell: Shell, *words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command("runs", "--watch", "--every", "0.05", *words), cwd=shell.folder, env=shell.env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_line_for_each_change_until_ctrl_c(shell: Shell, here: Here, store: str) -> None:
    here("run", GRAPH, "--run-id", "before", "--store", store)
    with watching(shell, "--store", store) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("run\tgraph\tstatus\t")
        assert process.stdout.readline().startswith("before\tclimate\tfinished\t")
        here("run", GRAPH, "--run-id", "r", "--store", store, "--max-runtime", "0", code=75)
        wait_for(process, r"r\tclimate\tinterrupted\tingest\t0\t")
        here("resume", "r", GRAPH, "--store", store)
        wait_for(process, r"r\tclimate\tfinished\treport\t3\t")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (130, "")
        assert "before" not in out


def wait_for(process: subprocess.Popen[str], pattern: str) -> None:
    """Read on to a line that is meant; those between show the run on its way."""
    assert process.stdout is not None
    for line in process.stdout:
        assert line.startswith("r\t")
        if re.match(pattern, line):
            return
    raise AssertionError("the command ended")


def test_one_document_a_line_also_where_nothing_is_stored_yet(shell: Shell, here: Here, store: str) -> None:
    with watching(shell, "--store", store, "--json", "--status", "finished") as process:
        here("run", GRAPH, "--run-id", "r\n1", "--store", store)
        assert process.stdout is not None
        found = json.loads(process.stdout.readline())
        assert (found["run_id"], found["status"], found["visits"]) == ("r\n1", "finished", 3)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def test_on_a_terminal_the_table_is_drawn_again(shell: Shell, here: Here) -> None:
    here("run", GRAPH, "--run-id", "[red]first", "--tag", "\x1b[31m")
    terminal, end = pty.openpty()
    words = command("runs", "--watch", "--every", "0.05")
    env = {**shell.env, "TERM": "xterm", "COLUMNS": "120", "LINES": "20"}
    process = subprocess.Popen(words, cwd=shell.folder, env=env, stdout=end, stderr=end)
    try:
        os.close(end)
        seen = read_until(terminal, "", "1 runs")
        assert r"[red]first" in seen
        assert r"\x1b[31m" in seen
        here("run", GRAPH, "--run-id", "second")
        seen = read_until(terminal, seen, "2 runs")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert seen.index("2 runs") > seen.index("second")
        assert "\x1b[1A" in seen  # drawn over the table before
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def read_until(terminal: int, seen: str, text: str) -> str:
    while text not in seen:
        seen += os.read(terminal, 4096).decode()
    return seen


def test_a_look_that_takes_long_is_followed_by_a_longer_pause(monkeypatch) -> None:
    pauses: list[float] = []
    clock = iter([0.0, 1.0, 1.0, 1.001])
    monkeypatch.setattr("tau.cli.output.watching.time.monotonic", lambda: next(clock))

    def pause(seconds: float) -> None:
        pauses.append(round(seconds, 6))
        if len(pauses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("tau.cli.output.watching.time.sleep", pause)
    assert repeat(list, lambda found: None, 2.0) == 130
    assert pauses == [10.0, 2.0]
