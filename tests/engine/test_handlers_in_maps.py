"""A handler of a signal asks for a step in the middle of a map: it is done, or refused, and the map stays whole."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import tau.log
import tau.node
import tau.workflows
from tau import CheckpointConfig, Context, GraphConfig, State, StateGraph, StoreError, process_chain
from tau.log.encoding import unseal
from tau.log.loading import load
from tau.log.records import Item, Planned
from tau.stores.memory import MemoryStore

WHERE = tuple(Path(str(package.__file__)).parent for package in (tau.log, tau.node, tau.workflows))


class AtLine:
    """Calls ``call`` at the n-th of the distinct lines that this thread reaches in a map; counts them without one."""

    def __init__(self, at: int, call: Callable[[], object]) -> None:
        self.at, self.call = at, call
        self.seen: set[tuple[str, int]] = set()

    def enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self.line if Path(frame.f_code.co_filename).parent in WHERE else None

    def line(self, frame: FrameType, event: str, argument: Any) -> Any:
        place = (frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and place not in self.seen:
            self.seen.add(place)
            if len(self.seen) == self.at:
                sys.settrace(None)
                self.call()
        return self.line


def run(how: str, at: int) -> tuple[AtLine, list[str]]:
    """One run, in which a handler comes at that line, and what was wrong with it."""
    wrong, calls, store = list[str](), Counter[int](), MemoryStore()

    def task(item: int) -> int:
        calls[item] += 1
        return item

    def node(state: State, ctx: Context) -> dict[str, Any]:
        def handler() -> None:
            try:
                ctx.step("beat", int)
            except StoreError:
                pass
            except Exception as error:
                wrong.append(f"the handler got {type(error).__name__}: {error}")

        trace.call = handler
        sys.settrace(trace.enter)
        try:
            if how == "map":
                return {"out": ctx.map("m", task, range(3), executor="inline")}
            return {"out": process_chain(range(3), [], lambda item, out: [*out, task(item)], name="m").final}
        finally:
            sys.settrace(None)

    trace = AtLine(at, lambda: None)
    graph = StateGraph(
        GraphConfig("g", observer="noop", checkpoint=CheckpointConfig(interval=1, preserve=True)), store=store
    )
    graph.add_node("n", node, version="1")
    graph.sequence("n")
    before = sys.gettrace()
    try:
        out = graph.execute({}, run_id="r")["out"]
        wrong += [] if out == [0, 1, 2] else [f"the result is {out}"]
    except Exception as error:
        wrong.append(f"the run failed: {error}")
    finally:
        sys.settrace(before)
    wrong += [f"item {item} ran {count} times" for item, count in calls.items() if count > 1]
    found, _ = load(store, "r")
    wrong += [f"the log is damaged: {found.damaged}"] if found.damaged else []
    records = [unseal("r", position, data) for position, data in store.read("r")]
    planned = [record for record in records if isinstance(record, Planned)]
    items = [record for record in records if isinstance(record, Item) and record.key]
    if (len(planned), len(items)) != (1, 3):
        wrong.append(f"the log has {len(planned)} plans and {len(items)} items")
    return trace, wrong


@pytest.mark.parametrize("how", ["map", "chain"])
def test_a_step_that_a_handler_asks_for_anywhere_in_a_map_breaks_nothing(how: str) -> None:
    run(how, 0)  # what is loaded once is loaded
    count = len(run(how, 0)[0].seen)
    assert count > 100
    found = {at: wrong for at in range(1, count + 1) if (wrong := run(how, at)[1])}
    assert found == {}
