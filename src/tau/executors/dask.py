"""Items on a dask cluster: dask distributes, and the map keeps.

Dask itself runs a task again whose worker died, so a task may run twice; the map takes one result for each item.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any, Final
from uuid import uuid4

from msgspec.msgpack import Decoder, Encoder

from tau import forks
from tau.errors import ConfigError, ExecutorError, WorkerError
from tau.events import text_of
from tau.executors import wire
from tau.executors.afar import shown
from tau.executors.contract import Call, Executor, Function, NotWantedError, TimeIsUpError
from tau.executors.late import LateExecutor
from tau.executors.processors import processors
from tau.executors.turns import Turns
from tau.late_imports import load_module
from tau.waiting import LOOK, Flag

_log = logging.getLogger("tau")
_encode = Encoder().encode
_read_answer = Decoder(wire.Answer).decode

DEATHS: Final = 2
"""How often an item may cost its worker in a cluster of the map's own; elsewhere `allowed-failures` says it. Dask then
gives up all that was on that worker, so an item is named only if it costs so many more when it is tried alone."""

SETTLED: Final = 2.0
"""For how many seconds a worker must have been there before an item is tried alone on it."""

ALONE: Final = 60.0
"""For how many seconds a cluster of the map's own may be without workers. Dask itself does not replace one that dies as
it starts, nor one that is not back 15 seconds after an earlier one of its name died."""

REMEDY: Final = "start the cluster again and resume: what is finished is kept"


def open_executor(function: Function, place: Any) -> Executor:
    """A cluster at an address, of a `distributed.Client`, or, where ``place`` is empty, one of this map's own; it is
    reached for when an item needs it.

    Raises `ConfigError` without distributed and for a function that cannot be sent.
    """
    try:
        distributed: Any = load_module("distributed")
    except ImportError as error:
        raise ConfigError("executor='dask' needs distributed: pip install 'tau-orchestrate[dask]'") from error
    setup = _encode(wire.packed_function(function.call, function.named, function.is_async, has_script=False))
    return LateExecutor(partial(_connected, function, place, setup, distributed))


def _connected(function: Function, place: Any, setup: bytes, distributed: Any) -> Executor:
    """Raises `ExecutorError` for a cluster that cannot be reached."""
    if not isinstance(place, str):
        return DaskExecutor(function, setup, place, ())
    try:
        if place:
            client = distributed.Client(place, set_as_default=False)
            return DaskExecutor(function, setup, client, (client,))
        workers = function.workers or processors()
        cluster = distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,
            scheduler_kwargs={"allowed_failures": DEATHS - 1},
        )
        client = distributed.Client(cluster, set_as_default=False)
        return DaskExecutor(function, setup, client, (client, cluster), partial(cluster.scale, workers))
    except (OSError, RuntimeError, ValueError) as error:
        where = f"at {place}" if place else "of its own"
        guard = (
            'what starts work in a script stands under if __name__ == "__main__":, as each worker imports the script'
        )
        remedy = "see that its scheduler runs and can be reached from here" if place else guard
        said = f"{type(error).__name__}: {text_of(error).rstrip('.')}"
        raise ExecutorError(f"map {function.name!r} cannot use a dask cluster {where}: {said}; {remedy}") from error


class _GivenUpError(Exception):
    """The worker that dask had it on died more often than that allows."""


class DaskExecutor(Executor):
    """Submits one task for each try of an item, and takes its result when it is there."""

    def __init__(
        self,
        function: Function,
        setup: bytes,
        client: Any,
        own: tuple[Any, ...],
        replace: Callable[[], object] | None = None,
    ) -> None:
        """``own`` is what is closed with it; ``replace``, in a cluster of the map's own, starts the workers that are
        missing. Raises `ExecutorError` for a client that is closed."""
        self._name, self._setup, self._client, self._own = function.name, setup, client, own
        self._replace = replace
        self._turns = Turns()
        self._process = forks.process
        self._is_closed = False
        if client.status != "running":
            raise self._away(None)
        self._looks_at = self._peopled = time.monotonic()
        there = self._threads()
        self._seen = dict.fromkeys(there, self._peopled)
        threads = max(1, sum(there.values()))
        # Where no time is counted, each thread of the cluster has its next item at hand.
        self.workers = threads if function.timeout is not None else 2 * threads

    def call(self, call: Call) -> Any:
        job = wire.Job(wire.packed(call.item, "the item", has_script=False), call.about)
        answer = self._answer(call, job)
        if answer.again:
            again = wire.packed(call.item, "the item", by_codecs=False, has_script=False)
            answer = self._answer(call, wire.Job(again, call.about))
        if answer.error is not None:
            error = wire.unpacked_error(answer.error)
            if answer.unready:
                raise ExecutorError(
                    f"a dask worker cannot call the function of map {self._name!r}: {answer.error.text}; its workers "
                    "need the same modules and packages as this process"
                ) from error
            raise error
        assert answer.value is not None
        return wire.unpacked(answer.value)

    def close(self) -> None:
        if self._process is not forks.process or self._is_closed:
            return
        self._is_closed = True
        for one in self._own:
            with suppress(Exception):
                one.close()

    def _answer(self, call: Call, job: wire.Job) -> wire.Answer:
        """What it answers, beside the others, or alone if it was on a worker that died too often: who killed it?"""
        check = partial(self._check, call)
        try:
            with self._turns.taken(check):
                return self._tried(call, job)
        except _GivenUpError:
            _log.warning("dask gave up an item of map %r whose worker died; it is tried again, alone", self._name)
        deaths = 0
        with self._turns.taken(check, alone=True):
            while True:
                try:
                    return self._tried(call, job, self._settled_worker(call))
                except _GivenUpError as error:
                    deaths += 1
                    if deaths == DEATHS:
                        raise WorkerError(
                            f"each time that dask tried it, its worker died, also when it was tried alone: {error}; if "
                            "memory is short, let fewer tasks run at a time",
                            deaths=deaths,
                        ) from error.__cause__

    def _settled_worker(self, call: Call) -> str:
        """The address of a worker that has been there for a while."""
        while True:
            self._check(call)
            now = time.monotonic()
            self._seen = {one: self._seen.get(one, now) for one in self._threads()}
            for one, since in self._seen.items():
                if now >= since + SETTLED:
                    return one
            call.stop.wait(LOOK)

    def _tried(self, call: Call, job: wire.Job, worker: str | None = None) -> wire.Answer:
        """What it answers, anywhere or on that worker; raises `_GivenUpError` where that died."""
        over, future = Flag(), self._submitted(call, job, worker)
        try:
            future.add_done_callback(lambda _: over.set())
            call.stop.then(over.set)
            ends = None if call.timeout is None else time.monotonic() + call.timeout
            while not over.wait(LOOK if ends is None else max(0.0, min(LOOK, ends - time.monotonic()))):
                self._check(call)
                if ends is not None and time.monotonic() >= ends:
                    raise TimeIsUpError(has_ended=False)
                if worker is not None and worker not in self._threads() and not future.done():
                    raise _GivenUpError(f"{worker} is gone")
            if call.stop.is_set():
                raise NotWantedError
            return self._result(future)
        except BaseException:
            with suppress(Exception):
                future.cancel()
            raise

    def _submitted(self, call: Call, job: wire.Job, worker: str | None) -> Any:
        about = call.about
        where = (about.run_id, about.node, str(about.visit), *map(str, about.scope or ()), about.key) if about else ()
        key = "/".join(("tau", *where, self._name, uuid4().hex))
        self._check(call)
        try:
            return self._client.submit(
                work,
                self._setup,
                _encode(job),
                key=key,
                pure=False,
                retries=0,
                workers=None if worker is None else [worker],
            )
        except Exception as error:
            raise self._away(error) from error

    def _check(self, call: Call) -> None:
        if self._is_closed or call.stop.is_set() or not call.is_wanted():
            raise NotWantedError
        if self._client.status != "running":
            raise self._away(None)
        now = time.monotonic()
        if self._replace is not None and now > self._looks_at:
            self._looks_at = now + ALONE / 10
            self._replace()
            if self._threads():
                self._peopled = now
            elif now > self._peopled + ALONE:
                raise self._away("all of its workers have died")

    def _threads(self) -> dict[str, int]:
        """The workers by their addresses, and how many threads each has."""
        try:
            found: dict[str, int] = self._client.nthreads()
        except Exception as error:
            raise self._away(error) from error
        return found

    def _result(self, future: Any) -> wire.Answer:
        try:
            return _read_answer(future.result())
        except Exception as error:
            if type(error).__name__ != "KilledWorker":
                raise self._away(error) from error
            raise _GivenUpError(text_of(error)) from error

    def _away(self, why: BaseException | str | None) -> ExecutorError:
        said = f"{type(why).__name__}: {text_of(why)}" if isinstance(why, BaseException) else why
        said = said or f"it is {self._client.status}"
        return ExecutorError(f"the dask cluster of map {self._name!r} is away ({said}); {REMEDY}")


def work(setup: bytes, job: bytes) -> bytes:
    """On a worker: call the function for one item; what becomes of it, errors too, is in the answer."""
    try:
        function, is_async = _function(setup)
    except BaseException as error:
        return _encode(wire.Answer(error=wire.packed_error(error, 1), unready=True))
    given = Decoder(wire.Job).decode(job)
    try:
        item = wire.unpacked(given.item)
    except Exception as error:
        if not given.item.is_pickled:
            return _encode(wire.Answer(again=True))
        return _encode(wire.Answer(error=wire.packed_error(error, 1)))
    try:
        with shown(given.about):
            value = function(item)
            if is_async:
                load_module("asyncio")
                import asyncio

                value = asyncio.run(value)
        return _encode(wire.Answer(wire.packed(value, "what it returned")))
    except BaseException as error:
        return _encode(wire.Answer(error=wire.packed_error(error, 1)))


_loading = threading.Lock()


@lru_cache(maxsize=8)
def _loaded(setup: bytes) -> tuple[Callable[[Any], Any], bool]:
    sent = Decoder(wire.SentFunction).decode(setup)
    return wire.unpacked_function(sent), sent.is_async


def _function(setup: bytes) -> tuple[Callable[[Any], Any], bool]:
    with _loading:
        return _loaded(setup)
