"""The analysis as a list of independent items, and what they make together.

An item is a name, a function and plain arguments: it can be computed in any order and any process, and be kept. numpy
stays inside: what leaves a function is plain Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import coverage
import growth
import measurement
import trends
import triangle
from association import association
from carbon import growth_rates
from seasonal import seasonal_cycle

TRIANGLE = "triangle from "
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
    """One piece of work, `function(*arguments)`, under a name of its own.

    `number` counts all items from 1, `of_kind` those of the triangle and the others apart.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    number: int = 0
    of_kind: int = 0

    @property
    def of_triangle(self) -> bool:
        return self.name.startswith(TRIANGLE)


def items(state: Mapping[str, Any], seed: int, effort: Effort) -> list[Item]:
    """All pieces of work, the short ones first, then one for each first year of the triangle."""
    short, long = list(_short_items(state, seed, effort)), list(_triangle_items(state, seed, effort))
    return [
        replace(item, number=before + place, of_kind=place)
        for before, part in ((0, short), (len(short), long))
        for place, item in enumerate(part, 1)
    ]


def _short_items(state: Mapping[str, Any], seed: int, effort: Effort) -> Iterator[Item]:
    temperature, prepared = state["temperature_annual"], state["prepared"]
    size = (seed, effort.resamples)
    for first, last in trends.PERIODS:
        yield Item(f"trend {first}-{last}", trends.period_trend, (temperature, first, last, *size))
    for first, last in BLOCK_PERIODS:
        yield Item(f"blocks {first}-{last}", trends.block_effect, (temperature, first, last, *size))
    yield Item("co2 growth", growth.co2_growth, (prepared["annual"], *size))
    yield Item("seasonal cycle", seasonal_cycle, (prepared["curve"]["weeks"], *size))
    yield Item("association", association, (prepared["aligned"], prepared["bare_annual"], *size))
    for case in range(len(coverage.CASES)):
        yield Item(f"coverage {case + 1}", coverage.coverage, (case, effort.series, seed))
    for case in range(len(coverage.GROWTH_CASES)):
        yield Item(f"growth coverage {case + 1}", coverage.growth_coverage, (case, effort.series, seed))


def _triangle_items(state: Mapping[str, Any], seed: int, effort: Effort) -> Iterator[Item]:
    annual = [row[:2] for row in state["temperature_annual"]]
    for first in triangle.first_years(annual, effort.every):
        arguments = (annual, first, effort.every, seed, effort.triangle_resamples)
        yield Item(f"{TRIANGLE}{first}", triangle.piece, arguments)


def assemble(state: Mapping[str, Any], found: Mapping[str, Any], effort: Effort) -> dict[str, Any]:
    """Everything the report shows: `estimates` in reading order, tables, and the series behind the figures."""
    prepared, temperature = state["prepared"], state["temperature_annual"]
    annual = prepared["annual"]
    periods = [found[f"trend {first}-{last}"] for first, last in trends.PERIODS]
    season, together = found["seasonal cycle"], found["association"]
    pieces = [value for name, value in found.items() if name.startswith(TRIANGLE)]
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
            "pieces": pieces,
        },
        "annual_growth": growth.annual_growth(annual),
        "growth_rates": growth_rates(prepared["curve"]),
        "seasonal_cycle": season["cycle"],
        "seasonal_curve": season["curve"],
        "seasonal_sizes": season["sizes"],
        "association_line": {"intercept": together["intercept"], "slope": together["estimates"][0]["value"]},
        "association_limits": together["limits"],
    }
