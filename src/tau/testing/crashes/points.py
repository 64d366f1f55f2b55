"""Where a process is struck, and which of all places are tried."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from tau.errors import ConfigError

BEFORE, INSIDE, AFTER, CTRL_C = "before", "inside", "after", "ctrl-c"
KILLS = (BEFORE, INSIDE, AFTER)


class Point(Struct, frozen=True):
    """A place at which a process is struck: by SIGKILL before, inside or after a commit, these counted from 1, inside
    before the ``call`` of that number by which the store changes something; or by Ctrl-C in a ``node``."""

    kind: str
    commit: int = 0
    call: int = 0
    node: str = ""

    def __str__(self) -> str:
        if self.kind == CTRL_C:
            return f"{CTRL_C}:{self.node}"
        return f"{self.kind}:{self.commit}" + (f":{self.call}" if self.kind == INSIDE else "")

    @property
    def told(self) -> str:
        """For people. Reading it raises nothing."""
        if self.kind == CTRL_C:
            return f"Ctrl-C in node {self.node}"
        where = f"{self.kind} commit {self.commit}"
        return f"killed {where}" + (f", before its call {self.call}" if self.kind == INSIDE else "")


def parsed(text: str) -> Point:
    """The point that ``str`` wrote. Raises `ConfigError`."""
    kind, _, rest = text.partition(":")
    if kind == CTRL_C and rest:
        return Point(kind, node=rest)
    numbers = rest.split(":")
    wanted = 2 if kind == INSIDE else 1
    if kind not in KILLS or len(numbers) != wanted or not all(one.isdecimal() and int(one) > 0 for one in numbers):
        raise ConfigError(
            f"{text!r} is not a point of a crash test; write before:3, inside:3:5, after:3 or ctrl-c:NODE"
        )
    return Point(kind, int(numbers[0]), int(numbers[-1]) if kind == INSIDE else 0)


def every(calls: Sequence[int]) -> Iterator[Point]:
    """All kills, for so many calls in each commit."""
    for commit, count in enumerate(calls, 1):
        yield Point(BEFORE, commit)
        for call in range(1, count + 1):
            yield Point(INSIDE, commit, call)
        yield Point(AFTER, commit)


def spread(calls: Sequence[int], commits: int, seed: int) -> Iterator[Point]:
    """Kills before, inside and after so many commits, one drawn from each part of the run, in their order."""
    drawn = random.Random(seed)
    total = len(calls)
    parts = min(commits, total)
    for part in range(parts):
        commit = drawn.randrange(part * total // parts, (part + 1) * total // parts) + 1
        yield Point(BEFORE, commit)
        if calls[commit - 1]:
            yield Point(INSIDE, commit, drawn.randint(1, calls[commit - 1]))
        yield Point(AFTER, commit)


def count(points: Sequence[Point]) -> Mapping[str, int]:
    """How many there are of each kind."""
    return {kind: sum(point.kind == kind for point in points) for kind in (*KILLS, CTRL_C)}
