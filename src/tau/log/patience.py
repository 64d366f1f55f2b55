"""While its store cannot be reached, what a run has to commit is kept and tried again: the work of its node is done."""

from __future__ import annotations

import logging
from collections.abc import Callable

from tau.errors import StoreError, StoreUnavailableError
from tau.host import Host

_log = logging.getLogger("tau")
_SHORTEST, _LONGEST = 0.05, 1.0  # seconds between two tries


class Patience:
    """How the commits of one run are tried again.

    For ``seconds`` from the beginning of the first try, the time in it included, and at most for half the ``lease``, so
    that the run is its owner's all the while; until ``stopping`` gives a reason. ``tell`` is given the error of each
    commit's first failure.
    """

    def __init__(
        self,
        run_id: str,
        seconds: float,
        lease: float,
        *,
        host: Host,
        stopping: Callable[[], object],
        tell: Callable[[StoreError, float], None] | None,
    ) -> None:
        self.now = host.monotonic
        self._sleep = host.sleep
        self._run_id = run_id
        self._seconds = min(seconds, lease / 2)
        self._stopping = stopping
        self._tell = tell

    def pause(self, error: object, began: float, tries: int) -> float | None:
        """After how many seconds a commit that ``began`` then and failed is worth another try; ``None`` if not."""
        if not isinstance(error, StoreUnavailableError) or not error.transient:
            return None
        left = self._seconds - (self.now() - began)
        if left <= 0 or self._stopping():
            return None
        return min(left, _LONGEST, _SHORTEST * 2.0 ** min(tries, 10))

    def wait(self, seconds: float) -> None:
        """Wait before the next try. What is raised meanwhile (Ctrl-C) ends all patience: the run is to end now."""
        try:
            self._sleep(seconds)
        except BaseException:
            self._seconds = 0.0
            raise

    def tell(self, error: StoreError) -> None:
        """A commit has failed for the first time, and is tried again."""
        _log.warning("a commit of run %r is tried again for up to %g s: %s", self._run_id, self._seconds, error)
        if self._tell is not None:
            self._tell(error, self._seconds)
