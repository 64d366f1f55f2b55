"""A process of its own: real SIGINTs at random moments of runs, each of which is resumed until it has finished.

Stands still for half a minute: the stacks of all threads are printed, and the process ends with an error.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread, get_ident

from interrupts import RUN, WANTED, Case, Life, _judge_done, _judge_log

STANDSTILL = 30.0


class Striker:
    """Interrupts the main thread a random time after it was asked to, once or twice."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.sent = self.second = self.raised = 0
        self.longest = 0.001
        self._asked, self._done = SimpleQueue[tuple[float, float]](), SimpleQueue[None]()
        self._main = get_ident()
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            for pause in self._asked.get():
                if pause >= 0:
                    time.sleep(pause)
                    signal.pthread_kill(self._main, signal.SIGINT)
                    self.sent += 1
            self._done.put(None)

    def during(self, work: Callable[[], object]) -> bool:
        """Whether an interrupt came out of ``work``."""
        again = self.draw.random() < 0.4
        self.second += again
        pauses = (self.draw.uniform(0.0, self.longest), self.draw.expovariate(1000.0) if again else -1.0)
        struck, began = False, time.monotonic()
        try:
            try:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                self._asked.put(pauses)
                work()
                self.longest = max(self.longest / 2, time.monotonic() - began)
            finally:
                deaf()
        except KeyboardInterrupt:
            struck = True
        deaf()
        self._done.get()
        self.raised += struck
        return struck


def deaf() -> None:
    while True:
        try:
            signal.signal(signal.SIGINT, lambda *_: None)
        except KeyboardInterrupt:
            continue
        return


def start(life: Life) -> None:
    """`asyncio.run` forgets a Ctrl-C in the moment in which it begins to listen, and cancels what has not begun."""
    try:
        life.start()
    except asyncio.CancelledError:
        if life.done or life.store.summary(RUN) is not None:
            raise
        raise KeyboardInterrupt from None


def one(case: Case, striker: Striker, directory: Path) -> list[str]:
    """Run and resume under interrupts, and at last without one: what is wrong."""
    life, problems = Life(case, directory), list[str]()
    for _ in range(3):
        before, returned = list(life.done), list(life.returned)
        begun = life.store.summary(RUN) is not None
        struck = striker.during(life.resume if begun else partial(start, life))
        problems += _judge_done(before, returned, life.done[len(before) :], case) if begun else []
        if not struck:
            break
    final = life.resume() if life.store.summary(RUN) is not None else life.start()
    if {key: final.get(key) for key in WANTED} != WANTED:
        problems.append(f"another result: {final!r}")
    problems += _judge_log(life)
    life.store.close()
    return problems


def main(store: str, way: str, seconds: float, seed: str) -> int:
    draw = random.Random(seed)
    striker, ends, runs = Striker(draw), time.monotonic() + seconds, 0
    case = Case(store, is_async=way == "async")
    with tempfile.TemporaryDirectory() as place:
        while time.monotonic() < ends:
            faulthandler.dump_traceback_later(STANDSTILL, exit=True)
            directory = Path(place, f"{runs}")
            directory.mkdir()
            for problem in one(case, striker, directory):
                print(f"run {runs}: {problem}")
                return 1
            runs += 1
    faulthandler.cancel_dump_traceback_later()
    print(f"{runs} runs, {striker.sent} interrupts, {striker.second} of them second ones, {striker.raised} came out")
    return 0


if __name__ == "__main__":
    logging.getLogger("tau").setLevel(logging.CRITICAL)
    sys.exit(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]))
