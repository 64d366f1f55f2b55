"""The examples of workflows and routes run, say what they found, and stay short."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "workflows"
TRENDS = """Davis: 0.12 degrees a decade
Lerwick: 0.21 degrees a decade
Mauna Loa: 0.18 degrees a decade
Sable Island: 0.25 degrees a decade
Nauru: no data
"""
PLANETS = """ice 0.30: 284.9 K, +1.10 K
ice 0.40: 284.7 K, +1.31 K
ice 0.50: 253.5 K, +0.78 K
ice 0.60: 237.8 K, +0.63 K
"""
SAYS = {
    "branches.py": "3.08 K (formula), 3.08 K (ocean) after 10 centuries\n",
    "chain.py": "most snow on day 154: 387 mm of water, 148 left\n",
    "edges.py": "288 K: an albedo of 0.301\n400 K: no albedo does that\n",
    "parallel.py": TRENDS,
    "processes.py": PLANETS,
    "routes.py": "Alert: [315, 316.0, 317, 317, 318.0, 319] after 2 passes\nBaring: given up after 3 passes\n",
}


def test_every_example_is_here() -> None:
    assert {path.name for path in FOLDER.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_an_example_runs_from_any_directory(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / name], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, SAYS[name]), done.stderr


@pytest.mark.parametrize("name", SAYS)
def test_an_example_is_short(name: str) -> None:
    assert len((FOLDER / name).read_text("utf-8").splitlines()) < 60
