"""Limits that allow for serial correlation: the moving-block bootstrap, repeatable from its seed.

Sources:
  Künsch, H.R., 1989: The jackknife and the bootstrap for general stationary observations. Ann. Stat., 17, 1217-1241.
  Carlstein, E., 1986: The use of subseries values for estimating the variance of a general statistic. Ann. Stat., 14.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from distributions import LEVEL, Z
from numpy.typing import NDArray
from slopes import Array, Limits, lag1, theil_sen


def percentiles(values: Array) -> Limits:
    """The percentile limits of the resampled values."""
    tail = 50.0 * (1.0 - LEVEL)
    low, high = np.percentile(values, [tail, 100.0 - tail])
    return float(low), float(high)


def corrected_lag1(residuals: Array) -> float:
    """`lag1` freed of the bias that fitting a straight line brings: (n r + 2) / (n - 4), kept within 0 to 0.97."""
    n = len(residuals)
    return min(max((n * lag1(residuals) + 2.0) / (n - 4.0), 0.0), 0.97)


def block_length(residuals: Array) -> int:
    """Block length in steps: Carlstein's (1986) rule for an AR(1) series, at least n^(1/3), at most n / 4.

    With r the corrected lag-1 autocorrelation: (sqrt(6) r / (1 - r^2))^(2/3) * n^(1/3), rounded up.
    """
    n = len(residuals)
    r = corrected_lag1(residuals)
    rule = (math.sqrt(6.0) * r / (1.0 - r * r)) ** (2 / 3) * n ** (1 / 3)
    return max(1, min(max(math.ceil(rule), math.ceil(n ** (1 / 3))), n // 4))


def widening(residuals: Array, length: int, parameters: int = 2) -> float:
    """The factor by which resampled residuals are stretched, because blocks of a short series vary too little.

    Three parts, for an AR(1) series with the corrected lag-1 autocorrelation r: the correlation that ends at the
    blocks' edges; the degrees of freedom that the fit used, out of n (1 - r) / (1 + r) effective ones; and Student's t
    instead of the normal distribution (first Cornish-Fisher term). `coverage` shows what it is good for.
    """
    n = len(residuals)
    r = corrected_lag1(residuals)
    lags = np.arange(1, length)
    kept = 1.0 + 2.0 * float(np.sum((1.0 - lags / length) * r**lags))
    freedom = max(n * (1.0 - r) / (1.0 + r) - parameters, 3.0)
    student = 1.0 + (Z * Z + 1.0) / (4.0 * freedom)
    return math.sqrt((1.0 + r) / (1.0 - r) / kept * (freedom + parameters) / freedom) * student


def moving_blocks(n: int, length: int, resamples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of shape (resamples, n): blocks of `length` consecutive values drawn with replacement (Künsch 1989)."""
    blocks = math.ceil(n / length)
    starts = rng.integers(0, n - length + 1, size=(resamples, blocks))
    within = np.arange(length)
    return (starts[:, :, None] + within).reshape(resamples, blocks * length)[:, :n]


def block_noise(residuals: Array, length: int, resamples: int, rng: np.random.Generator) -> Array:
    """Moving-block resamples of residuals, shape (resamples, n), with mean zero at every position; not stretched."""
    n = len(residuals)
    drawn = residuals[moving_blocks(n, length, resamples, rng)]
    sums = np.concatenate([[0.0], np.cumsum(residuals)])
    starts = n - length + 1
    means = (sums[starts : starts + length] - sums[:length]) / starts
    return drawn - np.resize(means, n)


def stretched_noise(
    residuals: Array, length: int, resamples: int, rng: np.random.Generator, parameters: int = 2
) -> Array:
    """`block_noise` times `widening`; `parameters` counts what the fit that left the residuals has estimated."""
    return block_noise(residuals, length, resamples, rng) * widening(residuals, length, parameters)


def residuals_about(x: Array, y: Array, slope: float) -> Array:
    """What a line of this slope leaves, about the line's own middle."""
    rest = y - slope * (x - x[0])
    return rest - np.median(rest)


def slope_with_limits(
    x: Array, y: Array, resamples: int, rng: np.random.Generator, slope: Callable[[Array, Array], Any] = theil_sen
) -> dict[str, float | int]:
    """A slope, its limits, and how they came about: `value lower upper n block_length lag1`; y units per x unit.

    The residuals about the fitted line are resampled in blocks and put back on the line; the limits are percentiles of
    the slopes that follow. Years stay where they are, so neither the trend nor the calendar is shuffled.
    """
    value = float(slope(x, y))
    residuals = residuals_about(x, y, value)
    length = block_length(residuals)
    lower, upper = percentiles(value + slope(x, stretched_noise(residuals, length, resamples, rng)))
    found = {"value": value, "lower": lower, "upper": upper}
    return {**found, "n": len(x), "block_length": length, "lag1": lag1(residuals)}
