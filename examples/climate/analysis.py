"""The analysis as a list of independent items, and what they make together.

An item is a name, a function and plain arguments: it can be computed in any order and any process, and be kept. numpy
stays inside: what leaves a function is plain Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import coverage
import growth
import measurement
import trends
import triangle
from association import association
from carbon import growth_rates
from seasonal import seasonal_cycle

BLOCK_PERIODS = ((1979, 2020), (1850, 2021))


@dataclass(frozen=True)
class Effort:
    """How much is computed: `resamples` of each estimate and of each period of the triangle, `series` for the coverage
    of the limits, `every` how many years apart the triangle's first and last years lie (1: all)."""

    resamples: int
    triangle_resamples: int
    series: int
    every: int = 1


@dataclass(frozen=True)
class Item:
    """One piece of work but for the triangle: `function(*arguments)`, under a name of its own, with that `seed`."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    seed: int


def items(state: Mapping[str, Any], seed: Callable[[str], int], effort: Effort) -> list[Item]:
    """All of it, in the order in which it is done; `seed` gives the one that belongs to a name."""
    temperature, prepared = state["temperature_annual"], state["prepared"]
    found: list[Item] = []

    def add(name: str, function: Callable[..., Any], *arguments: Any) -> None:
        """`arguments` and the seed, in this order, are what the function takes."""
        found.append(Item(name, function, (*arguments, own := seed(name)), own))

    for first, last in trends.PERIODS:
        add(f"trend {first}-{last}", trends.period_trend, temperature, first, last, effort.resamples)
    for first, last in BLOCK_PERIODS:
        add(f"blocks {first}-{last}", trends.block_effect, temperature, first, last, effort.resamples)
    add("co2 growth", growth.co2_growth, prepared["annual"], effort.resamples)
    add("seasonal cycle", seasonal_cycle, prepared["curve"]["weeks"], effort.resamples)
    add("association", association, state["aligned"], prepared["bare_annual"], effort.resamples)
    for case in range(len(coverage.CASES)):
        add(f"coverage {case + 1}", coverage.coverage, case, effort.series)
    for case in range(len(coverage.GROWTH_CASES)):
        add(f"growth coverage {case + 1}", coverage.growth_coverage, case, effort.series)
    return found


def assemble(
    state: Mapping[str, Any], found: Mapping[str, Any], pieces: Sequence[triangle.Piece], effort: Effort
) -> dict[str, Any]:
    """Everything the report shows: `estimates` in reading order, tables, and the series behind the figures.

    `found` is what the items gave, by name, `pieces` is the trend triangle.
    """
    prepared, temperature = state["prepared"], state["temperature_annual"]
    annual = prepared["annual"]
    periods = [found[f"trend {first}-{last}"] for first, last in trends.PERIODS]
    season, together = found["seasonal cycle"], found["association"]
    errors = measurement.difference_half_widths(temperature, *trends.LONG_PERIOD)
    carbon = [*found["co2 growth"], *growth.decade_growth(annual), *season["estimates"]]
    return {
        "estimates": [
            *(period.pop("estimate") for period in map(dict, periods)),
            trends.warming(temperature, errors),
            *carbon,
            *together["estimates"],
        ],
        "trends": [{key: value for key, value in period.items() if key != "estimate"} for period in periods],
        "warming_errors": errors,
        "block_effect": [found[f"blocks {first}-{last}"] for first, last in BLOCK_PERIODS],
        "coverage": [found[f"coverage {case + 1}"] for case in range(len(coverage.CASES))],
        "growth_coverage": [found[f"growth coverage {case + 1}"] for case in range(len(coverage.GROWTH_CASES))],
        "triangle": {
            "summary": triangle.summary(pieces, effort.triangle_resamples, effort.every),
            "pieces": list(pieces),
        },
        "annual_growth": growth.annual_growth(annual),
        "growth_rates": growth_rates(prepared["curve"]),
        "seasonal_cycle": season["cycle"],
        "seasonal_curve": season["curve"],
        "seasonal_sizes": season["sizes"],
        "association_line": {"intercept": together["intercept"], "slope": together["estimates"][0]["value"]},
        "association_limits": together["limits"],
    }
