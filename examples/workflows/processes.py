"""How much a planet warms when its sun brightens, for many albedos of ice: plain Python, so in processes, not threads.

python examples/workflows/processes.py
"""

from __future__ import annotations

from tau import Retry, StateGraph

SUN = 1361.0  # W/m2
CAPACITY = 4.0e8  # J/(m2 K): a hundred metres of water
A, B = -380.0, 2.17  # outgoing radiation, W/m2 and W/(m2 K): a straight line near 288 K (after Budyko 1969)
DAY = 86_400.0


def albedo(kelvin: float, ice: float) -> float:
    """That of ice when it is cold, 0.3 when it is warm, and a straight line between."""
    return ice + (0.3 - ice) * min(1.0, max(0.0, (kelvin - 260.0) / 25.0))


def equilibrium(kelvin: float, sun: float, ice: float) -> float:
    """Where the temperature ends when nothing changes for 200 years."""
    for _ in range(200 * 365):
        gained = sun / 4 * (1 - albedo(kelvin, ice)) - (A + B * kelvin)
        kelvin += gained * DAY / CAPACITY
    return kelvin


def warming(ice: float) -> tuple[float, float]:
    """The temperature of the planet, and how much warmer it is with a sun that is 1 % brighter."""
    now = equilibrium(288.0, SUN, ice)
    return now, equilibrium(now, 1.01 * SUN, ice) - now


graph = StateGraph("planets", store="memory:")


@graph.node
def simulate(state, ctx):
    # A worker that hangs is killed after a minute, one that dies costs its planet only, and either is tried again.
    tries = {"timeout": 60.0, "retry": Retry(attempts=2, delay=0.1)}
    return {"planets": ctx.map("warming", warming, state["ices"], executor="processes", workers=2, **tries)}


@graph.node
def report(state):
    lines = zip(state["ices"], state["planets"], strict=True)
    return {"text": "\n".join(f"ice {ice:.2f}: {kelvin:.1f} K, {more:+.2f} K" for ice, (kelvin, more) in lines)}


graph.sequence(simulate, report)

if __name__ == "__main__":  # each worker imports this file
    print(graph.execute({"ices": [0.3, 0.4, 0.5, 0.6]})["text"])
