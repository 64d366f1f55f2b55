"""What the page of an example shows runs. It does real work, so `scripts/check` leaves it to `scripts/test`."""

from __future__ import annotations

from pathlib import Path

import pytest
from house_source import ROOT
from pages import PAGES
from running import run_page

THEIRS = [page for page in PAGES if page.is_relative_to(ROOT / "examples")]


@pytest.mark.parametrize("page", THEIRS, ids=lambda page: page.parent.name)
def test_the_page_of_an_example_runs(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path)
