"""The seasonal cycle of CO2: four harmonics of what observed weeks are above the trend, with limits from whole years.

Source of the growth measure: Bacastow, Keeling & Whorf 1985, who likewise let one mean cycle swell or shrink
year by year.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
from bootstrap import block_length, moving_blocks, percentiles, slope_with_limits
from carbon import HARMONICS, harmonics
from estimates import RESIDUAL_BLOCKS, YEAR_BLOCKS, estimate, scaled
from slopes import Array, ols_slope

DAYS = 365
MIDDLE_OF_MONTH = [(date(2001, month, 15) - date(2001, 1, 1)).days / DAYS for month in range(1, 13)]
SPAN_YEARS = 10
STEP = 5
GROWTH_UNTIL = (1982, 2001)
"""Last years of the periods whose growth is shown: that of the published figure, and the whole record."""

CurveWeeks = Sequence[tuple[Any, ...]]


def deviations(curve_weeks: CurveWeeks) -> tuple[Array, Array, Array]:
    """(year, phase of the year, ppm above the trend) of every observed week."""
    rows = [
        (day.year, (day - date(day.year, 1, 1)).days / 365.25, value - trend)
        for day, value, _, trend, observed in curve_weeks
        if observed
    ]
    years, phases, values = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    return years, phases, values


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


def _amplitude(
    name: str, sums: tuple[Array, Array, Array], resamples: int, random: np.random.Generator
) -> dict[str, Any]:
    names, left, right = sums
    period = f"{names[0]:.0f}-{names[-1]:.0f}"
    phase = np.arange(DAYS) / DAYS
    mean = curves(left.sum(axis=0)[None], right.sum(axis=0)[None], phase)[0]
    length = max(2, block_length(right[:, 1]))
    picks = moving_blocks(len(names), length, resamples, random)
    lower, upper = percentiles(np.ptp(curves(left[picks].sum(axis=1), right[picks].sum(axis=1), phase), axis=1))
    return estimate(
        name, "Seasonal cycle of CO2, peak to peak", period, "ppm",
        f"{HARMONICS} harmonics fitted to what observed weeks are above the trend", source="co2",
        value=float(np.ptp(mean)), lower=lower, upper=upper, limits_method=YEAR_BLOCKS, n=len(names),
        block_length=length, month_of_maximum=_month(int(mean.argmax())), month_of_minimum=_month(int(mean.argmin())),
    )  # fmt: skip


def _month(day: int) -> int:
    return date.fromordinal(date(2001, 1, 1).toordinal() + day).month


def yearly_sizes(years: Array, phases: Array, values: Array) -> tuple[Array, Array]:
    """(years, each year's size relative to the mean cycle, by regression)."""
    names, left, right = yearly_sums(years, phases, values)
    coefficients = np.linalg.solve(left.sum(axis=0), right.sum(axis=0))
    cycle = np.einsum("m,pm->p", coefficients[1:], harmonics(phases))
    return names, np.array([_gain(cycle[years == year], values[years == year]) for year in names])


def _gain(cycle: Array, values: Array) -> float:
    centred = cycle - cycle.mean()
    return float(np.sum(centred * values) / np.sum(centred * centred))


def _growth(
    observed: tuple[Array, Array, Array], until: int, resamples: int, random: np.random.Generator
) -> dict[str, Any]:
    chosen = observed[0] <= until
    names, sizes = yearly_sizes(*(column[chosen] for column in observed))
    period = f"{names[0]:.0f}-{until}"
    found = slope_with_limits(names, sizes, resamples, random, ols_slope)
    return estimate(
        f"seasonal-growth-{until}", "Growth of the seasonal cycle", period, "% per year",
        "Least-squares slope of each year's size relative to the mean cycle", source="co2",
        limits_method=RESIDUAL_BLOCKS, **scaled(found, 100.0 / float(sizes.mean())),
    )  # fmt: skip


def seasonal_cycle(curve_weeks: CurveWeeks, resamples: int, seed: int) -> dict[str, Any]:
    """The mean cycle, its size and its growth.

    `estimates`: size over the record and its first and last ten years, and growth; `cycle`: (month, ppm, lower, upper)
    at the middle of each month; `curve`: (phase of the year, ppm, lower, upper) every `STEP` days; `sizes`: (year, size
    relative to the mean cycle).
    """
    shape, *streams = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(1 + 3 + len(GROWTH_UNTIL)))
    observed = deviations(curve_weeks)
    names, left, right = yearly_sums(*observed)
    spans = (
        ("seasonal-amplitude", slice(None)),
        ("seasonal-early", slice(None, SPAN_YEARS)),
        ("seasonal-late", slice(-SPAN_YEARS, None)),
    )
    rows = [
        _amplitude(name, (names[part], left[part], right[part]), resamples, random)
        for (name, part), random in zip(spans, streams, strict=False)
    ]
    rows += [
        _growth(observed, until, resamples, random)
        for until, random in zip(GROWTH_UNTIL, streams[len(spans) :], strict=True)
    ]
    phases = np.array([*MIDDLE_OF_MONTH, *(np.arange(0, DAYS + 1, STEP) / DAYS)])
    mean = curves(left.sum(axis=0)[None], right.sum(axis=0)[None], phases)[0]
    picks = moving_blocks(len(names), rows[0]["block_length"], resamples, shape)
    drawn = curves(left[picks].sum(axis=1), right[picks].sum(axis=1), phases)
    found = [(float(mean[place]), *percentiles(drawn[:, place])) for place in range(len(phases))]
    cycle = [(month, *row) for month, row in enumerate(found[:12], 1)]
    curve = [(float(phase), *row) for phase, row in zip(phases[12:], found[12:], strict=True)]
    sizes = [(int(year), float(size)) for year, size in zip(*yearly_sizes(*observed), strict=True)]
    return {"estimates": rows, "cycle": cycle, "curve": curve, "sizes": sizes}
