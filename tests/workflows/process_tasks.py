"""What worker processes call in the tests: functions that another interpreter can import."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tau import TauError, current, process_parallel
from tau.values import register_type


@dataclass
class Plain:
    """No codec knows it."""

    number: int


class Odd(Exception):
    """An error that needs more than its text to be made."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(f"{number}: {why}")


def same(item: Any) -> Any:
    return item


async def same_later(item: Any) -> Any:
    await asyncio.sleep(0)
    return item


def pid(item: Any) -> int:
    return os.getpid()


def named(item: Any) -> tuple[int, str, str]:
    return os.getpid(), type(item).__name__, repr(item)


def environment(item: str) -> str | None:
    return os.environ.get(item)


def note(place: str, what: Any) -> int:
    """Add a line to a file; how many there are now."""
    with open(place, "a") as file:
        file.write(f"{what}\n")
    return len(Path(place).read_text().splitlines())


def die_once(item: tuple[int, str]) -> int:
    number, place = item
    if number == 2 and note(place, os.getpid()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return -number


def die(item: int) -> int:
    if item == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return -item


def die_when_told(item: tuple[int, str]) -> int:
    number, place = item
    while not number:
        if os.path.exists(f"{place}.go"):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)
    return number


def signalled(item: int) -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(os.getpid(), number)
    return os.getpid()


def leave(item: int) -> int:
    os._exit(3)


def busy_once(item: tuple[int, str]) -> int:
    """The first call never returns, and no thread beside it gets its turn."""
    number, place = item
    if number == 1 and note(place, os.getpid()) == 1:
        sum(range(10**13))
    return -number


def with_child(place: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    note(place, child.pid)
    time.sleep(600)


def leaves_a_child(apart: bool | None) -> int:
    """One in a session of its own, in that of the worker, or there and without ears."""
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    child = subprocess.Popen(
        [sys.executable, "-c", deaf if apart is None else "print(flush=True)\nimport time\ntime.sleep(600)"],
        stdout=subprocess.PIPE,
        start_new_session=bool(apart),
    )
    assert child.stdout is not None
    child.stdout.readline()
    return child.pid


def busy(place: str) -> None:
    note(place, os.getpid())
    sum(range(10**13))


async def sleep_long(place: str) -> None:
    note(place, os.getpid())
    await asyncio.sleep(600)


def fail(item: int) -> int:
    if item:
        raise ConnectionError(f"no line {item}")
    return item


def fail_once(place: str) -> int:
    if note(place, os.getpid()) == 1:
        raise ConnectionError("busy")
    return 7


def fail_oddly(item: int) -> None:
    raise Odd(item, "odd")


def exit_in(item: int) -> None:
    raise SystemExit("over")


def unsendable(item: int) -> Any:
    return threading.Lock()


def here(item: int) -> Any:
    ctx = current()
    return ctx.run_id, ctx.node, ctx.visit, ctx.attempt, ctx.key, ctx.seed("window", item), ctx.deadline


def out_of_reach(item: str) -> str:
    ctx = current()
    calls = {
        "step": lambda: ctx.step("s", same, 1),
        "map": lambda: ctx.map("m", same, [1]),
        "ask": lambda: ctx.ask("q"),
        "artifact": lambda: ctx.artifact("a").__enter__(),
        "emit": lambda: ctx.emit("loss", value=1),
        "progress": lambda: ctx.progress(1, 2),
    }
    try:
        calls[item]()
    except TauError as error:
        return str(error)
    return ""


def nowhere(item: int) -> str:
    try:
        current()
    except TauError as error:
        return str(error)
    return ""


def nested(item: int) -> list[int]:
    return process_parallel(range(item), same).results


def forks(item: int) -> int:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    return os.getpid()


@dataclass
class Registered:
    number: int


def register_in_parent() -> None:
    register_type(Registered)


def noted_and_broken(item: tuple[int, str]) -> int:
    number, place = item
    note(place, number)
    if number == 9 and not os.path.exists(f"{place}.whole"):
        raise ValueError("broke")
    return number


def held(place: str) -> bool:
    """Until the test lets it go on, or is over: its directory is gone then, and the worker has other tests to serve."""
    return not os.path.exists(f"{place}.go") and os.path.exists(os.path.dirname(place))


def noted_and_waits(item: tuple[int, str]) -> int:
    number, place = item
    note(place, number)
    while held(place):
        time.sleep(0.01)
    return number


def noted_and_killed(item: tuple[int, str]) -> int:
    number, place = item
    note(place, number)
    if number in (20, 40) and Path(place).read_text().split().count(str(number)) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def number(item: Plain) -> int:
    return item.number


def plain(item: int) -> Plain:
    return Plain(item)


def dask_key(item: int) -> Any:
    from distributed import get_worker

    worker: Any = get_worker()
    return worker.get_current_task()


def in_flight(item: tuple[int, str]) -> int:
    """Holds on at 20 until it may go on."""
    number, place = item
    note(place, number)
    while number >= 20 and held(place):
        time.sleep(0.01)
    return number


def killed_once(item: tuple[int, str]) -> int:
    number, place = item
    if number == 100:
        try:
            os.close(os.open(f"{place}.killed", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return number
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def slowly(item: tuple[int, str]) -> int:
    number, place = item
    Path(place, str(os.getpid())).touch()
    time.sleep(0.01)
    return number


def noted(item: tuple[str, int]) -> int:
    place, number = item
    note(place, number)
    return number


def node_that_notes(state: Any) -> dict[str, int]:
    return {"count": note(state["place"], "node")}
