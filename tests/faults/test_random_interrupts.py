"""Ctrl-C at random moments, a second one soon after it: no run stands still, and each is resumed to its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 60


@pytest.mark.deep
@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("store", ["sqlite", "file"])
def test_interrupts_at_random_moments_lose_nothing_and_stop_nobody(store: str, way: str) -> None:
    script = Path(__file__).with_name("random_interrupts.py")
    command = [sys.executable, str(script), store, way, f"{SECONDS}", "seed"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=10 * SECONDS, check=False)
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr[-20_000:]}"
    assert int(ended.stdout.split()[0]) > 0
