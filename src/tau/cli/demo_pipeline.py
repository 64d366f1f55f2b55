"""The graph of `tau demo`: how fast a made-up station has warmed in each thirty years, and how sure one can be of it.

It is built like the graphs it stands for, and runs in seconds: `tau run tau.cli.demo_pipeline:graph`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from tau import Context, State, StateGraph

FIRST, LAST, PERIOD = 1960, 2020, 30
RESAMPLES = 20_000

graph = StateGraph("station")


@graph.node
def ingest(state: State) -> dict[str, Any]:
    """Daily temperatures in degrees Celsius; on one day in fifty the thermometer was out of order."""
    noise = random.Random(state.get("seed", 1958))
    days = []
    for day in range(365 * (LAST - FIRST)):
        season = -9.0 * math.cos(2 * math.pi * day / 365)
        value = 8.5 + season + 0.025 * day / 365 + noise.gauss(0, 3)
        days.append(value if noise.random() > 0.02 else None)
    return {"days": days}


@graph.node
def preprocess(state: State) -> dict[str, Any]:
    """The mean of each year, without the days that are missing."""
    days = state["days"]
    years = [[value for value in days[first : first + 365] if value is not None] for first in range(0, len(days), 365)]
    return {"annual": [sum(values) / len(values) for values in years]}


def slope(values: Sequence[float]) -> float:
    """The trend per year, by least squares."""
    middle = (len(values) - 1) / 2
    above = sum((year - middle) * value for year, value in enumerate(values))
    return above / sum((year - middle) ** 2 for year in range(len(values)))


def warming(values: Sequence[float], seed: int) -> tuple[float, float, float]:
    """The trend per decade and its 95 % limits, from resampled residuals."""
    trend, choices = slope(values), random.Random(seed).choices
    residuals = [value - trend * year for year, value in enumerate(values)]
    drawn = sorted(trend + slope(choices(residuals, k=len(values))) for _ in range(RESAMPLES))
    return 10 * trend, 10 * drawn[RESAMPLES // 40], 10 * drawn[-(RESAMPLES // 40)]


@graph.node(depends_on=[slope, warming])
def analyze(state: State, ctx: Context) -> dict[str, Any]:
    """The long stage, a step for each period: what a step has returned is on disk, and no resume does it again."""
    found = {}
    for first in range(FIRST, LAST - PERIOD + 1, 5):
        values = state["annual"][first - FIRST : first - FIRST + PERIOD]
        found[first] = ctx.step(f"from {first} on", warming, values, first)
    return {"warming": found}


@graph.node
def report(state: State) -> dict[str, Any]:
    """A line for people."""
    first, (trend, low, high) = max(state["warming"].items())
    period, limits = f"{first} to {first + PERIOD - 1}", f"{low:.2f} to {high:.2f}"
    return {"text": f"{period}, a made-up station: {trend:.2f} ({limits}) degrees Celsius warmer a decade"}


graph.sequence(ingest, preprocess, analyze, report)
