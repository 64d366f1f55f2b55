"""The climate example is a folder of scripts, found as Python finds it when one of them is run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

CLIMATE = Path(__file__).resolve().parents[2] / "examples" / "climate"
sys.path.insert(0, str(CLIMATE))


@pytest.fixture(scope="session")
def climate_data() -> Path:
    return CLIMATE / "data"


SMALL = {"resamples": 200, "triangle_resamples": 20, "series": 20, "every": 8}


def run_stages(out: Path) -> dict[str, Any]:
    import pipeline

    from tau import open_store

    graph = pipeline.build(open_store("memory:"))
    return dict(graph.execute({"out_dir": str(out), **SMALL}, run_id=str(out), seed=1958))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The state after all four stages, with a small effort."""
    return run_stages(tmp_path_factory.mktemp("report"))


@pytest.fixture
def again(tmp_path: Path) -> dict[str, Any]:
    """The same, computed another time into another folder."""
    return run_stages(tmp_path)
