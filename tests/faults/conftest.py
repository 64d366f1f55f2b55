"""Sweeps run in processes of their own: they fork at every point, which a test runner's threads would not survive."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
Sweep = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def sweep() -> Sweep:
    """``sweep("file", "torn", "--nodes", "3")``: the figures, and the findings as text, each with its command."""

    def run(*words: object) -> tuple[dict[str, Any], str]:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}"}
        command = [sys.executable, str(ROOT / "tests" / "faults"), *map(str, words)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
        lines = done.stdout.splitlines()
        if done.returncode not in (0, 1) or not lines or not lines[-1].startswith("{"):
            pytest.fail(
                f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
            )
        return json.loads(lines[-1]), "\n".join(lines[:-1])[:20_000]

    return run


@pytest.fixture
def clean(sweep: Sweep) -> Callable[..., dict[str, Any]]:
    """The figures of a sweep that must find nothing, and must have looked at something."""

    def run(*words: object) -> dict[str, Any]:
        figures, findings = sweep(*words)
        assert not findings, f"{figures}\n{findings}"
        assert figures["points"] > 0
        return figures

    return run
