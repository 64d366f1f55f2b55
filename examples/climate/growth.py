"""Growth of CO2 from its annual means: over the whole record, how it changed, decade by decade.

Source of the average over the autocorrelation:
  Kennedy, P. and D. Simons, 1991: Fighting the teflon factor: comparing classical and Bayesian estimators for
    autocorrelated errors. J. Econometrics, 48, 15-27.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from distributions import LEVEL
from estimates import between, estimate
from slopes import Array, ols_slope

DECADES = range(1960, 2000, 10)
PARAMETERS = 3
"""What a parabola has."""
AUTOCORRELATIONS = np.arange(100) / 100.0
LIMITS = "95 % limits for AR(1) residuals about a parabola, averaged over their autocorrelation"
NOTE = "Residuals about a parabola: the limits tell year-to-year variation, not that the growth rate changed."

Annual = Sequence[tuple[int, float]]


def co2_growth(annual: Annual, resamples: int, seed: int) -> list[dict[str, Any]]:
    """Growth in ppm per year: end points, least squares, and how fast the growth itself grew.

    The record bends upwards. Residuals are therefore taken about a parabola, so that the bend does not pass for noise.
    """
    years, ppm = between(annual, annual[0][0], annual[-1][0])
    period, unit = f"{annual[0][0]}-{annual[-1][0]}", "ppm per year"
    named = [
        ("co2-growth-ends", "Growth of CO2, end points", unit, "Last minus first annual mean, by their distance"),
        ("co2-growth-ols", "Growth of CO2, straight line", unit, "Least-squares slope of annual means"),
        ("co2-acceleration", "Rise of the CO2 growth rate", f"{unit} per decade", "Least-squares parabola"),
    ]
    found = []
    measured = growth_limits(years, ppm, resamples, np.random.default_rng(seed))
    for (name, quantity, measured_in, method), (value, half) in zip(named, measured, strict=True):
        row = estimate(
            name, quantity, period, measured_in, f"{method}; gaps filled from the fitted curve", source="co2",
            value=value, lower=value - half, upper=value + half, limits_method=LIMITS, n=len(years), note=NOTE,
        )  # fmt: skip
        found.append(row)
    return found


def growth_weights(years: Array) -> Array:
    """The weights of the annual means in the three measures of growth, shape (3, n): each measure is a weighted sum."""
    one = np.eye(len(years))
    ends = (one[-1] - one[0]) / (years[-1] - years[0])
    return np.stack([ends, ols_slope(years, one), 10.0 * curvature(years, one)])


def growth_limits(years: Array, ppm: Array, draws: int, random: np.random.Generator) -> list[tuple[float, float]]:
    """(value, half width of the 95 % limits) of each of `growth_weights`, for a parabola with AR(1) residuals.

    The autocorrelation r is not known from so few years. Each r of a grid counts as its restricted likelihood says, and
    gives the weighted sum the variance w' R(r) w s(r)^2, with R its correlation matrix and s(r)^2 the variance of the
    residuals; the error is then Student's t with n - 3 degrees of freedom. An average over r in place of a single best
    one is what Kennedy and Simons (1991) recommend. Half widths are quantiles of `draws` such errors.
    """
    count = len(years)
    weights, projected = growth_weights(years), _grid(count)
    residuals, _ = about_parabola(years, ppm)
    squares = np.einsum("i,rij,j->r", residuals, projected.inverse, residuals)
    likelihood = projected.log_scale - 0.5 * (count - PARAMETERS) * np.log(squares)
    share = np.exp(likelihood - likelihood.max())
    chosen = random.choice(len(share), size=draws, p=share / share.sum())
    spread = np.sqrt(np.einsum("ki,rij,kj->rk", weights, projected.correlation, weights))
    spread *= np.sqrt(squares / (count - PARAMETERS))[:, None]
    errors = np.abs(random.standard_t(count - PARAMETERS, size=draws))[:, None] * spread[chosen]
    halves = np.quantile(errors, LEVEL, axis=0)
    return [(float(value), float(half)) for value, half in zip(np.sum(weights * ppm, axis=1), halves, strict=True)]


@dataclass(frozen=True)
class _Grid:
    """For each r: the correlation matrix R, its inverse within the space of the residuals about a parabola, and the
    logarithm of what the restricted likelihood has beside the residuals' sum of squares."""

    correlation: Array
    inverse: Array
    log_scale: Array


@lru_cache
def _grid(count: int) -> _Grid:
    step = np.arange(count, dtype=np.float64)
    parabola = np.stack([np.ones(count), step - step.mean(), (step - step.mean()) ** 2], axis=1)
    parabola /= np.sqrt(np.sum(parabola**2, axis=0))
    found = []
    for r in AUTOCORRELATIONS:
        correlation = r ** np.abs(step[:, None] - step[None, :])
        bare = np.diag(np.r_[1.0, np.full(count - 2, 1.0 + r * r), 1.0])
        bare = (bare - r * (np.eye(count, k=1) + np.eye(count, k=-1))) / (1.0 - r * r)
        projected = np.einsum("ij,jk->ik", bare, parabola)
        inner = np.einsum("ij,ik->jk", parabola, projected)
        inverse = bare - np.einsum("ij,jk,lk->il", projected, np.linalg.inv(inner), projected)
        log_scale = -0.5 * ((count - 1) * math.log1p(-r * r) + np.linalg.slogdet(inner)[1])
        found.append((correlation, inverse, log_scale))
    return _Grid(*(np.array(part) for part in zip(*found, strict=True)))


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
