"""Two models of the same warming at once: a formula, and a graph of its own that steps until nothing changes any more.

python examples/workflows/branches.py
"""

from __future__ import annotations

from tau import StateGraph, branches_node, graph_node

FORCING = 3.7  # W/m2, of a doubling of CO2
FEEDBACK = 1.2  # W/(m2 K)
CAPACITY = 8.0  # W a/(m2 K)
EXCHANGE = 0.7  # W/(m2 K), with the deep ocean, which is ten times as large


def formula(state):
    """Where a planet ends, after ever so many years."""
    return {"warming": {"formula": state["doublings"] * FORCING / FEEDBACK}}


ocean = StateGraph("ocean")


@ocean.node
def century(state):
    """A hundred years of a thin layer above a deep one."""
    surface, deep = state.get("surface", 0.0), state.get("deep", 0.0)
    for _ in range(1000):
        down = EXCHANGE * (surface - deep)
        surface += 0.1 * (state["doublings"] * FORCING - FEEDBACK * surface - down) / CAPACITY
        deep += 0.1 * down / (10 * CAPACITY)
    return {"surface": surface, "deep": deep, "centuries": state.get("centuries", 0) + 1}


@ocean.node
def settled(state):
    return {"warming": {"ocean": state["surface"]}}


ocean.add_edge(century, settled, lambda state: state["surface"] - state["deep"] < 0.01)
ocean.add_edge(century, century)
ocean.set_entry_point(century)
ocean.set_exit_point(settled)

graph = StateGraph("warming")
models = {"formula": formula, "ocean": graph_node(ocean, outputs=["warming", "centuries"])}
graph.add_node("models", branches_node(models, merge={"warming": "union"}))


@graph.node
def report(state):
    found = ", ".join(f"{kelvin:.2f} K ({name})" for name, kelvin in state["warming"].items())
    return {"text": f"{found} after {state['centuries']} centuries"}


graph.sequence("models", report)

if __name__ == "__main__":
    print(graph.execute({"doublings": 1.0})["text"])
