"""The limits of slopes agree with brute force and with published formulas, and hold what they say on AR(1) series."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path
from typing import Any

import coverage
import data
import distributions
import growth
import kendall
import measurement
import numpy as np
import pytest
import slopes
import trends


@pytest.fixture(scope="module")
def temperature(climate_data: Path) -> list[tuple[int, float, float, float]]:
    return data.read_temperature(climate_data)[1]


@pytest.fixture(scope="module")
def periods(finished: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["period"]: row for row in finished["results"]["trends"]}


def half_width(row: dict[str, Any]) -> float:
    return (row["upper"] - row["lower"]) / 2


# Distributions ------------------------------------------------------------------------------


@pytest.mark.parametrize(("freedom", "expected"), [(1, 12.706205), (2, 4.302653), (4, 2.776445), (40, 2.021075)])
def test_student_quantiles_are_those_of_the_tables(freedom: int, expected: float) -> None:
    assert distributions.student_quantile(float(freedom)) == pytest.approx(expected, abs=1e-6)


def test_too_few_degrees_of_freedom_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        distributions.student_quantile(0.5)


# Formulas against brute force ------------------------------------------------------------------------------


def series(n: int = 30) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(11)
    x = np.arange(n, dtype=np.float64)
    return x, 0.1 * x + coverage.ar1_series(random, n, 0.5)


def test_independent_and_hac_limits_are_those_of_the_matrix_formulas() -> None:
    x, y = series()
    n = len(x)
    design = np.stack([np.ones(n), x], axis=1)
    bread = np.linalg.inv(design.T @ design)
    residuals = y - design @ bread @ design.T @ y
    t = distributions.student_quantile(n - 2.0)
    line = slopes.fit_line(x, y)
    plain = math.sqrt(residuals @ residuals / (n - 2) * bread[1, 1])
    assert slopes.independent_limits(line) == pytest.approx((line.slope - t * plain, line.slope + t * plain))
    lags = slopes.hac_lags(n)
    weights = np.maximum(0.0, 1.0 - np.abs(np.subtract.outer(np.arange(n), np.arange(n))) / (lags + 1))
    meat = design.T @ (weights * np.outer(residuals, residuals)) @ design
    robust = math.sqrt((bread @ meat @ bread)[1, 1] * n / (n - 2))
    assert slopes.hac_limits(line) == pytest.approx((line.slope - t * robust, line.slope + t * robust))


def test_kendalls_score_and_variance_are_those_of_all_pairs_and_permutations() -> None:
    x, y = series(12)
    assert kendall.mann_kendall(x, y)["score"] == sum(np.sign(b - a) for a, b in combinations(y, 2))
    random = np.random.default_rng(3)
    for values in (np.arange(12.0), np.array([1.0, 1.0, 2.0, 3.0, 3.0, 3.0, 4.0, 5.0])):
        scores = [sum(np.sign(b - a) for a, b in combinations(random.permutation(values), 2)) for _ in range(4000)]
        assert np.var(scores) == pytest.approx(kendall.kendall_variance(values), rel=0.1), "4,000 permutations"


def test_ties_share_their_rank() -> None:
    assert kendall.average_ranks(np.array([3.0, 1.0, 3.0, 7.0])).tolist() == [2.5, 1.0, 2.5, 4.0]


def test_propagated_errors_are_those_of_simulated_ones(temperature: Any) -> None:
    """20,000 simulated AR(1) error series; their spread is known to 0.5 %, the tolerance is 2 %."""
    years, deviations = measurement.standard_deviations(temperature, 1979, 2020)
    random = np.random.default_rng(8)
    roots = np.linalg.cholesky(measurement.ar1_correlation(years, 0.9))
    errors = (random.standard_normal((20_000, len(years))) @ roots.T) * deviations
    simulated = 10.0 * distributions.Z * np.std(slopes.ols_slope(years, errors))
    found = measurement.slope_half_widths(temperature, 1979, 2020)
    assert found["ar1 0.9"] == pytest.approx(simulated, rel=0.02)
    assert all(value <= found["bound"] for value in found.values())


# Checked figures ------------------------------------------------------------------------------


def test_the_figures_that_were_computed_elsewhere_come_out(periods: Any) -> None:
    """statsmodels, scipy and pymannkendall gave these."""
    rows = {(row["fit"], row["limits"].split(" (")[0]): row for row in periods["1979-2020"]["limits"]}
    sen = rows["Theil-Sen", "independent years"]
    assert (sen["lower"], sen["upper"]) == pytest.approx((0.16816, 0.22272), abs=1e-5)
    plain, robust = rows["Least squares", "independent years"], rows["Least squares", "HAC"]
    assert (plain["lower"], plain["upper"]) == pytest.approx((0.16931, 0.21838), abs=1e-5)
    assert (robust["lower"], robust["upper"]) == pytest.approx((0.16248, 0.22521), abs=1e-5)
    assert half_width(rows["Least squares", "AR(1)-adjusted"]) == pytest.approx(0.032, abs=0.0005)
    recent, long = periods["1979-2020"]["kendall"], periods["1850-2021"]["kendall"]
    assert recent["z"] == pytest.approx(7.2394, abs=1e-4)
    assert (long["z"], long["z_corrected"]) == pytest.approx((12.7721, 3.6866), abs=1e-4)


def test_serial_correlation_widens_all_limits_that_know_of_it(periods: Any) -> None:
    widths = {row["fit"] + " " + row["limits"]: half_width(row) for row in periods["1850-2021"]["limits"]}
    independent = widths.pop("Theil-Sen independent years (Sen 1968)")
    assert widths.pop("Least squares independent years") < independent
    assert all(width > 1.5 * independent for width in widths.values())


def test_the_data_sets_own_errors_widen_the_limits(periods: Any) -> None:
    for period in periods.values():
        bare, both = (half_width(period["limits"][i]) for i in (1, 2))
        assert both == pytest.approx(math.hypot(bare, period["measurement"]["ar1 0.9"]), rel=0.05)


def test_longer_blocks_matter_where_years_depend_on_each_other(temperature: Any) -> None:
    found = trends.block_effect(temperature, 1850, 2021, 200, 1958)
    bare = {length: half for length, half, _ in found["rows"]}
    assert bare[20] > 2 * bare[1]
    assert found["rule"] > 15
    assert max(bare) == 43, "a quarter of the period"


# Coverage ------------------------------------------------------------------------------

SERIES = 200


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (0, {"block bootstrap, stretched": (0.86, 0.98), "AR(1)-adjusted": (0.90, 1.0), "least squares": (0.90, 0.99)}),
        (1, {"block bootstrap, stretched": (0.84, 0.97), "AR(1)-adjusted": (0.88, 1.0), "least squares": (0.75, 0.93)}),
        (2, {"block bootstrap, stretched": (0.79, 0.95), "AR(1)-adjusted": (0.84, 0.99), "least squares": (0.5, 0.8)}),
    ],
)
def test_limits_hold_the_true_slope_of_ar1_series(case: int, expected: dict[str, tuple[float, float]]) -> None:
    """200 series know a coverage of 90 % to 2.1 points; the ranges leave three times that on either side."""
    held = coverage.coverage(case, SERIES, 7)["held"]
    assert all(low <= held[method] <= high for method, (low, high) in expected.items()), held
    assert held["block bootstrap, stretched"] > held["block bootstrap, bare"]


def test_over_long_persistent_series_only_limits_that_know_of_it_hold() -> None:
    held = coverage.coverage(3, 60, 7)["held"]
    assert held["Sen"] < 0.7, held
    assert held["least squares"] < 0.7, held
    assert held["block bootstrap, stretched"] > 0.8, held
    assert held["AR(1)-adjusted"] > 0.8, held


@pytest.mark.parametrize("case", range(len(coverage.GROWTH_CASES)))
def test_limits_of_growth_hold_the_true_growth_and_are_not_much_wider_than_they_need_be(case: int) -> None:
    """200 series know a coverage of 95 % to 1.5 points. Not knowing the autocorrelation costs a third."""
    found = coverage.growth_coverage(case, SERIES, 7)
    assert all(0.88 <= held <= 1.0 for held in found["held"].values()), found
    assert found["wider"]["end points"] < 1.45, found


def test_the_three_measures_of_growth_are_weighted_sums() -> None:
    years = np.arange(1959.0, 2002.0)
    ppm = 338.0 + 1.3 * (years - 1980.0) + 0.01 * (years - 1980.0) ** 2
    ends, straight, rise = growth.growth_weights(years) @ ppm
    assert ends == pytest.approx((ppm[-1] - ppm[0]) / 42.0)
    assert straight == pytest.approx(np.polyfit(years - 1980.0, ppm, 1)[0])
    assert rise == pytest.approx(0.2)


def test_limits_of_growth_do_not_depend_on_the_growth_itself() -> None:
    """Only the residuals about a parabola count; twice as large residuals give twice as wide limits."""
    years = np.arange(43.0)
    noise = coverage.ar1_series(np.random.default_rng(3), 43, 0.7)
    bent = noise + 300.0 + 2.0 * years + 0.03 * years**2

    def halves(series: slopes.Array) -> list[float]:
        return [half for _, half in growth.growth_limits(years, series, 500, np.random.default_rng(5))]

    assert halves(bent) == pytest.approx(halves(noise), rel=1e-6)
    assert halves(2.0 * noise) == pytest.approx([2.0 * half for half in halves(noise)], rel=1e-9)
