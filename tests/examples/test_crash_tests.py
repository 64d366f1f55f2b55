"""Every example survives every kill."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

from tau.testing import crash_test

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DEEP = pytest.mark.deep
SMALL = {"resamples": 100, "triangle_resamples": 20, "series": 20, "every": 16}
FILES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "workflows/edges.py": ({"kelvin": 288.0}, {}),
    "workflows/routes.py": ({"station": "Baring", "values": [None, None, 316]}, {}),
    "review/review.py": ({}, {"answers": {"signature": {"signed": True, "name": "Ann"}}}),
    "slurm/pipeline.py": ({"member": 1}, {}),
}


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def check(graph: Any, given: dict[str, Any], **options: Any) -> None:
    result = crash_test(graph, given, max_time=3000, **options)
    assert result.findings == []
    assert result.left == 0
    assert result.struck["inside"] > 0


@pytest.mark.parametrize(
    ("file", "points"),
    [("workflows/routes.py", 1), *(pytest.param(file, 8, marks=DEEP) for file in FILES)],
)
def test_a_small_example_survives(file: str, points: int) -> None:
    given, options = FILES[file]
    check(f"{EXAMPLES / file}:graph", given, points=points, **options)


@DEEP
@pytest.mark.parametrize("store", ["sqlite", "file"])
def test_the_climate_graph_survives(store: str, tmp_path: Path) -> None:
    import pipeline

    from tau import open_store

    check(pipeline.build(open_store("memory:")), {"out_dir": str(tmp_path / "out"), **SMALL}, points=4, store=store)


@DEEP
def test_the_graph_of_the_demo_survives_at_every_commit() -> None:
    check("tau.cli.demo_pipeline:graph", {}, points=1000)
