"""Killed with SIGKILL in the analysis, resumed by another process: the report of an undisturbed run, byte for byte."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

from tau import open_store

ROOT = Path(__file__).resolve().parents[2]
CLIMATE = ROOT / "examples" / "climate"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
REPORTS = ("report.json", "report.html")


def worker(verb: str, folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(CLIMATE / "pipeline.py"), verb, "--store", f"sqlite:///{folder}/runs.db"]
    options = ("--events", str(folder / "events.jsonl"), *options)
    return subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=folder)


def test_a_killed_and_resumed_run_writes_the_report_of_an_undisturbed_one(tmp_path: Path) -> None:
    killed, check = tmp_path / "killed", tmp_path / "check"
    killed.mkdir()
    check.mkdir()
    first = worker("start", killed, "--resamples", "600", "--out", "here")
    assert first.stdout is not None
    for line in first.stdout:
        if '"30-year trends: 20 ' in line:
            first.kill()
            break
    first.communicate()
    assert first.returncode == -signal.SIGKILL
    assert not (killed / "here").exists()
    with closing(open_store(f"sqlite:///{killed}/runs.db")) as store:
        assert [(row.run_id, row.status, row.node) for row in store.runs()] == [("climate", "dead", "preprocess")]

    for process in (worker("resume", killed), worker("start", check, "--resamples", "600", "--out", "elsewhere")):
        process.communicate(timeout=120)
        assert process.returncode == 0
    for name in REPORTS:
        assert (killed / "here" / name).read_bytes() == (check / "elsewhere" / name).read_bytes()
    events = [json.loads(line) for line in (killed / "events.jsonl").read_text().splitlines()]
    starts = Counter(event["data"]["node"] for event in events if event["type"] == "node.start")
    assert starts == {"ingest": 1, "preprocess": 1, "analyze": 2, "report": 1}
    assert {event["data"]["run_id"] for event in events} == {"climate"}


def demo(*options: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CLIMATE / "demo.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, cwd=cwd, timeout=240, check=False)


def test_the_demo_tells_what_happened_and_leaves_the_proof(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "events.jsonl").write_text("left behind by an earlier demo\n")
    done = demo("--resamples", "600", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "EXECUTION KILLED",
        "Resuming pipeline from RunID: climate",
        "Run climate: finished",
        "identical bytes",
    ):
        assert words in done.stdout
    out = tmp_path / "out"
    for name in REPORTS:
        assert (out / name).read_bytes() == (out / "check" / name).read_bytes()
    assert all(json.loads(line) for line in (out / "events.jsonl").read_text().splitlines())


def test_a_demo_that_cannot_write_says_so_and_fails(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    done = demo("--out", "taken", cwd=tmp_path)
    assert done.returncode == 1
    assert "THE DEMO FAILED" in done.stderr
    assert "Traceback" not in done.stderr
