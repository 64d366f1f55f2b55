"""Finding the runs that a worker may take, and remembering those that it cannot."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from tau.errors import StoreError
from tau.host import Host
from tau.stores.contract import Lease, Query, Store, Summary

DEAD_EVERY: Final = 5.0
"""Seconds between two looks for runs whose owner died on this machine: before its lease has run out, only that machine
can tell."""

LOOKS_IN_A_LEASE: Final = 4
"""How often a lease that can only be watched is looked at while it lasts."""

_AHEAD: Final = 16  # at least so many are asked for, so that several workers begin at different ones
_SPARE: Final = 4  # and so many times what is wanted
CROWD: Final = 512
"""So many are asked for where runs are short, and those that were named are soon taken by others."""

Sign = tuple[str, int, int]
"""What changes with every sign of life of an owner: the holder and counter of its lease, and the position."""


class Candidate(Struct, frozen=True):
    """A run that may be taken; ``sign`` is the last sign of life of its owner, where that was watched until its lease
    had run out."""

    row: Summary
    sign: Sign | None = None

    @property
    def run_id(self) -> str:
        """The run."""
        return self.row.run_id

    @property
    def is_suspect(self) -> bool:
        """Whether its process died: it is to be taken alone, so that it is known what kills the next one."""
        return self.row.status == "running"


class Finder:
    """Asks the store for runs of one graph. A look is one query, now and then two."""

    def __init__(self, store: Store, graph: str, host: Host, *, all_interrupted: bool = False) -> None:
        self._store = store
        self._graph = graph
        self._host = host
        self._all_interrupted = all_interrupted
        self._left: dict[str, int] = {}
        self._watched: dict[str, tuple[Sign, float]] = {}
        self._dead_at = self._watch_at = 0.0
        self._lease = 0.0
        self._was_in_vain = False
        self._backs_off = False

    def leave(self, row: Summary) -> bool:
        """Pass this run over for as long as nobody changes it; whether that is new."""
        is_new = self._left.get(row.run_id) != row.position
        self._left[row.run_id] = row.position
        return is_new

    def look_for_dead(self) -> None:
        """A process on this machine has died: the next look asks for its runs."""
        self._dead_at = 0.0

    @property
    def backs_off(self) -> bool:
        """Whether a run, at the last look for the dead, was dead by what this machine knows, and its pause after
        crashes was not over."""
        return self._backs_off

    def later(self) -> int:
        """How many runs were admitted with a ``not_before`` that is yet to come. Raises `StoreError`."""
        now = self._host.now()
        rows = self._store.select(Query(graph=self._graph, status="admitted"))
        return sum(row.not_before is not None and row.not_before > now for row in rows)

    def look(self, wanted: int, among: int = 0) -> list[Candidate]:
        """Runs that may be taken, ``wanted`` or some more, beginning at a random one, of so many first ones at least.
        Raises `StoreError`."""
        now = self._host.monotonic()
        if now >= self._dead_at:
            self._dead_at = now + max(DEAD_EVERY, self._store.look_every)
            found = self._of_the_dead()
            if found or self._was_in_vain:  # where there is nothing to do, one question at a time
                return found
        found = self._due(now, max(_AHEAD, _SPARE * wanted), among)
        self._was_in_vain = not found
        return found

    def _due(self, now: float, limit: int, among: int) -> list[Candidate]:
        watches, store, left = now >= self._watch_at, self._store, len(self._left)
        try:
            if among > limit and not self._was_in_vain:
                rows = store.some_due(self._graph, limit, among + left, watched=watches)
                if (found := self._mine(rows, now, watches=watches)) or not rows:
                    return found
                watches = False  # these are left alone, but not all may be
            rows = store.due(self._graph, max(limit, among) + left, watched=watches)
        except StoreError:
            self._watched.clear()  # who could not be seen may have given a sign of life
            raise
        return self._mine(rows, now, watches=watches)

    def _mine(self, rows: Iterable[tuple[Summary, Lease | None]], now: float, *, watches: bool) -> list[Candidate]:
        if watches:
            rows = self._silent(rows, now)
        return self._shuffled(Candidate(row, sign) for row, sign in self._free(rows))

    def _free(self, rows: Iterable[tuple[Summary, Lease | None]]) -> Iterable[tuple[Summary, Sign | None]]:
        for row, lease in rows:
            if row.status != "running" or lease is None or lease.expires_in is not None:
                yield row, None
            elif row.run_id in self._watched:
                yield row, self._watched[row.run_id][0]

    def _silent(self, rows: Iterable[tuple[Summary, Lease | None]], began: float) -> list[tuple[Summary, Lease | None]]:
        """These, but of the runs whose lease can only be watched those whose owner gave no sign of life for as long as
        it lasts, between the end of one look and the beginning of another."""
        before, self._watched, found = self._watched, {}, []
        now, shortest = self._host.monotonic(), 0.0
        for row, lease in rows:
            owner = row.owner
            if lease is None or lease.expires_in is not None or owner is None:
                found.append((row, lease))
                continue
            sign = (lease.nonce, lease.counter, row.position)
            known, since = before.get(row.run_id, (None, now))
            self._watched[row.run_id] = sign, since if known == sign else now
            shortest = min(shortest or owner.lease, owner.lease)
            if self._host.is_dead(owner) or (known == sign and began - since >= owner.lease):
                found.append((row, lease))
        self._lease = shortest or self._lease
        self._watch_at = now + max(self._lease / LOOKS_IN_A_LEASE, self._store.look_every)
        return found

    def _of_the_dead(self) -> list[Candidate]:
        dead = [
            row
            for row in self._store.select(Query(graph=self._graph, status="running"))
            if row.owner is not None and self._host.is_dead(row.owner)
        ]
        now = self._host.now()
        rows = [row for row in dead if row.may_be_taken(now)]
        self._backs_off = any(row.not_before is not None and row.not_before > now for row in dead)
        if self._all_interrupted:
            rows += [row for row in self._store.select(Query(graph=self._graph, status="interrupted")) if row.base]
        return self._shuffled(map(Candidate, rows))

    def _shuffled(self, found: Iterable[Candidate]) -> list[Candidate]:
        mine = [one for one in found if self._left.get(one.run_id) != one.row.position]
        start = random.randrange(len(mine)) if mine else 0
        return mine[start:] + mine[:start]
