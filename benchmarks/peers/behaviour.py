"""What happens: a kill, edits of the graph, a value changed in place, odd values, two resumers. Nothing here is timed.

A run of four nodes is killed in its third; another process resumes it, with or without an edit in between.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Node, Peer, Work
from benchmarks.peers.workloads import array, frame

Make = Callable[..., Peer]
NAMES = ("a", "b", "c", "d")
IN_NODE = 0.2
"""Seconds that the third node works before it is killed: what is written behind has been written."""
TOGETHER = 3.0
"""Seconds that a node waits for the other resumer to start it as well."""
VALUES: dict[str, Callable[[], Any]] = {
    "tuple (1, 2)": lambda: (1, 2),
    "NaN": lambda: math.nan,
    "Decimal('1.10')": lambda: Decimal("1.10"),
    "set {1, 2}": lambda: {1, 2},
    "2**70": lambda: 2**70,
    "{1: 'x'}": lambda: {1: "x"},
    "bytes": lambda: b"\x00\xff",
    "ndarray": lambda: array(10),
    "DataFrame": lambda: frame(20),
}


class Marks:
    """Which nodes were started, in order: a file that survives every kill."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "marks"

    def add(self, name: str) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(handle, f"{name}\n".encode())
        os.close(handle)

    def names(self) -> list[str]:
        return self.path.read_text("utf-8").split() if self.path.exists() else []


def pipeline(folder: Path, scenario: str, value: str, *, dies: bool) -> Work:
    """The four nodes. Each sets a key of its own name; the third also says what it sees of the first one's value."""
    marks = Marks(folder)

    def first(state: Mapping[str, Any]) -> dict[str, Any]:
        marks.add("a")
        return {"a": True, "value": VALUES[value]() if value else {"list": [1]}}

    def second(state: Mapping[str, Any]) -> dict[str, Any]:
        marks.add("b")
        if scenario == "in place":
            state["value"]["list"].append(2)
        return {"b": True}

    def edited(state: Mapping[str, Any]) -> dict[str, Any]:
        marks.add("b")
        return {"b": "another way of computing it"}

    def third(state: Mapping[str, Any]) -> dict[str, Any]:
        marks.add("c")
        if dies:
            time.sleep(0.0 if scenario == "at once" else IN_NODE)
            os.kill(os.getpid(), signal.SIGKILL)
        if scenario == "two":
            meet(marks)
        return {"c": True, "seen": seen(state["value"], VALUES[value]() if value else None)}

    def fourth(state: Mapping[str, Any]) -> dict[str, Any]:
        marks.add("d")
        return {"d": True}

    nodes: dict[str, Node] = dict(zip(NAMES, (first, second, third, fourth), strict=True))
    if scenario == "b edited" and not dies:
        nodes["b"] = edited
    renamed = scenario.removesuffix(" renamed") if scenario.endswith(" renamed") and not dies else ""
    return Work({f"{n}2" if n == renamed else n: node for n, node in nodes.items()}, [*NAMES, "value", "seen"])


def seen(found: Any, expected: Any) -> str:
    """ "exact", or what it is instead; without anything expected, the value as it stands."""
    if expected is not None and type(found) is type(expected) and same(found, expected):
        return "exact"
    return repr(found)[:80]


def same(found: Any, expected: Any) -> bool:
    if hasattr(expected, "equals"):  # a DataFrame
        return bool(found.equals(expected) and (found.dtypes == expected.dtypes).all())
    if hasattr(expected, "dtype"):
        return bool(found.dtype == expected.dtype and found.tobytes() == expected.tobytes())
    return bool(found == expected or (found is not expected and repr(found) == repr(expected) == "nan"))


def meet(marks: Marks) -> None:
    """Stay in the node until the other resumer has come, or long enough."""
    end = time.monotonic() + TOGETHER
    while marks.names().count("c") < 3 and time.monotonic() < end:
        time.sleep(0.02)


def begin(make: Make, folder: Path, scenario: str, value: str, *, lenient: bool, dies: bool) -> dict[str, Any]:
    """The first process of a scenario."""
    final = make(folder, lenient=lenient).run(pipeline(folder, scenario, value, dies=dies), "run", {})
    return result(final)


def go_on(make: Make, folder: Path, scenario: str, value: str, *, lenient: bool) -> dict[str, Any]:
    """A later process, which resumes."""
    return result(make(folder, lenient=lenient).resume(pipeline(folder, scenario, value, dies=False), "run"))


def result(final: Mapping[str, Any]) -> dict[str, Any]:
    return {"seen": final.get("seen"), "nodes": [name for name in NAMES if final.get(name)]}
