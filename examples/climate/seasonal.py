"""The seasonal cycle of CO2 from the weekly record: four harmonics about the slow trend, with limits from whole years.

Source of the growth measure: Bacastow, Keeling & Whorf 1985, who likewise let one mean cycle swell or shrink
year by year.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from bootstrap import Array, Resampling, block_length, moving_blocks, ols_slope, slope_with_limits
from estimates import RESIDUAL_BLOCKS, YEAR_BLOCKS, estimate, scaled

HARMONICS = 4
DAYS = 365
MIDDLE_OF_MONTH = [(date(2001, month, 15) - date(2001, 1, 1)).days / DAYS for month in range(1, 13)]
SPAN_YEARS = 10
GROWTH_UNTIL = 1982


def harmonics(phase: Array) -> Array:
    """The harmonic terms at phases of the year (0 to 1), shape (len(phase), 2 * HARMONICS)."""
    angles = 2.0 * np.pi * phase[:, None] * np.arange(1, HARMONICS + 1)
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def deviations(
    weeks: Sequence[tuple[date, float | None]], months: Sequence[tuple[Any, ...]], first_year: int
) -> tuple[Array, Array, Array]:
    """(year, phase of the year, ppm above the trend) of every weekly value from `first_year` to the last month."""
    when = np.array([row[2] for row in months])
    trend = np.array([row[4] for row in months])
    rows = [(day.year, (day - date(day.year, 1, 1)).days / 365.25, value) for day, value in weeks if value is not None]
    years, phases, values = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    kept = (years >= first_year) & (years + phases <= when[-1])
    return years[kept], phases[kept], (values - np.interp(years + phases, when, trend))[kept]


def yearly_sums(years: Array, phases: Array, values: Array) -> tuple[Array, Array, Array]:
    """Per calendar year the sums of its normal equations: (years, left sides, right sides); years simply add up."""
    terms = np.concatenate([np.ones((len(phases), 1)), harmonics(phases)], axis=1)
    left = terms[:, :, None] * terms[:, None, :]
    right = terms * values[:, None]
    names = np.unique(years)
    return (
        names,
        np.array([left[years == year].sum(axis=0) for year in names]),
        np.array([right[years == year].sum(axis=0) for year in names]),
    )


def curves(left: Array, right: Array, phase: Array) -> Array:
    """The fitted cycles at the phases, in ppm about the year's mean, for sums of shape (k, m, m) and (k, m)."""
    coefficients = np.linalg.solve(left, right[..., None])[..., 0]
    return np.einsum("km,pm->kp", coefficients[:, 1:], harmonics(phase))


def _amplitude(name: str, names: Array, left: Array, right: Array, plan: Resampling) -> dict[str, Any]:
    phase = np.arange(DAYS) / DAYS
    mean = curves(left.sum(axis=0)[None], right.sum(axis=0)[None], phase)[0]
    length = max(2, block_length(right[:, 1]))
    picks = moving_blocks(len(names), length, plan.resamples, plan.stream(name))
    drawn = np.ptp(curves(left[picks].sum(axis=1), right[picks].sum(axis=1), phase), axis=1)
    lower, upper = plan.limits(drawn)
    return estimate(
        name, "Seasonal cycle of CO2, peak to peak", f"{names[0]:.0f}-{names[-1]:.0f}", "ppm",
        f"{HARMONICS} harmonics fitted to weekly deviations from a centred 12-month mean", value=float(np.ptp(mean)),
        lower=lower, upper=upper, limits_method=YEAR_BLOCKS, n=len(names), block_length=length,
        month_of_maximum=_month(int(mean.argmax())), month_of_minimum=_month(int(mean.argmin())),
    )  # fmt: skip


def _month(day: int) -> int:
    return date.fromordinal(date(2001, 1, 1).toordinal() + day).month


def _growth(years: Array, phases: Array, values: Array, plan: Resampling) -> dict[str, Any]:
    """Each year's size relative to the mean cycle by regression, then the slope of the sizes, in percent per year."""
    chosen = years <= GROWTH_UNTIL
    years, phases, values = years[chosen], phases[chosen], values[chosen]
    names, left, right = yearly_sums(years, phases, values)
    coefficients = np.linalg.solve(left.sum(axis=0), right.sum(axis=0))
    cycle = np.einsum("m,pm->p", coefficients[1:], harmonics(phases))
    sizes = np.array([_gain(cycle[years == year], values[years == year]) for year in names])
    name = "seasonal-growth"
    found = slope_with_limits(names, sizes, name, plan, ols_slope)
    return estimate(
        name, "Growth of the seasonal cycle", f"{names[0]:.0f}-{GROWTH_UNTIL}", "% per year",
        "Least-squares slope of each year's size relative to the mean cycle", limits_method=RESIDUAL_BLOCKS,
        **scaled(found, 100.0 / float(sizes.mean())),
    )  # fmt: skip


def _gain(cycle: Array, values: Array) -> float:
    centred = cycle - cycle.mean()
    return float(np.sum(centred * values) / np.sum(centred * centred))


def seasonal_cycle(
    weeks: Sequence[tuple[date, float | None]], prepared: Mapping[str, Any], plan: Resampling
) -> dict[str, Any]:
    """The mean cycle, its size and its growth.

    `estimates`: size over the record and its first and last ten years, and growth; `cycle`: (month, ppm, lower, upper).
    """
    years, phases, values = deviations(weeks, prepared["months"], prepared["gaps"]["first_year_used"])
    names, left, right = yearly_sums(years, phases, values)
    spans = (
        ("seasonal-amplitude", slice(None)),
        ("seasonal-early", slice(None, SPAN_YEARS)),
        ("seasonal-late", slice(-SPAN_YEARS, None)),
    )
    rows = [_amplitude(name, names[part], left[part], right[part], plan) for name, part in spans]
    rows.append(_growth(years, phases, values, plan))
    middle = np.array(MIDDLE_OF_MONTH)
    mean = curves(left.sum(axis=0)[None], right.sum(axis=0)[None], middle)[0]
    picks = moving_blocks(len(names), rows[0]["block_length"], plan.resamples, plan.stream("seasonal-shape"))
    drawn = curves(left[picks].sum(axis=1), right[picks].sum(axis=1), middle)
    cycle = [(m + 1, float(mean[m]), *plan.limits(drawn[:, m])) for m in range(12)]
    return {"estimates": rows, "cycle": cycle}
