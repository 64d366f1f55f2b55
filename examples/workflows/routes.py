"""Gaps of a record of CO2 are filled until a referee, who is asked after every pass, is content or gives it up.

python examples/workflows/routes.py
"""

from __future__ import annotations

import asyncio

from tau import END, StateGraph

PASSES = 3

graph = StateGraph("gaps")


@graph.node
def fill(state):
    """The mean of its neighbours for each value that is missing and has two."""
    values = state["values"]
    around = zip([None, *values], values, [*values[1:], None], strict=False)
    filled = [
        (before + after) / 2 if value is None and None not in (before, after) else value
        for before, value, after in around
    ]
    return {"values": filled, "passes": state.get("passes", 0) + 1}


@graph.node
def widen(state):
    """A gap of two or more gets narrower: its first value is that before it."""
    before = zip([None, *state["values"]], state["values"], strict=False)
    return {"values": [earlier if value is None else value for earlier, value in before]}


@graph.node
def report(state):
    return {"text": f"{state['station']}: {state['values']} after {state['passes']} passes"}


async def referee(state):
    """Stands for a service or a model: it is asked once for each pass, also where the run is killed and resumed."""
    await asyncio.sleep(0)
    if None not in state["values"]:
        return "content"
    return "once more" if state["passes"] < PASSES else "hopeless"


graph.add_conditional_edges(fill, referee, {"content": report, "once more": widen, "hopeless": END})
graph.add_edge(widen, fill)
graph.set_entry_point(fill)
graph.set_exit_point(report)

if __name__ == "__main__":
    for station, values in {"Alert": [315, None, 317, None, None, 319], "Baring": [None, None, 316]}.items():
        final = graph.execute({"station": station, "values": values})
        print(final.get("text", f"{station}: given up after {final['passes']} passes"))
