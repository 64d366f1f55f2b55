"""Temperature against log2 CO2 over the years that both records share: an association, and what speaks against more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from bootstrap import slope_with_limits
from distributions import Z
from estimates import RESIDUAL_BLOCKS, estimate
from slopes import (
    Array,
    ar1_limits,
    durbin_watson,
    effective_size,
    fit_line,
    hac_lags,
    hac_limits,
    independent_limits,
    ols_slope,
)

CAVEAT = (
    "An association over this period, not a climate sensitivity: other forcings, the ocean's delay and internal "
    "variability are all in it, and two series that both rise correlate whatever joins them."
)


def changes_correlation(first: Array, second: Array) -> float:
    """Pearson correlation of the first differences."""
    return float(np.corrcoef(np.diff(first), np.diff(second))[0, 1])


def fisher_limits(correlation: float, n: int) -> tuple[float, float]:
    """Limits of a correlation of n independent pairs, by Fisher's transformation."""
    middle, half = math.atanh(correlation), Z / math.sqrt(n - 3)
    return math.tanh(middle - half), math.tanh(middle + half)


def association(
    aligned: Sequence[tuple[int, float, float]], bare_annual: Sequence[tuple[int, float]], resamples: int, seed: int
) -> dict[str, Any]:
    """`estimates`, `limits` of the slope by several methods, and the line's `intercept` at log2(ppm) = 0."""
    doublings = np.log2(np.array([row[1] for row in aligned]))
    kelvin = np.array([row[2] for row in aligned])
    period = f"{aligned[0][0]}-{aligned[-1][0]}"
    found = slope_with_limits(doublings, kelvin, resamples, np.random.default_rng(seed), ols_slope)
    line = fit_line(doublings, kelvin)
    slope = estimate(
        "association", "Temperature associated with a doubling of CO2", period, "K per doubling",
        "Least-squares slope of annual temperature on log2 of annual CO2", source="both", limits_method=RESIDUAL_BLOCKS,
        **found, note=CAVEAT,
    )  # fmt: skip
    watson = estimate(
        "association-durbin-watson", "Durbin-Watson statistic of that line", period, "no unit",
        "Durbin and Watson 1950, of the least-squares residuals", source="both", value=durbin_watson(line.residuals),
        n=line.n, note="About 2 would be residuals without serial correlation; below it, neighbouring years deviate "
        "alike, and limits for independent years are too narrow.",
    )  # fmt: skip
    plain = dict(bare_annual)
    bare = changes_correlation(np.log2(np.array([plain[row[0]] for row in aligned])), kelvin)
    changes = changes_correlation(doublings, kelvin)
    lower, upper = fisher_limits(changes, line.n - 1)
    correlation = estimate(
        "association-changes", "Correlation of year-to-year changes", period, "no unit",
        "Pearson correlation of first differences of temperature and log2 CO2", source="both", value=changes,
        lower=lower, upper=upper, limits_method="95 % limits, Fisher's transformation, independent years", n=line.n - 1,
        note=f"Free of the common trend. With bare means of the weekly values it is {bare:.2f}: the gap in the spring "
        "of 1964 then lowers that year's mean. Warm (El Nino) years release carbon: the direction of cause is open.",
    )  # fmt: skip
    rows = [
        (
            "block bootstrap, stretched",
            (found["lower"], found["upper"]),
            f"blocks of {found['block_length']} years (Künsch 1989), stretched by our own rule",
        ),
        ("independent years", independent_limits(line), f"{line.n - 2} degrees of freedom"),
        ("AR(1)-adjusted (Santer et al. 2008)", ar1_limits(line), f"{effective_size(line):.1f} effective years"),
        ("HAC (Newey and West 1987)", hac_limits(line), f"{hac_lags(line.n)} lags"),
    ]
    limits = [
        {"fit": "Least squares", "limits": name, "value": line.slope, "lower": low, "upper": high, "detail": detail}
        for name, (low, high), detail in rows
    ]
    return {"estimates": [slope, watson, correlation], "limits": limits, "intercept": line.intercept}
