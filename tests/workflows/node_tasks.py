"""Nodes that another interpreter can import."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from tau import Context, State, current


def plain(state: State) -> dict[str, Any]:
    return {"pid": os.getpid(), "twice": state["n"] * 2}


def in_place(state: State) -> None:
    state["rows"].append(state["n"])


def as_state(state: State) -> State:
    return state.drop("gone").set("kept", (1, {2}))


def about(state: State, ctx: Context) -> dict[str, Any]:
    return {"about": [ctx.node, ctx.visit, ctx.attempt, ctx.key, ctx.seed("x"), ctx.run_id == current().run_id]}


async def later(state: State) -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"later": os.getpid()}


def failing(state: State) -> None:
    raise ValueError(f"{state['n']} broke")


def failing_from_another(state: State) -> None:
    try:
        failing(state)
    except ValueError as error:
        raise RuntimeError("could not") from error


def hanging(state: State) -> dict[str, int]:
    place = Path(state["place"])
    place.write_text(place.read_text() + f"{os.getpid()} " if place.exists() else f"{os.getpid()} ")
    if len(place.read_text().split()) < 2:
        time.sleep(600)
    return {"tries": len(place.read_text().split())}


def dying(state: State) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def number(state: State) -> int:
    return 3


def unstorable(state: State) -> dict[str, Any]:
    return {"lock": object()}


def stepping(state: State, ctx: Context) -> None:
    ctx.step("s", lambda: 1)
