"""The review of a document: reviewers in parallel, at most two revisions, and a person who signs a process later."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import tau
from tau import StateGraph
from tau.testing import explore

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "review" / "review.py"
GRAPH = f"{EXAMPLE}:graph"


def call(folder: Path, *words: str) -> tuple[int, str]:
    env = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": str(Path(tau.__path__[0]).parent)}
    done = subprocess.run(
        [sys.executable, "-m", "tau", *words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def graph() -> StateGraph:
    found = runpy.run_path(str(EXAMPLE))["graph"]
    assert isinstance(found, StateGraph)
    return found


@pytest.fixture
def review(tmp_path: Path) -> StateGraph:
    found = graph()
    found.use_store(f"sqlite:///{tmp_path}/review.db")
    return found


def test_what_two_of_three_approve_is_signed_from_the_command_line_a_process_later(tmp_path: Path) -> None:
    store = ("--store", "sqlite:///review.db")
    code, said = call(tmp_path, "run", GRAPH, "--run-id", "sea")
    assert (code, said.count("✓ review/caution"), said.count("✓ revise")) == (4, 2, 1), said
    assert "signature" in call(tmp_path, "pauses", *store)[1]
    assert call(tmp_path, "answer", "sea", "signature", "--set", "signed=perhaps", *store)[0] == 2
    assert call(tmp_path, "answer", "sea", "signature", "--set", "signed=true", "--set", "name=Ada", *store)[0] == 0
    code, said = call(tmp_path, "resume", "sea", GRAPH, "--values")
    assert code == 0
    assert "published, signed by Ada" in said
    assert "review/" not in said, "nothing before the signature is done again"


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("Nobody doubts it.", "published, signed by Ada"),
        ("It proves this; it may be 1 m.", "published, signed by Ada"),
        ("It never is 1 m.", "rejected, revisions: 2"),
    ],
    ids=["at once", "two of three", "one of three"],
)
def test_the_route_is_that_of_the_reviewers(review: StateGraph, text: str, result: str) -> None:
    try:
        final = review.execute({"text": text}, run_id="r")
    except tau.RunWaitingError:
        final = review.resume("r", answers={"signature": {"signed": True, "name": "Ada"}})
    assert final["result"] == result
    assert final["revisions"] <= 2


def test_who_does_not_sign_rejects(review: StateGraph) -> None:
    with pytest.raises(tau.RunWaitingError):
        review.execute({}, run_id="r")
    final = review.resume("r", answers={"signature": {"signed": False, "name": "Ada"}})
    assert final["result"] == "rejected, revisions: 1"


@pytest.mark.deep
def test_a_crash_at_any_point_changes_nothing() -> None:
    assert explore(graph, {}, answers={"signature": {"signed": True, "name": "Ada"}}) > 100


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.read_text("utf-8").splitlines()) < 100
