"""Processes that are killed in the middle of calls: what was answered is not asked for again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from model_servers import Front

HERE = Path(__file__).parent


def program(what: str, front: Front, place: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / "calling_program.py"), what, front.url, f"sqlite:///{place}/runs.db"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return said


def kill(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)


def test_five_calls_killed_in_the_third_make_six_requests_in_all(front: Front, tmp_path: Path) -> None:
    model = "hang-third/killed"
    first = program("five", front, tmp_path)
    assert len(front.requests(model, 3)) == 3
    kill(first)
    assert finish(program("five", front, tmp_path)).split() == ["1", "2", "4", "5", "6"]
    asked = [one["messages"][-1]["content"] for one in front.requests(model)]
    assert asked == ["question 1", "question 2", "question 3", "question 3", "question 4", "question 5"]


def test_of_100_calls_under_a_rate_limit_a_kill_repeats_at_most_those_in_flight(front: Front, tmp_path: Path) -> None:
    model = "limited/killed"
    first = program("hundred", front, tmp_path)
    front.requests(model, 60)
    kill(first)
    assert finish(program("hundred", front, tmp_path)).strip() == "100"
    answered = Counter(front.told(model)["answered"])
    assert len(answered) == 100
    assert max(answered.values()) <= 2
    assert sum(answered.values()) - 100 <= 40  # the connections of the client: no more are in flight at once
