"""Growth of CO2 from its annual means: over the whole record, how it changed, decade by decade."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from bootstrap import Resampling, block_length, percentiles, stretched_noise
from estimates import RESIDUAL_BLOCKS, between, estimate
from slopes import Array, ols_slope

DECADES = range(1960, 2000, 10)
NOTE = "Residuals about a parabola: the limits tell year-to-year variation, not that the growth rate changed."

Annual = Sequence[tuple[int, float]]


def co2_growth(annual: Annual, seed: int, resamples: int) -> list[dict[str, Any]]:
    """Growth in ppm per year: end points, least squares, and how fast the growth itself grew.

    The record bends upwards. Residuals are therefore taken about a parabola, so that the bend does not pass for noise.
    """
    years, ppm = between(annual, annual[0][0], annual[-1][0])
    residuals, bend = about_parabola(years, ppm)
    length = block_length(residuals)
    noise = stretched_noise(residuals, length, resamples, Resampling(seed, resamples).stream("co2 growth"), 3)
    span = years[-1] - years[0]
    period, unit = f"{annual[0][0]}-{annual[-1][0]}", "ppm per year"
    rows = [
        ("co2-growth-ends", "Growth of CO2, end points", unit, "Last minus first annual mean, by their distance",
         (ppm[-1] - ppm[0]) / span, (noise[:, -1] - noise[:, 0]) / span),
        ("co2-growth-ols", "Growth of CO2, straight line", unit, "Least-squares slope of annual means",
         ols_slope(years, ppm), ols_slope(years, noise)),
        ("co2-acceleration", "Rise of the CO2 growth rate", f"{unit} per decade", "Least-squares parabola",
         bend * 10.0, curvature(years, noise) * 10.0),
    ]  # fmt: skip
    found = []
    for name, quantity, measured_in, method, value, drawn in rows:
        lower, upper = percentiles(value + drawn)
        row = estimate(
            name, quantity, period, measured_in, f"{method}; gaps filled from the fitted curve", source="co2",
            value=float(value), lower=lower, upper=upper, limits_method=RESIDUAL_BLOCKS, n=len(years),
            block_length=length, note=NOTE,
        )  # fmt: skip
        found.append(row)
    return found


def curvature(years: Array, values: Array) -> Any:
    """Twice the quadratic coefficient of the least-squares parabola, for values of shape (n,) or (k, n)."""
    centred = years - years.mean()
    square = centred**2 - np.mean(centred**2) - centred * float(ols_slope(years, centred**2))
    return 2.0 * np.sum(values * square, axis=-1) / np.sum(square * square)


def about_parabola(years: Array, values: Array) -> tuple[Array, float]:
    """(residuals about the least-squares parabola, `curvature`)."""
    bend = float(curvature(years, values))
    rest = values - 0.5 * bend * (years - years.mean()) ** 2
    slope = float(ols_slope(years, rest))
    rest = rest - slope * (years - years.mean())
    return rest - rest.mean(), bend


def annual_growth(annual: Annual) -> list[tuple[int, float]]:
    """(year, ppm): each annual mean minus the one before."""
    return [(year, value - before) for (_, before), (year, value) in pairwise(annual)]


def decade_growth(annual: Annual) -> list[dict[str, Any]]:
    """Mean annual growth of each decade that the record holds whole, in ppm per year."""
    growth = dict(annual_growth(annual))
    rows = []
    for first in DECADES:
        values = [growth[year] for year in range(first, first + 10)]
        row = estimate(
            f"co2-growth-{first}s", f"Growth of CO2 in the {first}s", f"{first}-{first + 9}", "ppm per year",
            "Mean of the differences of successive annual means", source="co2", value=math.fsum(values) / 10, n=10,
            note="Ten values are too few for block limits.",
        )  # fmt: skip
        rows.append(row)
    return rows
