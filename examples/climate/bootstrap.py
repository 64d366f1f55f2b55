"""Robust slopes and limits that allow for serial correlation, all repeatable from one seed.

Sources:
  Theil, H., 1950: A rank-invariant method of linear and polynomial regression analysis. Proc. K. Ned. Akad. Wet. A, 53.
  Sen, P.K., 1968: Estimates of the regression coefficient based on Kendall's tau. J. Am. Stat. Assoc., 63, 1379-1389.
  Kunsch, H.R., 1989: The jackknife and the bootstrap for general stationary observations. Ann. Stat., 17, 1217-1241.
  Carlstein, E., 1986: The use of subseries values for estimating the variance of a general statistic. Ann. Stat., 14.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
NORMAL_975 = 1.959964
PAIRS_AT_ONCE = 2_000_000
"""Pairwise slopes held in memory at a time (16 MB)."""


@dataclass(frozen=True)
class Resampling:
    """How often to resample, from which seed, and what fraction of the resamples the limits hold."""

    seed: int
    resamples: int
    level: float = 0.95

    def stream(self, name: str) -> np.random.Generator:
        """The random numbers of one named estimate: independent of every other name and of the order of computing."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(zlib.crc32(name.encode()),)))

    def limits(self, values: Array) -> tuple[float, float]:
        """The percentile limits of the resampled values."""
        tail = 50.0 * (1.0 - self.level)
        low, high = np.percentile(values, [tail, 100.0 - tail])
        return float(low), float(high)


def ols_slope(x: Array, y: Array) -> float | Array:
    """Least-squares slope of y on x; for y of shape (k, n), the k slopes.

    Sums are written out instead of handed to BLAS, whose results may depend on its number of threads.
    """
    centred = x - x.mean()
    return np.sum(y * centred, axis=-1) / np.sum(centred * centred)


def theil_sen(x: Array, y: Array) -> float | Array:
    """Median of the slopes between all pairs of points (Theil 1950, Sen 1968); for y of shape (k, n), the k medians."""
    first, second = np.triu_indices(len(x), k=1)
    apart = x[second] - x[first]
    if y.ndim == 1:
        return float(np.median((y[second] - y[first]) / apart))
    at_once = max(1, PAIRS_AT_ONCE // len(first))
    parts = [y[i : i + at_once] for i in range(0, len(y), at_once)]
    return np.concatenate([np.median((part[:, second] - part[:, first]) / apart, axis=1) for part in parts])


def lag1(residuals: Array) -> float:
    """Lag-1 autocorrelation of the residuals about their mean, 0 for a constant series."""
    centred = residuals - residuals.mean()
    power = float(np.sum(centred * centred))
    return float(np.sum(centred[1:] * centred[:-1])) / power if power > 0 else 0.0


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


def widening(residuals: Array, length: int, parameters: int) -> float:
    """The factor by which resampled residuals are stretched, because blocks of a short series vary too little.

    Three parts, for an AR(1) series with the corrected lag-1 autocorrelation r: the correlation that ends at the
    blocks' edges; the degrees of freedom that the fit used, out of n (1 - r) / (1 + r) effective ones; and Student's t
    instead of the normal distribution (first Cornish-Fisher term at 95 %). Without it 95 % limits of 42 years held the
    truth in 75 to 86 % of simulated series, with it in 87 to 91 %.
    """
    n = len(residuals)
    r = corrected_lag1(residuals)
    lags = np.arange(1, length)
    kept = 1.0 + 2.0 * float(np.sum((1.0 - lags / length) * r**lags))
    freedom = max(n * (1.0 - r) / (1.0 + r) - parameters, 3.0)
    student = 1.0 + (NORMAL_975 * NORMAL_975 + 1.0) / (4.0 * freedom)
    return math.sqrt((1.0 + r) / (1.0 - r) / kept * (freedom + parameters) / freedom) * student


def moving_blocks(n: int, length: int, resamples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices of shape (resamples, n): blocks of `length` consecutive values drawn with replacement (Kunsch 1989)."""
    blocks = math.ceil(n / length)
    starts = rng.integers(0, n - length + 1, size=(resamples, blocks))
    within = np.arange(length)
    return (starts[:, :, None] + within).reshape(resamples, blocks * length)[:, :n]


def resampled_residuals(residuals: Array, length: int, name: str, plan: Resampling, parameters: int = 2) -> Array:
    """Moving-block resamples of residuals, shape (resamples, n), with mean zero at every position.

    They are stretched by `widening`; `parameters` counts what the fit that left the residuals has estimated.
    """
    n = len(residuals)
    drawn = residuals[moving_blocks(n, length, plan.resamples, plan.stream(name))]
    means = np.array([residuals[k : n - length + 1 + k].mean() for k in range(length)])
    return (drawn - np.resize(means, n)) * widening(residuals, length, parameters)


def slope_with_limits(
    x: Array, y: Array, name: str, plan: Resampling, slope: Callable[[Array, Array], Any] = theil_sen
) -> dict[str, float | int]:
    """A slope, its limits, and how they came about: `value lower upper n block_length lag1`; y units per x unit.

    The residuals about the fitted line are resampled in blocks and put back on the line; the limits are percentiles of
    the slopes that follow. Years stay where they are, so neither the trend nor the calendar is shuffled. `name` picks
    the random numbers.
    """
    value = float(slope(x, y))
    residuals = y - value * x
    residuals = residuals - np.median(residuals)
    length = block_length(residuals)
    noise = resampled_residuals(residuals, length, name, plan)
    lower, upper = plan.limits(value + slope(x, noise))
    found = {"value": value, "lower": lower, "upper": upper}
    return {**found, "n": len(x), "block_length": length, "lag1": lag1(residuals)}
