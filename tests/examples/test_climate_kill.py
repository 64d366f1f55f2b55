"""Killed with SIGKILL in the analysis, resumed by another process: the report of an undisturbed run, byte for byte."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tau import open_store

ROOT = Path(__file__).resolve().parents[2]
CLIMATE = ROOT / "examples" / "climate"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
REPORTS = ("report.json", "report.html")
MOST_WORKERS = 16
SMALL = (*("--resamples", "200", "--triangle-resamples", "20"), *("--series", "20", "--every", "4"))


def worker(verb: str, folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(CLIMATE / "pipeline.py"), verb, "--store", f"sqlite:///{folder}/runs.db"]
    options = ("--events", str(folder / "events.jsonl"), *options)
    return subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=folder)


def kill_when(process: subprocess.Popen[str], sign: str) -> None:
    """SIGKILL as soon as a line of the process's output matches the sign."""
    assert process.stdout is not None
    for line in process.stdout:
        if re.search(sign, line):
            process.kill()
            break
    process.communicate()
    assert process.returncode == -signal.SIGKILL, f"it ended before {sign!r}"


def events_of(folder: Path, name: str = "events.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    process = worker("start", folder, *SMALL, "--out", "elsewhere")
    process.communicate(timeout=120)
    assert process.returncode == 0
    return {name: (folder / "elsewhere" / name).read_bytes() for name in REPORTS}


def test_killed_in_the_analysis_it_resumes_to_the_same_report(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    kill_when(worker("start", tmp_path, *SMALL, "--out", "here"), r'"triangle from \d+: piece 20 of 40"')
    assert not (tmp_path / "here").exists()
    with closing(open_store(f"sqlite:///{tmp_path}/runs.db")) as store:
        assert [(row.run_id, row.status, row.node) for row in store.runs()] == [("climate", "dead", "preprocess")]
    second = worker("resume", tmp_path)
    said, _ = second.communicate(timeout=120)
    assert second.returncode == 0
    kept = re.search(r"(\d+) items and (\d+) pieces of the triangle were kept", said)
    assert kept, "nothing of the analysis was kept"
    assert int(kept[1]) == 16, "three trends, two of blocks, growth, cycle, association, eight of coverage"
    assert 20 - MOST_WORKERS <= int(kept[2]) < 40, (
        "of twenty that were told of, as many as are worked on may not be stored yet"
    )
    assert {name: (tmp_path / "here" / name).read_bytes() for name in REPORTS} == undisturbed
    events = events_of(tmp_path)
    starts = Counter(event["data"]["node"] for event in events if event["type"] == "node.start")
    inside = {"ingest/co2/read": 1, "ingest/co2/fill": 1, "ingest/temperature/read": 1}
    assert starts == {"ingest": 1, **inside, "preprocess": 1, "analyze": 2, "report": 1}
    assert {event["data"]["run_id"] for event in events} == {"climate"}


def test_killed_in_every_stage_it_still_writes_the_same_report(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    kill_when(worker("start", tmp_path, *SMALL, "--out", "here"), '"stage": "ingest"')
    kill_when(worker("resume", tmp_path), '"stage": "preprocess"')
    kill_when(worker("resume", tmp_path), '"stage": "analyze"')
    kill_when(worker("resume", tmp_path), r'node\.start.*"node":"report"')
    last = worker("resume", tmp_path)
    last.communicate(timeout=120)
    assert last.returncode == 0
    assert {name: (tmp_path / "here" / name).read_bytes() for name in REPORTS} == undisturbed
    saved = Counter(event["data"]["node"] for event in events_of(tmp_path) if event["type"] == "checkpoint.save")
    assert max(saved.values()) == 1, "a finished stage was run again"


COUNTED = """
import os, sys, threading
sys.path.insert(0, os.path.dirname(sys.argv[1]))
import pipeline, triangle
calls = os.open(sys.argv[2], os.O_CREAT | os.O_APPEND | os.O_WRONLY)

def look(frame, event, argument):
    if event == "call" and frame.f_code is triangle.piece.__code__:
        os.write(calls, b"%d\\n" % frame.f_locals["first"])

threading.setprofile(look)
pipeline.main(sys.argv[3:])
"""


def counted(verb: str, folder: Path, number: int, *options: str) -> subprocess.Popen[str]:
    """An execution that notes each call of `triangle.piece` in a file of its own, as it notes its events."""
    told = ("--store", f"sqlite:///{folder}/runs.db", "--events", str(folder / f"events-{number}.jsonl"), *options)
    command = [
        sys.executable,
        "-c",
        COUNTED,
        str(CLIMATE / "pipeline.py"),
        str(folder / f"calls-{number}"),
        verb,
        *told,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=folder)


def kill_in_the_triangle(process: subprocess.Popen[str], done: int, delay: float) -> None:
    """SIGKILL that many seconds after so many more pieces are done."""
    assert process.stdout is not None
    for line in process.stdout:
        done -= '"type":"worker.complete"' in line
        if done <= 0:
            break
    with suppress(subprocess.TimeoutExpired):
        process.wait(delay)
    process.kill()
    process.communicate()


@pytest.mark.deep
def test_killed_five_times_every_window_is_computed_once_but_for_those_in_flight(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """In flight is what is worked on, by one worker each, and as many that are done and not yet stored."""
    chance, calls, stored, kills, workers = random.Random(5), Counter[int](), set[int](), 5, 0
    years = list(range(1850, 2008, 4))
    for number in range(kills + 1):
        options = () if number else (*SMALL, "--out", "here")
        process = counted("resume" if number else "start", tmp_path, number, *options)
        if number < kills:
            kill_in_the_triangle(process, len(stored) + chance.randint(1, 8), chance.uniform(0.0, 0.05))
        else:
            process.communicate(timeout=120)
            assert process.returncode == 0
        made = [int(line) for line in (tmp_path / f"calls-{number}").read_text().splitlines()]
        assert not stored & set(made), "a window that was stored was computed again"
        calls.update(made)
        events = events_of(tmp_path, f"events-{number}.jsonl")
        workers = next(event["data"]["worker_count"] for event in events if event["type"] == "parallel.start")
        told = [event["data"] for event in events if event["type"] == "worker.complete"]
        done = [years[one["item_index"]] for one in told if not one["error"]]
        stored.update(done[:-workers])
    assert set(calls) == set(years)
    assert calls.total() - len(years) <= kills * 2 * workers
    assert {name: (tmp_path / "here" / name).read_bytes() for name in REPORTS} == undisturbed


def demo(*options: str, cwd: Path, columns: int = 80) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CLIMATE / "demo.py"), *options]
    environment = {**ENVIRONMENT, "COLUMNS": str(columns)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, timeout=240, check=False)


def test_the_demo_tells_what_happened_on_one_screen_and_leaves_the_proof(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "events.jsonl").write_text("left behind by an earlier demo\n")
    done = demo(*SMALL, cwd=tmp_path, columns=60)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) <= 60, done.stdout
    assert max(map(len, lines)) <= 60, done.stdout
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    for words in (
        "CO2: 2284 weeks, 1958 to 2001, 59 of them empty",
        "EXECUTION KILLED",
        "Resuming pipeline from RunID: climate",
        "STAGES 1-2: skipped, already completed",
        "Run climate: finished",
        "CO2, 1959-2001: 1.35 ppm per year (1.",
        "identical bytes",
        "pieces of the triangle were kept",
        "of 40 pieces were not done again",
        "Saved by checkpointing: ",
    ):
        assert words in done.stdout
    out = tmp_path / "out"
    for name in REPORTS:
        assert (out / name).read_bytes() == (out / "uninterrupted" / name).read_bytes()
    assert all(json.loads(line) for line in (out / "events.jsonl").read_text().splitlines())


def test_a_demo_that_cannot_write_says_so_and_fails(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    done = demo("--out", "taken", cwd=tmp_path)
    assert done.returncode == 1
    assert "THE DEMO FAILED" in done.stderr
    assert "Traceback" not in done.stderr
