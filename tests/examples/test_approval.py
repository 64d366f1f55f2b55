"""The approval is answered from the command line, each time by another process; nothing is written twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import tau

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "approval" / "approval.py"


def call(folder: Path, *words: str) -> tuple[int, str]:
    env = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": str(Path(tau.__path__[0]).parent)}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout + done.stderr * (done.returncode not in (0, 4))


def answer(folder: Path, *settings: str) -> tuple[int, str]:
    words = [word for setting in settings for word in ("--set", setting)]
    return call(folder, "-m", "tau", "answer", "--store", "sqlite:///approval.db", "article", "review", *words)


WAITS = """waits for review; answer, then run this again:
  tau answer --store sqlite:///approval.db article review --set verdict=approve
"""


def test_an_approval_is_given_from_the_command_line_a_process_later(tmp_path: Path) -> None:
    run = str(EXAMPLE)
    assert call(tmp_path, run) == (4, f"writes a draft\n{WAITS}")
    assert call(tmp_path, run) == (4, WAITS)
    assert answer(tmp_path, "verdict=maybe")[0] == 2
    assert answer(tmp_path, "verdict=revise", "note=shorter")[0] == 0
    assert call(tmp_path, run) == (4, f"revises: shorter\n{WAITS}")
    assert answer(tmp_path, "verdict=approve")[0] == 0
    assert answer(tmp_path, "verdict=reject")[0] == 4
    assert call(tmp_path, run) == (0, "publishes: The sea has risen by 20 cm since 1900.\n")


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.read_text("utf-8").splitlines()) < 100
