"""What is computed from the two records: preparation, trends, growth, seasonal cycle, association.

Every figure is a plain dictionary (`estimate`) that carries its unit, period, limits, method and published counterpart,
so that the report needs to know nothing about statistics. numpy stays inside: what leaves a function is plain Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np
from bootstrap import (
    Array,
    Resampling,
    block_length,
    ols_slope,
    resampled_residuals,
    slope_with_limits,
)
from data import FIRST_FULL_YEAR, longest_gap, monthly_means
from estimates import RESIDUAL_BLOCKS, estimate, scaled
from seasonal import seasonal_cycle

RUNNING_YEARS = 30
TREND_PERIODS = ((1979, 2020), (1951, 2012), (1850, 2021))
LONG_PERIOD = ((1850, 1900), (2011, 2020))
FILL_PASSES = 4

Progress = Callable[[str], None]
Weeks = Sequence[tuple[date, float | None]]


# Preparation --------------------------------------------------------------------------------


def fill_months(values: Array, months: Array) -> tuple[Array, Array]:
    """The monthly series with its missing months (NaN) filled, and its trend: a centred mean over 12 months.

    A missing month gets the trend there plus the mean seasonal deviation of its calendar month; a few passes settle it.
    """
    known = np.isfinite(values)
    steps = np.arange(len(values), dtype=np.float64)
    filled = np.where(known, values, np.interp(steps, steps[known], values[known]))
    for _ in range(FILL_PASSES):
        trend = centred_year(filled)
        deviation = np.where(known, filled - trend, np.nan)
        season = np.array([np.nanmean(deviation[months == month]) for month in range(1, 13)])
        season -= season.mean()
        filled = np.where(known, values, trend + season[months - 1])
    return filled, centred_year(filled)


def centred_year(values: Array) -> Array:
    """Centred 12-month mean with half weights at the ends; extended in a straight line by half a year at each end."""
    weights = np.array([0.5, *[1.0] * 11, 0.5]) / 12.0
    middle = np.array([np.sum(values[i : i + 13] * weights) for i in range(len(values) - 12)])
    slope = float(ols_slope(np.arange(len(values), dtype=np.float64), values))
    ahead = np.arange(1, 7) * slope
    return np.concatenate([middle[0] - ahead[::-1], middle, middle[-1] + ahead])


def prepare(weeks: Weeks, temperature: Sequence[tuple[int, float, float, float]]) -> dict[str, Any]:
    """The calendar that the analysis works on: months with their trend, annual means, the years both records share."""
    raw = monthly_means(weeks)
    years = np.array([year for year, _, _ in raw])
    months = np.array([month for _, month, _ in raw])
    values = np.array([math.nan if value is None else value for _, _, value in raw], dtype=np.float64)
    filled, trend = fill_months(values, months)
    full = [int(year) for year in np.unique(years) if year >= FIRST_FULL_YEAR and np.sum(years == year) == 12]
    annual = [(year, float(filled[years == year].mean())) for year in full]
    anomaly = {year: value for year, value, _, _ in temperature}
    weeks_missing, gap_start = longest_gap(weeks)
    return {
        "months": [
            (int(y), int(m), (y + (m - 0.5) / 12.0).item(), v.item(), t.item(), bool(math.isfinite(r)))
            for y, m, v, t, r in zip(years, months, filled, trend, values, strict=True)
        ],
        "annual": annual,
        "bare_annual": bare_annual(weeks, full),
        "aligned": [(year, co2, anomaly[year]) for year, co2 in annual if year in anomaly],
        "gaps": {
            "empty_weeks": sum(value is None for _, value in weeks),
            "longest_gap_weeks": weeks_missing,
            "longest_gap_start": gap_start.isoformat(),
            "filled_months": [f"{y}-{m:02d}" for y, m, v in raw if v is None],
            "first_year_used": full[0],
            "years_used": len(full),
        },
    }


def bare_annual(weeks: Weeks, years: Sequence[int]) -> list[tuple[int, float]]:
    """(year, ppm): the plain mean of the weekly values that there are, for showing what filling the holes changes."""
    found: dict[int, list[float]] = {year: [] for year in years}
    for day, value in weeks:
        if value is not None and day.year in found:
            found[day.year].append(value)
    return [(year, math.fsum(values) / len(values)) for year, values in found.items() if values]


# Trends --------------------------------------------------------------------------------


def _between(series: Sequence[tuple[Any, ...]], first: int, last: int) -> tuple[Array, Array]:
    rows = [row for row in series if first <= row[0] <= last]
    return np.array([row[0] for row in rows], dtype=np.float64), np.array([row[1] for row in rows], dtype=np.float64)


def temperature_trends(
    temperature: Sequence[tuple[int, float, float, float]], plan: Resampling, progress: Progress
) -> list[dict[str, Any]]:
    """Theil-Sen trends in K per decade over the standard periods."""
    rows = []
    for first, last in TREND_PERIODS:
        years, values = _between(temperature, first, last)
        name = f"temperature-trend-{first}-{last}"
        found = slope_with_limits(years, values, name, plan)
        row = estimate(
            name, "Trend of global mean temperature", f"{first}-{last}", "K per decade",
            "Theil-Sen slope of annual means", limits_method=RESIDUAL_BLOCKS, **scaled(found, 10.0),
        )  # fmt: skip
        rows.append(row)
        progress(f"temperature trend {first}-{last}: {row['value']:.3f} K per decade")
    return rows


def running_trends(
    temperature: Sequence[tuple[int, float, float, float]], plan: Resampling, progress: Progress
) -> list[dict[str, Any]]:
    """Theil-Sen trends in K per decade of every 30-year window, with limits: the long part of the analysis."""
    rows = []
    first_year, last_year = temperature[0][0], temperature[-1][0]
    for first in range(first_year, last_year - RUNNING_YEARS + 2):
        last = first + RUNNING_YEARS - 1
        years, values = _between(temperature, first, last)
        found = slope_with_limits(years, values, f"running-trend-{first}-{last}", plan)
        rows.append({"first": first, "last": last, **scaled(found, 10.0)})
        if len(rows) % 20 == 0:
            progress(f"{RUNNING_YEARS}-year trends: {len(rows)} windows done, to {first}-{last}")
    return rows


def warming(temperature: Sequence[tuple[int, float, float, float]]) -> dict[str, Any]:
    """Difference of two period means in K, without limits: those need the ensemble, which the annual file lacks."""
    (first, last), (recent_first, recent_last) = LONG_PERIOD
    early = _between(temperature, first, last)[1]
    recent = _between(temperature, recent_first, recent_last)[1]
    return estimate(
        "warming", "Difference of mean temperature", f"{recent_first}-{recent_last} minus {first}-{last}", "K",
        "Difference of the means of annual anomalies", value=float(recent.mean() - early.mean()),
        n=len(early) + len(recent),
        note="No limits here: they need the ensemble, which the annual file does not carry.",
    )  # fmt: skip


def co2_growth(annual: Sequence[tuple[int, float]], plan: Resampling) -> list[dict[str, Any]]:
    """Growth of annual mean CO2 in ppm per year: end points, least squares, and how fast the growth itself grew.

    The record bends upwards. Residuals are therefore taken about a parabola, so that the bend does not pass for noise.
    """
    years, ppm = _between(annual, annual[0][0], annual[-1][0])
    residuals, bend = _about_parabola(years, ppm)
    length = block_length(residuals)
    noise = resampled_residuals(residuals, length, "co2-growth", plan, parameters=3)
    span = years[-1] - years[0]
    shared = {
        "limits_method": RESIDUAL_BLOCKS,
        "n": len(years),
        "block_length": length,
        "note": "Residuals about a parabola: the limits tell year-to-year variation, not that the growth rate changed.",
    }
    rows = [
        (
            "co2-growth-ends",
            "Growth of CO2, end points",
            "ppm per year",
            "Last minus first annual mean, by their distance",
        ),
        ("co2-growth-ols", "Growth of CO2, straight line", "ppm per year", "Least-squares slope of annual means"),
        ("co2-acceleration", "Rise of the CO2 growth rate", "ppm per year per decade", "Least-squares parabola"),
    ]
    values = [(ppm[-1] - ppm[0]) / span, ols_slope(years, ppm), bend * 10.0]
    draws = [(noise[:, -1] - noise[:, 0]) / span, ols_slope(years, noise), _curvature(years, noise) * 10.0]
    found = []
    for (name, quantity, unit, method), value, draw in zip(rows, values, draws, strict=True):
        lower, upper = plan.limits(value + draw)
        limited = {"value": float(value), "lower": lower, "upper": upper, **shared}
        found.append(estimate(name, quantity, f"{annual[0][0]}-{annual[-1][0]}", unit, method, **limited))
    return found


def _curvature(years: Array, values: Array) -> Array:
    """Twice the quadratic coefficient of the least-squares parabola, for values of shape (n,) or (k, n)."""
    centred = years - years.mean()
    square = centred**2 - np.mean(centred**2) - centred * float(ols_slope(years, centred**2))
    return 2.0 * np.sum(values * square, axis=-1) / np.sum(square * square)


def _about_parabola(years: Array, values: Array) -> tuple[Array, float]:
    bend = float(_curvature(years, values))
    rest = values - 0.5 * bend * (years - years.mean()) ** 2
    slope = float(ols_slope(years, rest))
    rest = rest - slope * (years - years.mean())
    return rest - rest.mean(), bend


def annual_growth(annual: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """(year, ppm): each annual mean minus the one before."""
    return [(year, value - before) for (_, before), (year, value) in pairwise(annual)]


def decade_growth(annual: Sequence[tuple[int, float]]) -> list[dict[str, Any]]:
    """Mean annual growth of each decade that the record holds whole, in ppm per year."""
    growth = dict(annual_growth(annual))
    rows = []
    for first in range(1960, 2000, 10):
        values = [growth[year] for year in range(first, first + 10)]
        found = {"value": math.fsum(values) / 10, "n": 10, "note": "Ten values are too few for block limits."}
        name, quantity = f"co2-growth-{first}s", f"Growth of CO2 in the {first}s"
        method = "Mean of the differences of successive annual means"
        rows.append(estimate(name, quantity, f"{first}-{first + 9}", "ppm per year", method, **found))
    return rows


# Association --------------------------------------------------------------------------------


def _correlation(first: Array, second: Array) -> float:
    return float(np.corrcoef(np.diff(first), np.diff(second))[0, 1])


def association(prepared: Mapping[str, Any], plan: Resampling) -> dict[str, Any]:
    """Temperature against log2 CO2 over the shared years: `rows`, and the line's `intercept` at log2(ppm) = 0."""
    aligned = prepared["aligned"]
    doublings = np.log2(np.array([row[1] for row in aligned]))
    kelvin = np.array([row[2] for row in aligned])
    period = f"{aligned[0][0]}-{aligned[-1][0]}"
    found = slope_with_limits(doublings, kelvin, "association", plan, ols_slope)
    slope = estimate(
        "association", "Temperature associated with a doubling of CO2", period, "K per doubling",
        "Least-squares slope of annual temperature on log2 of annual CO2", limits_method=RESIDUAL_BLOCKS, **found,
        note="An association over this period, not a climate sensitivity: other forcings, the ocean's delay and "
        "internal variability are all in it.",
    )  # fmt: skip
    changes = _correlation(doublings, kelvin)
    plain = dict(prepared["bare_annual"])
    bare = _correlation(np.log2(np.array([plain[row[0]] for row in aligned])), kelvin)
    correlation = estimate(
        "association-changes", "Correlation of year-to-year changes", period, "correlation",
        "Pearson correlation of first differences of temperature and log2 CO2", value=changes, n=len(aligned) - 1,
        note=f"Free of the common trend. With bare means of the weekly values it is {bare:.2f}: the hole in the "
        "spring of 1964 then lowers that year's mean. Warm (El Nino) years release carbon: the "
        "direction of cause is open.",
    )  # fmt: skip
    intercept = float(kelvin.mean() - found["value"] * doublings.mean())
    return {"rows": [slope, correlation], "intercept": intercept}


def analyze_all(
    weeks: Weeks,
    prepared: Mapping[str, Any],
    temperature: Sequence[tuple[int, float, float, float]],
    plan: Resampling,
    progress: Progress,
) -> dict[str, Any]:
    """Everything the report shows: `estimates` in reading order, and the series behind the figures."""
    trends = temperature_trends(temperature, plan, progress)
    running = running_trends(temperature, plan, progress)
    annual = prepared["annual"]
    growth = co2_growth(annual, plan)
    progress(f"CO2 growth: {growth[0]['value']:.2f} ppm per year between the end points")
    season = seasonal_cycle(weeks, prepared, plan)
    progress(f"seasonal cycle: {season['estimates'][0]['value']:.1f} ppm peak to peak")
    together = association(prepared, plan)
    progress("association of temperature and CO2")
    carbon = [*growth, *decade_growth(annual), *season["estimates"]]
    return {
        "estimates": [*trends, warming(temperature), *carbon, *together["rows"]],
        "running_trends": running,
        "annual_growth": annual_growth(annual),
        "seasonal_cycle": season["cycle"],
        "association_line": {"intercept": together["intercept"], "slope": together["rows"][0]["value"]},
    }
