"""A snowpack through a winter, day by day: each day's step takes the snow of the day before.

python examples/workflows/chain.py
"""

from __future__ import annotations

from typing import NamedTuple

from tau import ChainConfig, StateGraph, process_chain

MELT = 2.5  # mm of water a day for each degree above freezing: a degree-day model


class Day(NamedTuple):
    degrees: float
    precipitation: float  # mm of water


def weather(days: int) -> list[Day]:
    """A winter that begins and ends warm, with precipitation on every third day."""
    return [Day(((day - days / 2) / (days / 8)) ** 2 - 8.0, 9.0 if day % 3 == 0 else 0.0) for day in range(days)]


def next_day(day: Day, snow: float) -> float:
    """The snow, in mm of water, at the end of a day."""
    fallen = day.precipitation if day.degrees <= 0 else 0.0
    return max(0.0, snow + fallen - MELT * max(0.0, day.degrees))


graph = StateGraph("snow")


@graph.node
def observe(state):
    return {"days": [tuple(day) for day in weather(state["length"])]}


@graph.node
def accumulate(state):
    config = ChainConfig(capture_intermediate=True)
    chain = process_chain([Day(*day) for day in state["days"]], 0.0, next_day, config)
    return {"snow": list(chain.intermediate), "left": chain.final}


@graph.node
def report(state):
    deepest = max(state["snow"])
    return {
        "text": f"most snow on day {state['snow'].index(deepest)}: {deepest:.0f} mm of water, {state['left']:.0f} left"
    }


graph.sequence(observe, accumulate, report)

if __name__ == "__main__":
    print(graph.execute({"length": 180})["text"])
