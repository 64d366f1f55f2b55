"""Slopes of a series and the limits that rest on a formula: independent years, AR(1)-adjusted, HAC.

Sources:
  Theil, H., 1950: A rank-invariant method of linear and polynomial regression analysis. Proc. K. Ned. Akad. Wet. A, 53.
  Sen, P.K., 1968: Estimates of the regression coefficient based on Kendall's tau. J. Am. Stat. Assoc., 63, 1379-1389.
  Santer, B.D. et al., 2008: Consistency of modelled and observed temperature trends in the tropical troposphere.
    Int. J. Climatol., 28, 1703-1722.
  Newey, W.K. and K.D. West, 1987: A simple, positive semi-definite, heteroskedasticity and autocorrelation consistent
    covariance matrix. Econometrica, 55, 703-708; 1994: Automatic lag selection. Rev. Econ. Stud., 61, 631-653.
  Durbin, J. and G.S. Watson, 1950: Testing for serial correlation in least squares regression: I. Biometrika, 37.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from distributions import student_quantile
from numpy.typing import NDArray

Array = NDArray[np.float64]
Limits = tuple[float, float]
SLOPES_AT_ONCE = 60_000
"""Pairwise slopes held in memory at a time: they should fit into a processor's cache."""


def ols_slope(x: Array, y: Array) -> Any:
    """Least-squares slope of y on x; for y of shape (k, n), the k slopes.

    Sums are written out instead of handed to BLAS, whose results may depend on its number of threads.
    """
    centred = x - x.mean()
    return np.sum(y * centred, axis=-1) / np.sum(centred * centred)


@lru_cache(maxsize=256)
def _pairs(n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.triu_indices(n, k=1)


def pairwise_slopes(x: Array, y: Array) -> Array:
    """The slopes between all n (n - 1) / 2 pairs of points."""
    first, second = _pairs(len(x))
    return (y[second] - y[first]) / (x[second] - x[first])


def theil_sen(x: Array, y: Array) -> Any:
    """Median of the slopes between all pairs of points (Theil 1950, Sen 1968); for y of shape (k, n), the k medians.

    Many series at once, which only resampling needs, are computed in single precision: seven digits are plenty there,
    and it takes half the time.
    """
    if y.ndim == 1:
        return float(np.median(pairwise_slopes(x, y)))
    first, second = _pairs(len(x))
    inverse = (1.0 / (x[second] - x[first])).astype(np.float32)
    single = y.astype(np.float32)
    at_once = max(1, SLOPES_AT_ONCE // len(first))
    parts = [single[i : i + at_once] for i in range(0, len(y), at_once)]
    return np.concatenate([_medians(part, first, second, inverse) for part in parts]).astype(np.float64)


def _medians(y: Any, first: Any, second: Any, inverse: Any) -> Any:
    slopes = np.take(y, second, axis=1)
    slopes -= np.take(y, first, axis=1)
    slopes *= inverse
    half = slopes.shape[1] // 2
    slopes.partition(half, axis=1)
    middle = slopes[:, half]
    return middle if slopes.shape[1] % 2 else 0.5 * (middle + slopes[:, :half].max(axis=1))


def lag1(residuals: Array) -> float:
    """Lag-1 autocorrelation of the residuals about their mean, 0 for a constant series."""
    centred = residuals - residuals.mean()
    power = float(np.sum(centred * centred))
    return float(np.sum(centred[1:] * centred[:-1])) / power if power > 0 else 0.0


def durbin_watson(residuals: Array) -> float:
    """Durbin and Watson's (1950) statistic: about 2 for independent residuals, below 2 for positive correlation."""
    steps = np.diff(residuals)
    return float(np.sum(steps * steps) / np.sum(residuals * residuals))


@dataclass(frozen=True)
class Line:
    """A least-squares line: its slope, its residuals, and x about its mean."""

    slope: float
    intercept: float
    residuals: Array
    centred: Array

    @property
    def n(self) -> int:
        return len(self.centred)

    def about(self, variance: float, freedom: float) -> Limits:
        """Limits of the slope from its variance and Student's t."""
        half = student_quantile(freedom) * math.sqrt(variance)
        return self.slope - half, self.slope + half


def fit_line(x: Array, y: Array) -> Line:
    """Least squares, as a `Line`."""
    slope = float(ols_slope(x, y))
    intercept = float(y.mean() - slope * x.mean())
    return Line(slope, intercept, y - intercept - slope * x, x - x.mean())


def independent_limits(line: Line) -> Limits:
    """Textbook limits: residuals independent from step to step, n - 2 degrees of freedom."""
    return _scatter_limits(line, float(line.n))


def effective_size(line: Line) -> float:
    """Effective number of values n (1 - r) / (1 + r), r the residuals' lag-1 autocorrelation; never more than n."""
    r = lag1(line.residuals)
    return min(line.n * (1.0 - r) / (1.0 + r), float(line.n))


def ar1_limits(line: Line) -> Limits:
    """Limits for AR(1) residuals: n replaced by its effective size in the variance and in Student's t (Santer 2008).

    At least one degree of freedom is kept; near it the limits are wide and say little.
    """
    return _scatter_limits(line, max(effective_size(line), 3.0))


def _scatter_limits(line: Line, size: float) -> Limits:
    variance = float(np.sum(line.residuals**2)) / (size - 2.0) / float(np.sum(line.centred**2))
    return line.about(variance, size - 2.0)


def hac_lags(n: int) -> int:
    """Truncation lag of the Bartlett kernel, floor(4 (n / 100)^(2/9)) (Newey and West 1994)."""
    return math.floor(4.0 * (n / 100.0) ** (2.0 / 9.0))


def hac_limits(line: Line) -> Limits:
    """Heteroskedasticity and autocorrelation consistent limits (Newey and West 1987), with the factor n / (n - 2)."""
    scores = line.centred * line.residuals
    lags = hac_lags(line.n)
    total = float(np.sum(scores * scores))
    for lag in range(1, lags + 1):
        total += 2.0 * (1.0 - lag / (lags + 1.0)) * float(np.sum(scores[lag:] * scores[:-lag]))
    variance = total / float(np.sum(line.centred**2)) ** 2 * line.n / (line.n - 2.0)
    return line.about(variance, line.n - 2.0)
