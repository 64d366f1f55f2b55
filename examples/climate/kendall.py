"""Mann and Kendall's test for a monotonic trend, plain and corrected for serial correlation; Sen's limits of a slope.

Sources:
  Mann, H.B., 1945: Nonparametric tests against trend. Econometrica, 13, 245-259.
  Kendall, M.G., 1975: Rank Correlation Methods. 4th edition, Griffin.
  Hamed, K.H. and A.R. Rao, 1998: A modified Mann-Kendall trend test for autocorrelated data. J. Hydrol., 204, 182-196.
  Sen, P.K., 1968: Estimates of the regression coefficient based on Kendall's tau. J. Am. Stat. Assoc., 63, 1379-1389.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from distributions import Z, two_sided
from slopes import Array, Limits, pairwise_slopes, theil_sen


def kendall_variance(y: Array) -> float:
    """Variance of S for independent values, with the correction for ties."""
    n = len(y)
    _, sizes = np.unique(y, return_counts=True)
    ties = float(np.sum(sizes * (sizes - 1) * (2 * sizes + 5)))
    return (n * (n - 1) * (2 * n + 5) - ties) / 18.0


def _score(y: Array) -> int:
    return int(np.sum(np.sign(y[None, :] - y[:, None])[np.triu_indices(len(y), k=1)]))


def _standardised(score: int, variance: float) -> float:
    """S less its continuity correction, in standard deviations."""
    return (score - math.copysign(1, score)) / math.sqrt(variance) if score else 0.0


def average_ranks(y: Array) -> Array:
    """Ranks from 1; ties share the mean of theirs."""
    _, where, sizes = np.unique(y, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    return (last - (sizes - 1) / 2.0)[where]


def autocorrelations(y: Array) -> Array:
    """Autocorrelations at lags 1 to n - 1."""
    centred = y - y.mean()
    power = np.sum(centred * centred)
    return np.array([np.sum(centred[lag:] * centred[:-lag]) for lag in range(1, len(y))]) / power


def variance_factor(x: Array, y: Array) -> tuple[float, int]:
    """Hamed and Rao's n / n*: (the factor of the variance of S, how many lags counted).

    From the autocorrelations of the ranks of the series less its Theil-Sen line, those that differ from zero at the
    5 % level; never below 1, so that the correction can only widen. The two points that give the median slope tie on
    that line: rounding keeps the arithmetic's last digit from ranking them.
    """
    n = len(y)
    found = autocorrelations(average_ranks(np.round(y - theil_sen(x, y) * (x - x[0]), 9)))
    lags = np.arange(1, n)
    counted = np.abs(found) > Z / math.sqrt(n)
    terms = (n - lags) * (n - lags - 1.0) * (n - lags - 2.0) * found
    factor = 1.0 + 2.0 / (n * (n - 1.0) * (n - 2.0)) * float(np.sum(terms[counted]))
    return max(factor, 1.0), int(np.sum(counted))


def mann_kendall(x: Array, y: Array) -> dict[str, Any]:
    """`score` S, `z` and `p` (two-sided) plain, and the same corrected: `factor lags z_corrected p_corrected`."""
    score, variance = _score(y), kendall_variance(y)
    factor, lags = variance_factor(x, y)
    z, corrected = _standardised(score, variance), _standardised(score, variance * factor)
    return {
        "n": len(y), "score": score, "z": z, "p": two_sided(z),
        "factor": factor, "lags": lags, "z_corrected": corrected, "p_corrected": two_sided(corrected),
    }  # fmt: skip


def sen_limits(x: Array, y: Array) -> Limits:
    """Limits of the Theil-Sen slope from the variance of S (Sen 1968): the years count as independent."""
    ordered = np.sort(pairwise_slopes(x, y))
    reach = Z * math.sqrt(kendall_variance(y))
    low = max(round((len(ordered) - reach) / 2.0) - 1, 0)
    high = min(round((len(ordered) + reach) / 2.0), len(ordered) - 1)
    return float(ordered[low]), float(ordered[high])
