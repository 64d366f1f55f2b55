"""Quantiles and tail probabilities of the two distributions that the limits need, without scipy."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np

LEVEL = 0.95
"""The level of every limit in the report: how often limits would hold the truth if their model were right."""

TAIL = 0.5 + LEVEL / 2
Z = NormalDist().inv_cdf(TAIL)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(80)


def student_probability(t: float, freedom: float) -> float:
    """P(T <= t) for Student's t with a whole or broken number of degrees of freedom, to about ten digits.

    With t = sqrt(freedom) tan(a) the density becomes cos(a)^(freedom - 1), which Gauss-Legendre integrates well.
    """
    half = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    angle = math.atan(t / math.sqrt(freedom))
    places = 0.5 * angle * (_NODES + 1.0)
    return 0.5 + half * 0.5 * angle * float(np.sum(_WEIGHTS * np.cos(places) ** (freedom - 1.0)))


@lru_cache
def student_quantile(freedom: float, probability: float = TAIL) -> float:
    """The t that P(T <= t) = probability > 0.5 has, by bisection. ValueError below one degree of freedom."""
    if freedom < 1.0:
        raise ValueError(f"{freedom:g} degrees of freedom; a limit needs at least 1, so take a longer series")
    low, high = 0.0, 700.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if student_probability(middle, freedom) < probability else (low, middle)
    return 0.5 * (low + high)


def two_sided(z: float) -> float:
    """P(|Z| >= |z|) of the standard normal distribution."""
    return math.erfc(abs(z) / math.sqrt(2.0))
