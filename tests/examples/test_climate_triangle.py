"""The trend triangle: every period once, each piece by itself, with limits that follow from its own years alone."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import data
import numpy as np
import pytest
import triangle


def theil_sen_by_hand(years: list[int], values: list[float]) -> float:
    points = list(zip(years, values, strict=True))
    return median((b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2))


@pytest.fixture(scope="module")
def annual(climate_data: Path) -> list[tuple[int, float]]:
    return [row[:2] for row in data.read_temperature(climate_data)[1]]


def test_every_period_of_15_years_and_more_is_there_once(annual: Any) -> None:
    pairs = [
        (first, last) for first in triangle.first_years(annual, 1) for last in triangle.last_years(annual, first, 1)
    ]
    wanted = {(a, b) for a in range(1850, 2023) for b in range(a + 15, 2023)}
    assert len(pairs) == len(set(pairs)) == 12_561
    assert set(pairs) == wanted


def test_a_thinned_triangle_keeps_the_newest_year_and_is_part_of_the_whole(annual: Any) -> None:
    thin = triangle.piece(annual, 1994, 4, 20, 1958)
    whole = triangle.piece(annual, 1994, 1, 20, 1958)
    assert thin["last"] == [2010, 2014, 2018, 2022]
    for last, trend, half in zip(thin["last"], thin["trend"], thin["half_width"], strict=True):
        place = whole["last"].index(last)
        assert (whole["trend"][place], whole["half_width"][place]) == (trend, half)


def test_a_piece_depends_on_its_own_years_and_the_seed_alone(annual: Any) -> None:
    piece = triangle.piece(annual, 1990, 8, 20, 1958)
    assert triangle.piece(annual, 1990, 8, 20, 1958) == piece
    other = triangle.piece(annual, 1990, 8, 20, 1959)
    assert other["trend"] == piece["trend"]
    assert other["half_width"] != piece["half_width"]
    changed = [(year, value + (1.0 if year < 1990 else 0.0)) for year, value in annual]
    assert triangle.piece(changed, 1990, 8, 20, 1958) == piece


def test_trends_are_medians_of_pairwise_slopes(annual: Any) -> None:
    piece = triangle.piece(annual, 1979, 1, 20, 1958)
    values = dict(annual)
    for last in (1994, 2007, 2020):
        years = list(range(1979, last + 1))
        found = piece["trend"][piece["last"].index(last)]
        assert found == pytest.approx(10 * theil_sen_by_hand(years, [values[year] for year in years]))


def test_half_widths_settle_with_more_resamples(annual: Any) -> None:
    """40 resamples know a spread to 11 %; three times that, and that of 400, is the tolerance."""
    few, many = (np.array(triangle.piece(annual, 1979, 6, count, 1958)["half_width"]) for count in (40, 400))
    assert np.abs(few / many - 1.0).max() < 0.45
    assert np.abs(np.mean(few / many) - 1.0) < 0.15


def test_the_summary_counts_what_is_there() -> None:
    pieces = [
        {"first": 1900, "last": [1920, 1990], "trend": [0.1, 0.2], "half_width": [0.2, 0.1]},
        {"first": 1950, "last": [1970, 1990], "trend": [-0.3, 0.1], "half_width": [0.1, 0.05]},
    ]
    found = triangle.summary(pieces, 201, 1)
    assert (found["periods"], found["above_zero"], found["below_zero"]) == (4, 0.5, 0.25)
    assert (found["to_newest"], found["to_newest_above_zero"]) == (2, 2)
    assert (found["long_periods"], found["long_above_zero"]) == (1, 1.0)
    assert found["largest"] == {"first": 1900, "last": 1990, "trend": 0.2, "half_width": 0.1}
    assert found["spread_known_to"] == pytest.approx(0.05)
