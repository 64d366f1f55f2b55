"""benchmarks/peers: every workload and every observation runs on tau; what is not installed is left out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.peers import behaviour
from benchmarks.peers.comparison import Comparison, table

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    ("step", {"count": 12}),
    ("untouched", {"count": 12, "kind": "bytes", "lenient": False}),
    ("growing", {"count": 12}),
    ("many", {"runs": 3, "nodes": 4}),
]


@pytest.mark.parametrize(("task", "arguments"), SMALL, ids=[task for task, _ in SMALL])
def test_a_workload_runs_on_tau(tau_worker: Any, tmp_path: Path, task: str, arguments: dict[str, Any]) -> None:
    (reply,) = tau_worker.ask(task, tmp_path, **arguments)
    assert "ok" in reply, reply
    assert all(number > 0 for number in reply["ok"].values())


def test_a_long_run_is_made_killed_and_resumed(tau_worker: Any, tmp_path: Path) -> None:
    assert tau_worker.ask("lengthen", tmp_path, count=20) == [{"ended": 0}]
    (reply,) = tau_worker.ask("first_node", tmp_path)
    assert reply["ok"]["ms"] > 0


def test_the_behaviour_of_tau_is_what_its_pages_say(tau_worker: Any, tmp_path: Path) -> None:
    comparison = Comparison(tmp_path, quick=True)
    observed = dict(comparison.observations(tau_worker))
    assert observed["kill -9 at the start of c, 2 times"] == "ran a b c c d; finished"
    assert observed["kill -9 0.2 s into c, 2 times"] == "ran a b c c d; finished"
    for edit in ("c, pending, renamed to c2", "b, finished, renamed to b2", "b, finished, edited"):
        assert observed[edit].startswith("ran a b c; GraphChangedError: "), edit
    assert observed["b appends to a's list: c sees"] == ("{'list': [1, 2]}; after a kill and a resume {'list': [1, 2]}")
    values = {name: observed[f"{name}: c sees, resumed"] for name in behaviour.VALUES}
    assert set(values.values()) == {"exact"}, values
    assert observed["two resume at once"].startswith("c was run once, d once: RunOwnedError: ")


def test_a_value_that_cannot_be_stored_is_a_reply(capsys: pytest.CaptureFixture[str]) -> None:
    table("title", {"tau": [{"ok": {"ms": 2.0}}], "other": [{"error": "TypeError: no"}], "third": [{"late": True}]})
    out = capsys.readouterr().out
    assert "could not: TypeError: no" in out
    assert "could not: took too long" in out


def test_a_peer_that_is_not_installed_is_left_out(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/peers", "--quick", "--only", "many", "--dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "\ntau: tau-orchestrate " in done.stdout
    for name in ("langgraph sync", "burr", "dbos"):
        assert f"\n{name}: left out, " in done.stdout or f"\n{name}: " in done.stdout
