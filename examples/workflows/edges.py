"""The albedo of ice that a planet needs to be as warm as it is: bisection, a loop whose edges look at the state.

python examples/workflows/edges.py
"""

from __future__ import annotations

from tau import StateGraph, key_equals, not_

SUN, SIGMA = 1361.0, 5.67e-8  # W/m2, W/(m2 K4)
GREENHOUSE = 0.61  # the share of what the ground sends out that leaves for space

graph = StateGraph("bisection")


@graph.node
def observe(state):
    return {"low": 0.0, "high": 1.0, "possible": 100.0 < state["kelvin"] < 310.0}


@graph.node
def halve(state):
    """A planet that is too warm needs more of what reflects."""
    albedo = (state["low"] + state["high"]) / 2
    kelvin = (SUN / 4 * (1 - albedo) / (SIGMA * GREENHOUSE)) ** 0.25
    half = {"low": albedo} if kelvin > state["kelvin"] else {"high": albedo}
    return {**half, "found": abs(kelvin - state["kelvin"]) < 0.01}


@graph.node
def report(state):
    return {"text": f"{state['kelvin']:.0f} K: an albedo of {(state['low'] + state['high']) / 2:.3f}"}


@graph.node
def refuse(state):
    return {"text": f"{state['kelvin']:.0f} K: no albedo does that"}


graph.set_entry_point(observe)
graph.add_edge(observe, halve, key_equals("possible", True))
graph.add_edge(observe, refuse)
graph.add_edge(halve, halve, not_(key_equals("found", True)))
graph.add_edge(halve, report)
graph.set_exit_point(report)
graph.set_exit_point(refuse)

if __name__ == "__main__":
    for kelvin in (288.0, 400.0):
        print(graph.execute({"kelvin": kelvin})["text"])
