"""What the ways in which a worker runs several runs at once share: finding, waiting, stopping, counting."""

from __future__ import annotations

import logging
import math
import os
import random
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from tau.config import ObserverSpec
from tau.engine.driver import Driver
from tau.engine.stop import Stop
from tau.errors import StoreError, TauError
from tau.late_imports import load_module
from tau.log.records import DRAIN
from tau.operations.finding import CROWD, Candidate, Finder
from tau.operations.report import Tally, Word, word_for
from tau.state_graph import StateGraph
from tau.waiting import LOOK, DaemonThread

if TYPE_CHECKING:
    from tau.operations.retention import Collected
    from tau.stores.contract import News

D = TypeVar("D", bound=Driver)

_log = logging.getLogger("tau")

GRACE: Final = 25.0
"""Seconds that runs have to stop by themselves."""

TOLD: Final = 5.0
"""So many times longer are the pauses of a worker that is told of runs at once."""

TURNS: Final = 2
"""How often a worker takes some of the runs that the store has named, unless it does several at once and gets most of
them: others take from the same ones."""

STALE: Final = 1.0
"""Seconds after which the store is asked anew, instead of taking what it named before."""

COLLECT_EVERY: Final = 600.0
"""About so many seconds lie between two times at which a worker looks for runs to be removed."""

_MOMENT: Final = 0.1  # seconds for which a worker removes runs before it looks for those to be taken again
_LONGEST_PAUSE: Final = 30.0  # seconds between two questions to a store that does not answer


class Options(Struct, frozen=True):
    """What a worker was asked to do; see `worker`."""

    concurrency: int = 1
    once: bool = False
    max_runtime: float | None = None
    all_interrupted: bool = False
    grace: float = GRACE
    resources: Mapping[str, Any] | None = None
    observer: ObserverSpec = None
    gc: bool = False


class Worker:
    """What the ways of running several runs at once share: finding, waiting, stopping, and what became of runs."""

    def __init__(self, graph: StateGraph[Any], options: Options, stop: Stop, tally: Tally) -> None:
        self.graph = graph
        self.options = options
        self.stop = stop
        self.tally = tally
        self.finder = Finder(graph.store, graph.name, graph.host, all_interrupted=options.all_interrupted)
        self._ends = None if options.max_runtime is None else time.monotonic() + options.max_runtime
        self._asked = False
        self._fails = 0
        self._again_at = 0.0
        self._news: News | None = None
        self._was = ""
        self._is_breaking_off = False
        self._ended = threading.Event()
        self._collecting: Generator[None, None, Collected] | None = None
        self._collect_at = math.inf if options.once or not options.gc else 0.0

    def __enter__(self) -> Worker:
        self._was, self.stop.always = self.stop.always, DRAIN
        self._news = self.graph.store.listen(self.graph.name)
        if self._news is None:
            _log.info("worker of %s looks for runs every %g s", self.graph.name, self.graph.store.look_every)
        return self

    @property
    def news(self) -> News | None:
        """What tells of runs at once."""
        return self._news

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.stop.always, self.stop.hurry = self._was, None
        if self._news is not None:
            with suppress(Exception):
                self._news.close()

    @property
    def left(self) -> float | None:
        """How many seconds are left until it ends."""
        return None if self._ends is None else max(self._ends - time.monotonic(), 0.0)

    @property
    def is_over(self) -> bool:
        """Whether nothing new is to be taken."""
        return self.stop.is_set() or self.left == 0.0

    def look(self, wanted: int, *, are_short: bool = False) -> list[Candidate]:
        """Runs that may be taken; none where the store does not answer. Raises `StoreError` at the first question."""
        if time.monotonic() < self._again_at:
            return []
        try:
            found = self.finder.look(wanted, CROWD) if are_short else self.finder.look(wanted)
        except StoreError as error:
            if not self._asked:
                raise
            self._fails += 1
            pause = min(2.0**self._fails, _LONGEST_PAUSE)
            self._again_at = time.monotonic() + pause
            _log.warning("the store does not say which runs may be taken, and is asked again in %g s: %s", pause, error)
            return []
        self._asked, self._fails = True, 0
        return found

    @property
    def pause(self) -> float:
        """Seconds between two looks where nothing else tells that there may be something to take."""
        return self.graph.store.look_every * (1.0 if self._news is None else TOLD)

    def is_done(self) -> bool:
        """Whether that was all there was to take, and it is to return then; a run that died and is left for a moment
        is still to be taken."""
        if not self.options.once or self._fails:
            return False
        self.finder.look_for_dead()
        if self.look(1) or self.finder.backs_off or self._fails:
            self.finder.look_for_dead()  # what was seen here is taken by the next look, which must see it too
            return False
        with suppress(StoreError):  # all is done by now, and this is only said
            self.tally.later = self.finder.later()
        self._collect_at = 0.0 if self.options.gc else math.inf
        while self.collect() and not self.is_over:
            pass
        return True

    def collect(self) -> bool:
        """Go on for a moment with removing runs that are over the limits of the graph, if it is time to; whether more
        is to be done at once. Errors are logged, and it is tried again after a while."""
        if time.monotonic() < self._collect_at:
            return False
        checkpoint, ends = self.graph.config.checkpoint, time.monotonic() + _MOMENT
        try:
            if self._collecting is None:
                load_module("tau.operations.retention")
                from tau.operations.retention import collecting

                self._collecting = collecting(
                    self.graph.store, checkpoint.retention, graph=self.graph.name, artifacts=checkpoint.artifacts
                )
            while time.monotonic() < ends:
                next(self._collecting)
            return True
        except StopIteration as end:
            self.tally.removed += len(end.value.removed)
        except (TauError, OSError) as error:
            _log.warning("runs of %s could not be removed, and it is tried again later: %s", self.graph.name, error)
        self._collecting = None
        self._collect_at = time.monotonic() + random.uniform(0.5, 1.5) * COLLECT_EVERY  # not all workers at once
        return False

    def rest(self) -> None:
        """Wait until it is worth to look again, or until it is over."""
        ends = time.monotonic() + self.pause
        while not self.is_over and (left := ends - time.monotonic()) > 0:
            if self._news is None:
                self.stop.event.wait(left if self.left is None else min(left, self.left))
            elif self._news.wait(min(left, LOOK)):
                return

    def break_off_later(self) -> None:
        """Send this process a second signal when the grace is over, where a signal is what stops it."""
        if self.stop.signals and not self._is_breaking_off:
            self._is_breaking_off = True
            DaemonThread(self._break_off, "tau-grace").start()

    def _break_off(self) -> None:
        if not self._ended.wait(self.options.grace) and self.stop.signals:
            os.kill(os.getpid(), self.stop.signals[0])

    def driver(self, kind: type[D], candidate: Candidate, *, shared: bool) -> D:
        """What resumes a run; ``shared``: other runs are under way in this process."""
        graph, options = self.graph, self.options
        request = graph._resumption(candidate.run_id, "error")
        request.only_at = 0 if candidate.row.status == "waiting" else candidate.row.position
        given = {"resources": options.resources, "stop": self.stop, "max_runtime": self.left}
        driver = graph._driver(kind, request, options.observer, **given)
        journal = driver.journal
        assert journal is not None
        journal.seen = candidate.sign
        if shared:
            journal.owner = replace(journal.owner, shared=True)
        return driver

    def ended(self, candidate: Candidate, driver: Driver, error: BaseException | None) -> None:
        """Note what became of a run."""
        journal = driver.journal
        word = word_for(error, acted=journal is not None and journal.progress is not None)
        if error is not None and not isinstance(error, Exception) and journal is not None:
            self.leave(candidate, journal.position)
        self.note(candidate, word, error)

    def leave(self, candidate: Candidate, position: int) -> None:
        """Take this run no more, unless it changes: it interrupted itself, at that position, and may do so again."""
        self.finder.leave(replace(candidate.row, position=position))

    def note(self, candidate: Candidate, word: Word, error: BaseException | str | None) -> None:
        """The same of one that was run elsewhere."""
        if word == "store":
            self._fails += 1
            self._again_at = time.monotonic() + min(2.0**self._fails, _LONGEST_PAUSE)
        is_new = word not in ("left", "waits") or self.finder.leave(candidate.row)
        if word not in ("", "waits") and is_new:
            self.tally.note(candidate.run_id, word, error)
