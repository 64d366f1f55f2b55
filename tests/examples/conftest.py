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


def run_stages(out: Path, resamples: int = 200, seed: int = 1958) -> dict[str, Any]:
    import pipeline

    state: dict[str, Any] = {"out_dir": str(out), "resamples": resamples, "seed": seed}
    for node in (pipeline.ingest, pipeline.preprocess, pipeline.analyze, pipeline.report):
        state.update(node(state))
    return state


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The state after all four stages, called as plain functions on a plain dict."""
    return run_stages(tmp_path_factory.mktemp("report"))


@pytest.fixture
def again(tmp_path: Path) -> dict[str, Any]:
    """The same, computed another time into another folder."""
    return run_stages(tmp_path)
