"""Configuration of the workflows; every value is checked when it is passed, as in `tau.config`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar

from tau.checks import (
    ObserverSpec,
    boolean,
    checked_seconds,
    integer,
    known_keys,
    number,
    observer_spec,
    put,
    read_json,
    refused,
)
from tau.config import Retry
from tau.executors.registry import INLINE, THREADS, checked_executor
from tau.replaceable import Replaceable
from tau.spelling import named_fields

INHERIT: Final = "inherit"
"""The observer of the workflows by default: that of the run around them; where there is none, ``slog``."""

C = TypeVar("C", bound="WorkflowConfig")
P = TypeVar("P", bound="ParallelConfig")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowConfig(Replaceable):
    """What the configurations of all workflows share.

    ``observer``: ``"inherit"``, a registered name, a callable, a sequence of these, or ``None`` for no observer.
    Inside a node, ``"inherit"`` stands for the observer of the run, which may be none; elsewhere it is ``"slog"``.
    """

    observer: ObserverSpec = INHERIT

    def __post_init__(self) -> None:
        put(self, "observer", observer_spec("observer", self.observer))

    @classmethod
    def from_dict(cls: type[C], values: Mapping[str, Any]) -> C:
        """From a mapping, as read from JSON or TOML. Missing keys get their defaults.

        Raises `ConfigError` for unknown keys, wrong types and values out of range.

        >>> from tau import ChainConfig
        >>> ChainConfig.from_dict({"capture_intermediate": True}).capture_intermediate
        True
        """
        return cls(**known_keys("", values, cls))

    @classmethod
    def from_json(cls: type[C], text: str | bytes) -> C:
        """From a JSON object. Raises `ConfigError`, also for text that is not JSON and for keys given twice.

        >>> from tau import ParallelConfig
        >>> ParallelConfig.from_json('{"max_workers": 4}').max_workers
        4
        """
        return cls.from_dict(read_json(text))

    def to_dict(self) -> dict[str, Any]:
        """All keys as a plain dict; `from_dict` gives an equal configuration back. Raises nothing.

        >>> from tau import ConditionalConfig
        >>> ConditionalConfig(observer=["slog"]).to_dict()
        {'observer': ['slog']}
        """
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        if isinstance(self.observer, tuple):
            values["observer"] = list(self.observer)
        return values

    def to_json(self) -> str:
        """All keys as a JSON object. Raises `ConfigError` when an observer is an object, not a name.

        >>> from tau import ChainConfig
        >>> ChainConfig().to_json()
        '{"observer": "inherit", "capture_intermediate": false}'
        """
        self._check_observers()
        return json.dumps(self.to_dict())

    def _check_observers(self) -> None:
        for one in self.observer if isinstance(self.observer, tuple) else (self.observer,):
            if one is not None and not isinstance(one, str):
                raise refused("observer", one, "a name, because JSON cannot hold an object; register it and use that")


@named_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class ChainConfig(WorkflowConfig):
    """How `process_chain` works.

    ``capture_intermediate``: keep the initial state and the state after each step in the result. ``observer``: who is
    told of each step; by default the observer of the run around the chain, elsewhere ``"slog"``.

    Raises `ConfigError` for a value of the wrong type; its message names the key and what is allowed.

    >>> from tau import ChainConfig, process_chain
    >>> config = ChainConfig(capture_intermediate=True, observer=None)
    >>> process_chain([1, 2], 0, lambda item, state: state + item, config).intermediate
    (0, 1, 3)
    """

    capture_intermediate: bool = False

    def __post_init__(self) -> None:
        WorkflowConfig.__post_init__(self)
        put(self, "capture_intermediate", boolean("capture_intermediate", self.capture_intermediate))


@named_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionalConfig(WorkflowConfig):
    """How `process_conditional` works. ``observer``: who is told what was chosen; by default the observer of the run
    around it, elsewhere ``"slog"``.

    Raises `ConfigError` for a value of the wrong type; its message names the key and what is allowed.

    >>> from tau import ConditionalConfig
    >>> ConditionalConfig(observer=None).observer is None
    True
    """


@named_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelConfig(WorkflowConfig):
    """How `process_parallel` works.

    ``executor``: where the task is called: in ``"threads"``; in ``"processes"`` of the map's own, one item each at a
    time; ``"inline"``, in the caller's thread, one item after the other; or on a dask cluster, ``"dask"`` for one of
    its own, ``"dask:ADDRESS"``, or a `distributed.Client`. In threads and inline, an async task is called in the
    caller's event loop instead. ``max_workers``: how many items are worked on at a time, never more than items; 0 for
    twice the number of processors, with processes for as many as there are, but at most ``worker_cap``, and with dask
    for twice the threads of the cluster. ``fail_fast``: the first failure ends the whole; otherwise the failures are
    collected. ``timeout`` is in seconds for each try of an item, ``None`` for none. ``retry``: how often and when an
    item that failed is tried again, ``None`` for never. ``rate``: at most so many tries begin a second, ``None`` for no
    bound. ``idempotent``: an item that took too long in a thread, or on a cluster, may be tried again although its
    first try may still be running, which nothing can end; a process is killed. ``observer``: who is told of each item;
    by default the observer of the run around it, elsewhere ``"slog"``.

    Raises `ConfigError` for a value of the wrong type or out of range; its message names the key and what is allowed.

    >>> from tau import ParallelConfig, Retry, process_parallel
    >>> config = ParallelConfig(max_workers=4, timeout=60.0, retry=Retry(attempts=3), observer=None)
    >>> process_parallel([1, 2, 3], lambda n: n * n, config).results
    [1, 4, 9]
    """

    executor: Any = THREADS
    max_workers: int = 0
    worker_cap: int = 16
    fail_fast: bool = True
    timeout: float | None = None
    retry: Retry | None = None
    rate: float | None = None
    idempotent: bool = False

    def __post_init__(self) -> None:
        WorkflowConfig.__post_init__(self)
        put(self, "executor", checked_executor("executor", self.executor))
        put(self, "max_workers", integer("max_workers", self.max_workers, 0))
        put(self, "worker_cap", integer("worker_cap", self.worker_cap, 1))
        put(self, "fail_fast", boolean("fail_fast", self.fail_fast))
        put(self, "timeout", None if self.timeout is None else checked_seconds("timeout", self.timeout))
        if self.timeout is not None and self.executor == INLINE:
            raise refused("timeout", self.timeout, "null with executor='inline', where nothing can end an item")
        if self.retry is not None and not isinstance(self.retry, Retry):
            raise refused("retry", self.retry, "a tau.Retry, or null for none")
        put(self, "rate", None if self.rate is None else number("rate", self.rate, 0.0, above=True))
        put(self, "idempotent", boolean("idempotent", self.idempotent))

    @classmethod
    def from_dict(cls: type[P], values: Mapping[str, Any]) -> P:
        """From a mapping, as read from JSON or TOML; ``retry`` is a mapping, too. Missing keys get their defaults.

        Raises `ConfigError` for unknown keys, wrong types and values out of range.

        >>> ParallelConfig.from_dict({"max_workers": 4, "retry": {"attempts": 3}}).retry.attempts
        3
        """
        found = known_keys("", values, cls)
        if isinstance(found.get("retry"), Mapping):
            found["retry"] = Retry(**known_keys("retry", found["retry"], Retry))
        return cls(**found)

    def to_dict(self) -> dict[str, Any]:
        """All keys as nested plain dicts; `from_dict` gives an equal configuration back. Raises nothing.

        >>> ParallelConfig.from_dict(config.to_dict()) == config
        True
        """
        values = WorkflowConfig.to_dict(self)
        if self.retry is not None:
            values["retry"] = {one.name: getattr(self.retry, one.name) for one in fields(Retry)}
        return values

    def to_json(self) -> str:
        """All keys as a JSON object.

        Raises `ConfigError` when the executor or an observer is an object, not a name, and when ``retry`` names types
        of errors.

        >>> ParallelConfig.from_json(config.to_json()) == config
        True
        """
        self._check_observers()
        if not isinstance(self.executor, str):
            raise refused("executor", self.executor, "a name, because JSON cannot hold a client; use 'dask:ADDRESS'")
        values = self.to_dict()
        if self.retry is not None and values["retry"].pop("on") != (Exception,):
            raise refused("retry.on", self.retry.on, "every Exception, because JSON cannot hold the types of others")
        return json.dumps(values)
