"""The figures agree with independently computed ones, depend on the seed alone, and their limits hold what they say."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import bootstrap
import carbon
import growth
import numpy as np
import pipeline
import pytest
import slopes


@pytest.fixture(scope="session")
def found(finished: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in finished["results"]["estimates"]}


CHECK_FIGURES = {
    "temperature-trend-1979-2020": (0.195, 0.0006),
    "temperature-trend-1951-2012": (0.12, 0.025),
    "warming": (1.09, 0.06),
    "co2-growth-ends": (1.31, 0.006),
    "co2-growth-ols": (1.35, 0.006),
    "co2-growth-1960s": (0.8, 0.1),
    "co2-growth-1980s": (1.6, 0.05),
    "co2-growth-1990s": (1.5, 0.05),
    "seasonal-amplitude": (6.4, 0.1),
    "seasonal-early": (6.0, 0.1),
    "seasonal-late": (6.8, 0.1),
    "seasonal-growth-1982": (0.7, 0.18),
    "association": (2.6, 0.05),
}


@pytest.mark.parametrize("name", CHECK_FIGURES)
def test_figures_agree_with_published_or_independent_ones(found: dict[str, dict[str, Any]], name: str) -> None:
    expected, tolerance = CHECK_FIGURES[name]
    assert found[name]["value"] == pytest.approx(expected, abs=tolerance)


def test_the_cycle_peaks_in_may_and_ends_in_autumn(found: dict[str, dict[str, Any]]) -> None:
    for name in ("seasonal-amplitude", "seasonal-early", "seasonal-late"):
        assert found[name]["month_of_maximum"] == 5
        assert found[name]["month_of_minimum"] in (9, 10)


def test_every_value_lies_within_its_limits(found: dict[str, dict[str, Any]]) -> None:
    limited = [row for row in found.values() if "lower" in row]
    assert len(limited) >= 11
    assert all(row["lower"] < row["value"] < row["upper"] for row in limited)


def test_the_association_says_that_it_is_none_of_cause(found: dict[str, dict[str, Any]]) -> None:
    assert "not a climate sensitivity" in found["association"]["note"]


def test_filling_the_hole_of_1964_matters_for_the_changes(finished: dict[str, Any], found: Any) -> None:
    prepared = finished["prepared"]
    filled, bare = dict(prepared["annual"])[1964], dict(prepared["bare_annual"])[1964]
    assert filled - bare == pytest.approx(1.0, abs=0.1)
    assert found["association-changes"]["value"] == pytest.approx(0.37, abs=0.01)
    assert "it is 0.48" in found["association-changes"]["note"]


def test_no_annual_mean_of_a_thin_year(finished: dict[str, Any]) -> None:
    years = [year for year, _ in finished["prepared"]["annual"]]
    assert years == list(range(1959, 2002))
    assert [row[0] for row in finished["aligned"]] == years


def test_state_holds_plain_python_only(finished: dict[str, Any]) -> None:
    def kinds(value: Any) -> set[type]:
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
        return {type(value)}.union(*(kinds(part) for part in parts))

    names = {kind.__name__ for kind in kinds(finished)}
    assert names <= {"dict", "list", "tuple", "str", "int", "float", "bool", "NoneType", "date"}


def test_theil_sen_is_the_median_of_pairwise_slopes() -> None:
    x = np.array([0.0, 1.0, 2.0, 4.0])
    y = np.array([0.0, 1.0, 5.0, 4.0])
    ordered = sorted((y[j] - y[i]) / (x[j] - x[i]) for i in range(4) for j in range(i + 1, 4))
    assert slopes.theil_sen(x, y) == pytest.approx((ordered[2] + ordered[3]) / 2)
    assert slopes.theil_sen(x, np.stack([y, 2 * y])) == pytest.approx([slopes.theil_sen(x, y) * k for k in (1, 2)])


def test_theil_sen_shrugs_off_an_outlier() -> None:
    x = np.arange(20.0)
    y = 0.5 * x
    y[3] = 100.0
    assert slopes.theil_sen(x, y) == pytest.approx(0.5, abs=1e-9)


def test_least_squares_agrees_with_numpy() -> None:
    random = np.random.default_rng(7)
    x, y = np.sort(random.normal(size=30)), random.normal(size=30)
    assert slopes.ols_slope(x, y) == pytest.approx(np.polyfit(x, y, 1)[0])
    assert slopes.fit_line(x, y).intercept == pytest.approx(np.polyfit(x, y, 1)[1])
    assert growth.curvature(x, y) == pytest.approx(2 * np.polyfit(x, y, 2)[0])


def test_blocks_are_runs_of_consecutive_values() -> None:
    picks = bootstrap.moving_blocks(43, 5, 50, np.random.default_rng(3))
    assert picks.shape == (50, 43)
    assert picks.min() >= 0
    assert picks.max() <= 42
    for row in picks:
        assert all(b - a == 1 for i, (a, b) in enumerate(pairwise(row)) if (i + 1) % 5)


def test_correlated_residuals_get_longer_blocks() -> None:
    noise = np.random.default_rng(5).normal(size=400)
    slow = np.zeros(400)
    for i in range(1, 400):
        slow[i] = 0.8 * slow[i - 1] + noise[i]
    assert bootstrap.block_length(noise) == 8, "the cube root of 400, rounded up"
    assert bootstrap.block_length(slow) > 16


def test_the_resampled_residuals_have_no_mean_at_any_position() -> None:
    residuals = np.random.default_rng(4).normal(size=23)
    starts = range(23 - 5 + 1)
    means = [np.mean([residuals[start + place] for start in starts]) for place in range(5)]
    noise = bootstrap.block_noise(residuals, 5, 40, np.random.default_rng(9))
    picks = bootstrap.moving_blocks(23, 5, 40, np.random.default_rng(9))
    assert noise == pytest.approx(residuals[picks] - np.resize(means, 23))


def curve_weeks(noise: float) -> tuple[list[tuple[date, float | None]], np.ndarray]:
    """Weeks of a quadratic with a seasonal cycle and some noise, every tenth of them empty, and the quadratic."""
    days = [date(1959, 1, 3) + timedelta(days=7 * i) for i in range(2000)]
    when = carbon.decimal_years(days)
    trend = 330.0 + 1.3 * when + 0.012 * when**2
    values = trend + 3.0 * np.sin(2 * np.pi * when) + 0.5 * np.cos(4 * np.pi * when)
    values += noise * np.random.default_rng(6).normal(size=len(days))
    return [
        (day, None if i % 10 == 5 else float(v)) for i, (day, v) in enumerate(zip(days, values, strict=True))
    ], trend


def test_the_fit_finds_the_curve_that_the_weeks_were_made_from() -> None:
    weeks, trend = curve_weeks(0.0)
    curve = carbon.fit_curve(weeks)
    assert curve["polynomial"]["change_ppm_per_year_per_decade"] == pytest.approx(0.24, abs=1e-6)
    assert [row[3] for row in curve["weeks"]] == pytest.approx(trend, abs=1e-6)
    assert curve["n"] == 1800
    assert curve["scatter_ppm"] < 1e-6


def test_empty_weeks_are_filled_within_the_noise_and_observed_ones_stay() -> None:
    bare, _ = curve_weeks(0.0)
    weeks, _ = curve_weeks(0.3)
    truth = carbon.fit_curve(bare)["weeks"]
    filled = carbon.fit_curve(weeks)["weeks"]
    assert all(row[1] == value for row, (_, value) in zip(filled, weeks, strict=True) if value is not None)
    errors = [row[1] - true[2] for row, true in zip(filled, truth, strict=True) if not row[4]]
    assert np.std(errors) < 0.3


def test_the_low_pass_keeps_the_slow_and_takes_the_fast() -> None:
    weeks = np.arange(2000)
    slow, fast = np.sin(2 * np.pi * weeks * 7 / 3000), np.sin(2 * np.pi * weeks * 7 / 200)
    inner = slice(200, -200)
    assert carbon.low_pass(slow + fast, 667.0)[inner] == pytest.approx(slow[inner], abs=0.02)
    half = carbon.low_pass(np.sin(2 * np.pi * weeks * 7 / 667), 667.0)
    assert np.ptp(half[inner]) == pytest.approx(1.0, abs=0.05), "half of the amplitude passes at the cutoff"


@pytest.mark.parametrize("bad", [0, 99, -5, 2.5, "2000", True, None])
def test_a_senseless_number_of_resamples_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"resamples is .*whole number of at least 100"):
        pipeline.effort_of({"resamples": bad})
