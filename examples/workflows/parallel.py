"""The trend of many stations at once: a station that fails is tried again, and is named at the end if that is no help.

python examples/workflows/parallel.py
"""

from __future__ import annotations

import statistics
from itertools import combinations

from tau import ParallelConfig, Retry, StateGraph, process_parallel

STATIONS = {"Davis": 0.012, "Lerwick": 0.021, "Mauna Loa": 0.018, "Nauru": None, "Sable Island": 0.025}
busy = ["Lerwick", "Davis"]  # the server refuses these once


def download(station: str) -> list[float]:
    """Yearly means of the temperature, from a server that is sometimes busy."""
    if station in busy:
        busy.remove(station)
        raise ConnectionError("the server is busy")
    warming = STATIONS[station]
    if warming is None:
        raise LookupError("no data")
    return [10.0 + warming * year + 0.1 * (year * 7919 % 13 - 6) / 6 for year in range(60)]


def trend(station: str) -> float:
    """The slope in degrees a decade: the median over all pairs of years (Sen, 1968)."""
    values = enumerate(download(station))
    return 10 * statistics.median((later - early) / (y - x) for (x, early), (y, later) in combinations(values, 2))


graph = StateGraph("trends")


@graph.node
def fit(state):
    again = Retry(attempts=3, delay=0.01, on=ConnectionError)
    result = process_parallel(state["stations"], trend, ParallelConfig(fail_fast=False, retry=again, rate=100.0))
    done = {state["stations"][one.index]: one.value for one in result.outcomes if one.status == "done"}
    return {"trends": done, "failed": [f"{one.item}: {one.error}" for one in result.errors]}


@graph.node
def report(state):
    lines = [f"{station}: {slope:.2f} degrees a decade" for station, slope in state["trends"].items()]
    return {"text": "\n".join([*lines, *state["failed"]])}


graph.sequence(fit, report)

if __name__ == "__main__":
    print(graph.execute({"stations": list(STATIONS)})["text"])
