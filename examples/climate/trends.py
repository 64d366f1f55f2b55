"""Trends of global mean temperature: one period, its slopes, and every kind of limits beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bootstrap import (
    block_length,
    block_noise,
    percentiles,
    residuals_about,
    slope_with_limits,
    widening,
)
from estimates import RESIDUAL_BLOCKS, between, estimate, scaled
from kendall import mann_kendall, sen_limits
from measurement import PERSISTENCE, slope_half_widths, widened
from slopes import (
    ar1_limits,
    durbin_watson,
    effective_size,
    fit_line,
    hac_lags,
    hac_limits,
    independent_limits,
    lag1,
    theil_sen,
)

DECADE = 10.0
PERIODS = ((1979, 2020), (1951, 2012), (1850, 2021))
LONG_PERIOD = ((1850, 1900), (2011, 2020))
DATA_LIMITS = (
    "95 % limits of the data set's own errors, normal, if these are the same in all years of a period and independent "
    "between the two: an assumption"
)
LENGTHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 36, 43)
"""Block lengths in years whose effect is shown, as far as they go up to a quarter of the period."""

Temperature = Sequence[tuple[int, float, float, float]]


def period_trend(temperature: Temperature, first: int, last: int, resamples: int, seed: int) -> dict[str, Any]:
    """One period, in K per decade: `estimate` (Theil-Sen), `limits` by six methods, `kendall`, `measurement`."""
    years, values = between(temperature, first, last)
    period = f"{first}-{last}"
    robust = scaled(slope_with_limits(years, values, resamples, np.random.default_rng(seed)), DECADE)
    line = fit_line(years, values)
    errors = slope_half_widths(temperature, first, last)
    both = widened(robust, errors[f"ar1 {PERSISTENCE}"])
    row = estimate(
        f"temperature-trend-{period}", "Trend of global mean temperature", period, "K per decade",
        "Theil-Sen slope of annual means", source="temperature", limits_method=RESIDUAL_BLOCKS, **robust,
        with_data_errors=list(both),
    )  # fmt: skip
    slope, blocks = DECADE * line.slope, f"blocks of {robust['block_length']} years"
    effective = f"{effective_size(line):.1f} effective years"
    stretched = f"{blocks} (Künsch 1989), stretched by our own rule"
    with_errors = f"AR(1) errors, {PERSISTENCE} a year"
    rows = [
        ("Theil-Sen", "independent years (Sen 1968)", robust["value"], sen_limits(years, values), "variance of S"),
        ("Theil-Sen", "block bootstrap, stretched", robust["value"], None, stretched),
        ("Theil-Sen", "block bootstrap, stretched, and data errors", robust["value"], None, with_errors),
        ("Least squares", "independent years", slope, independent_limits(line), f"{line.n - 2} degrees of freedom"),
        ("Least squares", "AR(1)-adjusted (Santer et al. 2008)", slope, ar1_limits(line), effective),
        ("Least squares", "HAC (Newey and West 1987)", slope, hac_limits(line), f"{hac_lags(line.n)} lags"),
    ]  # fmt: skip
    given = {1: (robust["lower"], robust["upper"]), 2: both}
    limits = []
    for number, (fit, method, value, bare, detail) in enumerate(rows):
        lower, upper = given[number] if bare is None else (DECADE * bare[0], DECADE * bare[1])
        limits.append({"fit": fit, "limits": method, "value": value, "lower": lower, "upper": upper, "detail": detail})
    return {
        "period": period, "estimate": row, "limits": limits, "kendall": mann_kendall(years, values),
        "measurement": errors, "lag1": lag1(line.residuals), "durbin_watson": durbin_watson(line.residuals),
    }  # fmt: skip


def block_effect(temperature: Temperature, first: int, last: int, resamples: int, seed: int) -> dict[str, Any]:
    """How the limits of one period depend on the block length: `rows` of (years, half width, half width stretched).

    In K per decade; `rule` is the length that the rule chooses. Every length has random numbers of its own.
    """
    years, values = between(temperature, first, last)
    slope = theil_sen(years, values)
    residuals = residuals_about(years, values, slope)
    children = np.random.SeedSequence(seed).spawn(len(LENGTHS))
    rows = []
    for length, child in zip(LENGTHS, children, strict=True):
        if length > len(years) // 4:
            break
        drawn = theil_sen(years, block_noise(residuals, length, resamples, np.random.default_rng(child)))
        low, high = percentiles(drawn)
        half = 0.5 * DECADE * (high - low)
        rows.append((length, half, half * widening(residuals, length)))
    return {"period": f"{first}-{last}", "rule": block_length(residuals), "rows": rows}


def warming(temperature: Temperature, errors: Mapping[str, float]) -> dict[str, Any]:
    """Difference of two period means in K; its limits are the data set's errors alone, see `measurement`."""
    (first, last), (recent_first, recent_last) = LONG_PERIOD
    early = between(temperature, first, last)[1]
    recent = between(temperature, recent_first, recent_last)[1]
    value = float(recent.mean() - early.mean())
    half = errors["one error a period"]
    note = (
        "The limits are those of the data set for one assumed correlation: one error common to all years of a period "
        f"and none common to the two. Independent years would give ± {errors['independent']:.2f} K; no correlation of "
        f"the errors gives more than ± {errors['bound']:.2f} K. The ensemble of the data set would tell."
    )
    return estimate(
        "warming", "Difference of mean temperature", f"{recent_first}-{recent_last} minus {first}-{last}", "K",
        "Difference of the means of annual anomalies", source="temperature", value=value, lower=value - half,
        upper=value + half, limits_method=DATA_LIMITS,
        n=len(early) + len(recent), note=note,
    )  # fmt: skip
