"""The data set's own uncertainty, carried through to trends and differences.

The annual file gives 2.5 and 97.5 % limits for each year, not how the errors of different years hang together; the
ensemble of HadCRUT5 would (Morice et al. 2021). They do hang together: a bias of ships or stations lasts for years. So
several cases are computed, by propagating the covariance they imply through the least-squares weights c of a slope,
var = sum over years i, j of c_i c_j s_i s_j r(i, j), with s the standard deviation that belongs to the limits:

  independent   r = 0 between years;
  ar1 r         r(i, j) = r^|i - j|: errors that fade over years; `PERSISTENCE` is an assumption, not an estimate;
  common        r = 1: one error for all years, in proportion to each year's limits;
  bound         sum |c_i| s_i: no correlation whatever can give more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from distributions import Z
from slopes import Array, Limits

DECADE = 10.0
PERSISTENCE = 0.9
"""Autocorrelation of the data set's errors from year to year in the case that is carried into the limits."""

AR1_CASES = (0.5, PERSISTENCE)

Temperature = Sequence[tuple[int, float, float, float]]


def standard_deviations(temperature: Temperature, first: int, last: int) -> tuple[Array, Array]:
    """(years, standard deviation of each year's error in K), from the limits, which are those of a normal error."""
    rows = [row for row in temperature if first <= row[0] <= last]
    years = np.array([row[0] for row in rows], dtype=np.float64)
    return years, np.array([row[3] - row[2] for row in rows]) / (2.0 * Z)


def weighted_deviation(weights: Array, deviations: Array, correlation: Array) -> float:
    """Standard deviation of the weighted sum of errors with these deviations and this correlation matrix."""
    parts = weights * deviations
    return math.sqrt(max(float(np.sum(parts[:, None] * correlation * parts[None, :])), 0.0))


def ar1_correlation(years: Array, persistence: float) -> Array:
    """Correlation matrix of AR(1) errors at the years."""
    return persistence ** np.abs(years[:, None] - years[None, :])


def slope_half_widths(temperature: Temperature, first: int, last: int) -> dict[str, float]:
    """Half widths of the 95 % limits that the data's errors alone give a least-squares slope, K per decade, by case."""
    years, deviations = standard_deviations(temperature, first, last)
    centred = years - years.mean()
    weights = centred / float(np.sum(centred * centred))
    found = {"independent": weighted_deviation(weights, deviations, np.eye(len(years)))}
    for persistence in AR1_CASES:
        correlation = ar1_correlation(years, persistence)
        found[f"ar1 {persistence}"] = weighted_deviation(weights, deviations, correlation)
    found["common"] = abs(float(np.sum(weights * deviations)))
    found["bound"] = float(np.sum(np.abs(weights) * deviations))
    return {case: DECADE * Z * value for case, value in found.items()}


def difference_half_widths(temperature: Temperature, early: Limits, recent: Limits) -> dict[str, float]:
    """Half widths of the 95 % limits of a difference of two period means in K, by case."""
    parts = [standard_deviations(temperature, int(first), int(last))[1] for first, last in (early, recent)]
    means = [float(part.mean()) for part in parts]
    alone = [float(np.sum(part * part)) / len(part) ** 2 for part in parts]
    found = {"independent": math.sqrt(sum(alone)), "one error a period": math.hypot(*means), "bound": sum(means)}
    return {case: Z * value for case, value in found.items()}


def widened(found: Mapping[str, Any], half_width: float) -> Limits:
    """Limits with an independent error added: each side's distance from the value and `half_width` in quadrature.

    On the wide side: what of the errors changes from year to year is in the scatter of the residuals already.
    """
    value = found["value"]
    return value - math.hypot(value - found["lower"], half_width), value + math.hypot(
        found["upper"] - value, half_width
    )
