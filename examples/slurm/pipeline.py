"""Transient warming in a two-layer energy balance model, one ensemble member a run, ten years a visit.

CO2 rises by 1 % a year; the warming in year 70, when it has doubled, is the transient climate response. Parameters are
near the CMIP5 mean of Geoffroy et al. (2013), doi:10.1175/JCLI-D-12-00195.1. Weather is white noise of every hour.
"""

from __future__ import annotations

from math import log2
from random import Random
from statistics import fmean
from typing import Any

from tau import State, StateGraph

FEEDBACK = 1.13  # W m-2 K-1
EXCHANGE = 0.73  # W m-2 K-1, between the layers
SURFACE, DEEP = 7.3, 106.0  # heat capacities, W yr m-2 K-1
DOUBLING = 3.45  # W m-2
WEATHER = 15.0  # W m-2, standard deviation of an hour
HOURS = 8760
YEARS = 140
STRIDE = 10

graph = StateGraph("warming")


@graph.node
def prepare(state: State) -> dict[str, Any]:
    return {"year": 0, "surface": 0.0, "deep": 0.0, "warming": []}


@graph.node
def simulate(state: State) -> dict[str, Any]:
    """Ten years. A stop waits for the end of a visit, so this is how long it takes, and what a kill costs."""
    year, surface, deep = state["year"], state["surface"], state["deep"]
    noise = Random(f"member {state['member']}, year {year}").gauss  # the same after every kill
    warming = list(state["warming"])
    step = 1 / HOURS
    for now in range(year, year + STRIDE):
        total = 0.0
        forcing = DOUBLING * (now + 0.5) * log2(1.01)
        for _ in range(HOURS):
            flow = EXCHANGE * (surface - deep)
            surface += step * (forcing + noise(0.0, WEATHER) - FEEDBACK * surface - flow) / SURFACE
            deep += step * flow / DEEP
            total += surface
        warming.append(total / HOURS)
    return {"year": year + STRIDE, "surface": surface, "deep": deep, "warming": warming}


@graph.node
def report(state: State) -> dict[str, Any]:
    response = fmean(state["warming"][60:80])
    return {"response": response, "text": f"member {state['member']}: {response:.2f} K at doubled CO2"}


graph.add_edge(prepare, simulate)
graph.add_edge(simulate, simulate, lambda state: state["year"] < YEARS, name="years left")
graph.add_edge(simulate, report)
graph.set_entry_point(prepare)
graph.set_exit_point(report)
