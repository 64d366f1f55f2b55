"""The weekly CO2 record as a smooth curve: polynomial, seasonal harmonics, and what is left, filtered.

Source: Thoning, K.W., P.P. Tans and W.D. Komhyr, 1989: Atmospheric carbon dioxide at Mauna Loa Observatory: 2. Analysis
of the NOAA GMCC data, 1974-1985. J. Geophys. Res., 94(D6), 8549-8565. A quadratic and four harmonics are fitted to the
weeks that have a value; residuals are interpolated over the gaps and filtered with two low passes, a short one for the
smooth curve and a long one for the trend.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from data import FIRST_FULL_YEAR, longest_gap
from slopes import Array

POLYNOMIAL_TERMS = 3
HARMONICS = 4
SHORT_CUTOFF_DAYS = 80.0
LONG_CUTOFF_DAYS = 667.0
DAYS_A_YEAR = 365.25
ORIGIN = date(1980, 1, 1)

Weeks = Sequence[tuple[date, float | None]]


def decimal_years(days: Sequence[date]) -> Array:
    """Years since 1 January 1980, of 365.25 days."""
    return np.array([(day - ORIGIN).days for day in days], dtype=np.float64) / DAYS_A_YEAR


def harmonics(phase: Array) -> Array:
    """The harmonic terms at phases of the year (0 to 1), shape (len(phase), 2 * HARMONICS)."""
    angles = 2.0 * np.pi * phase[:, None] * np.arange(1, HARMONICS + 1)
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def terms(when: Array, middle: float, half: float) -> Array:
    """Polynomial terms in time scaled to -1 to 1, then the harmonic ones: the columns of the fit."""
    scaled = (when - middle) / half
    return np.concatenate([scaled[:, None] ** np.arange(POLYNOMIAL_TERMS), harmonics(when)], axis=1)


def least_squares(columns: Array, values: Array) -> Array:
    """Coefficients by the normal equations, well conditioned by the scaled columns. No BLAS: see `ols_slope`."""
    left = np.sum(columns[:, :, None] * columns[:, None, :], axis=0)
    return np.linalg.solve(left, np.sum(columns * values[:, None], axis=0))


def low_pass(residuals: Array, cutoff_days: float, step_days: float = 7.0) -> Array:
    """Residuals, evenly spaced, without what is faster than the cutoff: exp(-ln 2 (f / f_c)^6) in the frequency domain.

    The straight line between the ends is taken out before, and the series padded with zeros to three times its length,
    so that the two ends of the record do not run into each other.
    """
    n = len(residuals)
    line = np.linspace(residuals[0], residuals[-1], n)
    size = 2 ** math.ceil(math.log2(3 * n))
    frequency = np.fft.rfftfreq(size, d=step_days)
    response = np.exp(-math.log(2.0) * (frequency * cutoff_days) ** 6)
    return line + np.fft.irfft(np.fft.rfft(residuals - line, size) * response, size)[:n]


def fit_curve(weeks: Weeks) -> dict[str, Any]:
    """The curve through the weeks from `FIRST_FULL_YEAR` on.

    `weeks`: (day, ppm or the smooth curve where the week is empty, smooth, trend, observed) for every week;
    `polynomial`: level, growth and its change at the middle of the record; `scatter_ppm`: standard deviation of the
    observed weeks about the smooth curve; `n`: how many weeks were observed.
    """
    used = [(day, value) for day, value in weeks if day.year >= FIRST_FULL_YEAR]
    days = [day for day, _ in used]
    when = decimal_years(days)
    values = np.array([math.nan if value is None else value for _, value in used])
    known = np.isfinite(values)
    middle, half = float(when[0] + when[-1]) / 2, float(when[-1] - when[0]) / 2
    columns = terms(when, middle, half)
    coefficients = least_squares(columns[known], values[known])
    fitted = np.sum(columns * coefficients, axis=1)
    residuals = np.interp(when, when[known], (values - fitted)[known])
    smooth = fitted + low_pass(residuals, SHORT_CUTOFF_DAYS)
    polynomial = np.sum(columns[:, :POLYNOMIAL_TERMS] * coefficients[:POLYNOMIAL_TERMS], axis=1)
    trend = polynomial + low_pass(residuals, LONG_CUTOFF_DAYS)
    filled = np.where(known, values, smooth)
    level, slope, bend = (float(value) for value in coefficients[:POLYNOMIAL_TERMS])
    rows = zip(days, filled.tolist(), smooth.tolist(), trend.tolist(), known.tolist(), strict=True)
    return {
        "weeks": list(rows),
        "polynomial": {
            "middle": ORIGIN.year + middle,
            "level_ppm": level,
            "growth_ppm_per_year": slope / half,
            "change_ppm_per_year_per_decade": 20.0 * bend / half**2,
        },
        "scatter_ppm": float(np.std((values - smooth)[known])),
        "n": int(np.sum(known)),
    }


def annual_means(curve_weeks: Sequence[tuple[Any, ...]]) -> list[tuple[int, float]]:
    """(year, ppm): the mean of the year's weeks, empty ones filled from the curve; whole years only."""
    found: dict[int, list[float]] = {}
    for row in curve_weeks:
        found.setdefault(row[0].year, []).append(row[1])
    return [(year, math.fsum(values) / len(values)) for year, values in found.items() if len(values) >= 52]


def bare_annual(weeks: Weeks, years: Sequence[int]) -> list[tuple[int, float]]:
    """(year, ppm): the plain mean of the weekly values that there are, for showing what filling the gaps changes."""
    found: dict[int, list[float]] = {year: [] for year in years}
    for day, value in weeks:
        if value is not None and day.year in found:
            found[day.year].append(value)
    return [(year, math.fsum(values) / len(values)) for year, values in found.items() if values]


def prepare(weeks: Weeks) -> dict[str, Any]:
    """What the analysis works on: the curve, annual means of CO2, what was filled."""
    curve = fit_curve(weeks)
    annual = annual_means(curve["weeks"])
    length, start = longest_gap(weeks)
    return {
        "curve": curve,
        "annual": annual,
        "bare_annual": bare_annual(weeks, [year for year, _ in annual]),
        "gaps": {
            "empty_weeks": sum(value is None for _, value in weeks),
            "filled_weeks": sum(not row[4] for row in curve["weeks"]),
            "longest_gap_weeks": length,
            "longest_gap_start": start.isoformat(),
            "dropped_weeks": sum(day.year < FIRST_FULL_YEAR for day, _ in weeks),
            "first_year_used": annual[0][0],
            "years_used": len(annual),
        },
    }


def aligned(
    annual: Sequence[tuple[int, float]], temperature: Sequence[tuple[int, float, float, float]]
) -> list[tuple[int, float, float]]:
    """(year, ppm, K) of the years that both records have."""
    anomaly = {year: value for year, value, _, _ in temperature}
    return [(year, ppm, anomaly[year]) for year, ppm in annual if year in anomaly]


def growth_rates(curve: Mapping[str, Any]) -> list[tuple[float, float]]:
    """(decimal year, ppm per year): the slope of the trend curve, one value for every fourth week."""
    rows = curve["weeks"]
    when = ORIGIN.year + decimal_years([row[0] for row in rows])
    rate = np.gradient(np.array([row[3] for row in rows]), when)
    return [(float(t), float(g)) for t, g in zip(when[::4], rate[::4], strict=True)]
