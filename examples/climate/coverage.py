"""What the limits are worth: how often they hold the true slope of simulated series with AR(1) noise.

    python examples/climate/coverage.py [series]

The report holds the same table for a modest number of series.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
from bootstrap import block_length, block_noise, residuals_about, stretched_noise
from distributions import LEVEL, Z
from growth import growth_limits, growth_weights
from kendall import sen_limits
from slopes import Array, Limits, ar1_limits, fit_line, hac_limits, independent_limits, theil_sen

CASES = ((42, 0.0), (42, 0.3), (42, 0.6), (172, 0.8))
"""(years, lag-1 autocorrelation): like 1979-2020 without correlation, as found and doubled, and like 1850-2021."""

METHODS = ("Sen", "block bootstrap, bare", "block bootstrap, stretched", "least squares", "AR(1)-adjusted", "HAC")
GROWTH_CASES = ((43, 0.5), (43, 0.7), (43, 0.8), (43, 0.85))
"""(years, lag-1 autocorrelation): CO2 in 1959-2001 has residuals of about 0.8 from the parabola."""
GROWTH_METHODS = ("end points", "straight line", "rise of the growth rate")
TRUE_SLOPE = 0.02
TRUE_PARABOLA = (338.0, 1.35, 0.0116)
"""CO2 in ppm, its growth a year and half the growth's growth, in the middle of the record."""
RESAMPLES = 199
GROWTH_DRAWS = 1000
SPIN_UP = 100


def ar1_series(random: np.random.Generator, n: int, r: float) -> Array:
    """An AR(1) series of n values after a spin-up, innovations of variance 1."""
    shocks = random.standard_normal(n + SPIN_UP)
    series = np.zeros(n + SPIN_UP)
    for i in range(1, n + SPIN_UP):
        series[i] = r * series[i - 1] + shocks[i]
    return series[SPIN_UP:]


def all_limits(x: Array, y: Array, random: np.random.Generator) -> list[Limits]:
    """Limits of the slope by each of `METHODS`; the bootstrap's are percentiles of `RESAMPLES` resamples."""
    line, slope = fit_line(x, y), theil_sen(x, y)
    residuals = residuals_about(x, y, slope)
    length = block_length(residuals)
    bare = theil_sen(x, block_noise(residuals, length, RESAMPLES, random))
    stretched = theil_sen(x, stretched_noise(residuals, length, RESAMPLES, random))
    tail = 50.0 * (1.0 - LEVEL)
    bootstrapped = [np.percentile(drawn, [tail, 100.0 - tail]) + slope for drawn in (bare, stretched)]
    return [
        sen_limits(x, y),
        *((float(low), float(high)) for low, high in bootstrapped),
        independent_limits(line),
        ar1_limits(line),
        hac_limits(line),
    ]


def coverage(case: int, series: int, seed: int) -> dict[str, Any]:
    """The fraction of `series` simulated series whose limits hold the true slope, for each method of one of `CASES`.

    `error`: the standard error that a fraction near the nominal level has from so many series.
    """
    n, r = CASES[case]
    children = np.random.SeedSequence(seed).spawn(series)
    x = np.arange(n, dtype=np.float64)
    held = np.zeros(len(METHODS))
    for child in children:
        random = np.random.default_rng(child)
        y = TRUE_SLOPE * x + ar1_series(random, n, r)
        held += [low <= TRUE_SLOPE <= high for low, high in all_limits(x, y, random)]
    return {
        "years": n, "autocorrelation": r, "series": series, "error": math.sqrt(LEVEL * (1.0 - LEVEL) / series),
        "held": dict(zip(METHODS, (held / series).tolist(), strict=True)),
    }  # fmt: skip


def growth_coverage(case: int, series: int, seed: int) -> dict[str, Any]:
    """The same for the limits of the growth of CO2, of parabolas with AR(1) noise, of one of `GROWTH_CASES`.

    `wider`: the mean half width, by what the estimates' own scatter would need.
    """
    n, r = GROWTH_CASES[case]
    children = np.random.SeedSequence(seed).spawn(series)
    years = np.arange(n, dtype=np.float64)
    from_middle = years - years.mean()
    level, slope, half_bend = TRUE_PARABOLA
    parabola = level + slope * from_middle + half_bend * from_middle**2
    truth = np.sum(growth_weights(years) * parabola, axis=1)
    found = []
    for child in children:
        random = np.random.default_rng(child)
        found.append(growth_limits(years, parabola + ar1_series(random, n, r), GROWTH_DRAWS, random))
    values, halves = np.array(found).transpose(2, 0, 1)
    held = np.mean(np.abs(values - truth) <= halves, axis=0)
    wider = halves.mean(axis=0) / (Z * values.std(axis=0))
    return {
        "years": n, "autocorrelation": r, "series": series, "error": math.sqrt(LEVEL * (1.0 - LEVEL) / series),
        "held": dict(zip(GROWTH_METHODS, held.tolist(), strict=True)),
        "wider": dict(zip(GROWTH_METHODS, wider.tolist(), strict=True)),
    }  # fmt: skip


def main(series: int) -> None:
    """Print the tables."""
    tables = [coverage(case, series, 1958) for case in range(len(CASES))]
    tables += [growth_coverage(case, series, 1958) for case in range(len(GROWTH_CASES))]
    for found in tables:
        shares = "  ".join(f"{method} {100 * share:.1f} %" for method, share in found["held"].items())
        print(f"{found['years']} years, r = {found['autocorrelation']}: {shares}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
