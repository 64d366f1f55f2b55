"""Configuration: how a graph is observed, bounded and checkpointed.

Every value is checked when it is passed; a `ConfigError` names the key by its path (``checkpoint.interval``), what was
found and what is allowed. Durations are float seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from tau.checks import (
    YEAR,
    ObserverSpec,
    boolean,
    checked_name,
    directory,
    exceptions,
    integer,
    known_keys,
    number,
    observer_spec,
    put,
    read_json,
    refused,
)
from tau.errors import ConfigError, leaves
from tau.late_imports import load_module
from tau.replaceable import Replaceable
from tau.spelling import named_fields

__all__ = ["CheckpointConfig", "GraphConfig", "ObserverSpec", "Retention", "Retry"]

DEFAULT_LEASE = 60.0
"""For which a store may have another that is its own."""


@named_fields
@dataclass(frozen=True, slots=True)
class Retention(Replaceable):
    """Which runs of a graph that have ended, finished or cancelled, are kept. Each limit counts for itself.

    ``keep_last``: so many, the newest. ``max_age``: seconds since their end. ``max_bytes``: as many as take no more
    together, the newest; values before compression, artifacts included. Nothing is removed by this alone: ``tau gc``
    and `collect_runs` do.

    Raises `ConfigError` for a value of the wrong type or out of range, and where there is no limit at all.

    >>> from tau import CheckpointConfig, Retention
    >>> CheckpointConfig(interval=1, retention=Retention(keep_last=10, max_age=30 * 86400.0)).retention.keep_last
    10
    """

    keep_last: int | None = None
    max_age: float | None = None
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.keep_last is not None:
            put(self, "keep_last", integer("retention.keep_last", self.keep_last, 0))
        if self.max_age is not None:
            put(self, "max_age", number("retention.max_age", self.max_age, 0.0))
        if self.max_bytes is not None:
            put(self, "max_bytes", integer("retention.max_bytes", self.max_bytes, 0))
        if self.keep_last is None and self.max_age is None and self.max_bytes is None:
            raise ConfigError("retention: it has no limit; give keep_last, max_age or max_bytes")


@named_fields
@dataclass(frozen=True, slots=True)
class CheckpointConfig(Replaceable):
    """Whether, where and how often a run is kept.

    ``store``: a registered name, a store URL, or a store object. ``interval``: save at least after every N-th finished
    node; 0 switches checkpointing off. ``preserve``: keep the checkpoints of a finished run. ``lease``: seconds after
    which an owner that gives no sign of life may be superseded; the default, 60, is 300 where the store is on S3.
    ``max_crashes``: how many times in a row a run may die without finishing a node, or an item of one; after one more
    it is refused. ``artifacts``: the directory for `Context.artifact`, by default beside a store that is a file or a
    directory; several stores may share it, and a relative path starts at the working directory in which this is made.
    ``verify_artifacts``: a resume reads every artifact that the state refers to, instead of checking only size and
    time. ``patience``: for how many seconds saving is tried again while the store cannot be reached, at most half the
    lease; 0: not at all. ``retention``: which runs that have ended ``tau gc`` keeps; ``None``: all.

    Raises `ConfigError` for a value of the wrong type or out of range; its message names the key and what is allowed.

    >>> from tau import CheckpointConfig
    >>> CheckpointConfig(store="sqlite:///tau.db", interval=5, preserve=True).interval
    5
    """

    store: object = "memory"
    interval: int = 0
    preserve: bool = False
    lease: float = DEFAULT_LEASE
    max_crashes: int = 10
    artifacts: str | None = None
    verify_artifacts: bool = False
    patience: float = 30.0
    retention: Retention | None = None

    def __post_init__(self) -> None:
        if self.store is None or isinstance(self.store, (bool, int, float, bytes)) or self.store == "":
            raise refused("checkpoint.store", self.store, "the name of a store, a store URL or a store object")
        put(self, "interval", integer("checkpoint.interval", self.interval, 0))
        put(self, "preserve", boolean("checkpoint.preserve", self.preserve))
        put(self, "lease", number("checkpoint.lease", self.lease, 0.0, YEAR, above=True))
        put(self, "max_crashes", integer("checkpoint.max_crashes", self.max_crashes, 1))
        put(self, "verify_artifacts", boolean("checkpoint.verify_artifacts", self.verify_artifacts))
        put(self, "artifacts", directory("checkpoint.artifacts", self.artifacts))
        put(self, "patience", number("checkpoint.patience", self.patience, 0.0, YEAR))
        if not isinstance(self.retention, Retention | None):
            raise refused("checkpoint.retention", self.retention, "a Retention, or None")


@named_fields
@dataclass(frozen=True, slots=True)
class GraphConfig(Replaceable):
    """The configuration of a graph.

    ``observer``: a registered name, a callable, a sequence of these, or ``None``. ``max_iterations`` bounds the node
    visits of a whole run, across resumes; one more fails the run with `LimitExceededError`. ``checkpoint``: whether
    and where runs are stored. ``snapshots``: put the values of changed keys into events, redacted.

    Raises `ConfigError` for a value of the wrong type or out of range; its message names the key and what is allowed.

    >>> from tau import CheckpointConfig, GraphConfig, StateGraph
    >>> kept = CheckpointConfig(store="sqlite:///tau.db", interval=1, preserve=True)
    >>> config = GraphConfig("climate", observer=None, checkpoint=kept)
    >>> StateGraph(config).max_iterations
    1000
    """

    name: str
    observer: ObserverSpec = "slog"
    max_iterations: int = 1000
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    snapshots: bool = False

    def __post_init__(self) -> None:
        checked_name("name of the graph", self.name)
        put(self, "observer", observer_spec("observer", self.observer))
        put(self, "max_iterations", integer("max_iterations", self.max_iterations, 1))
        if not isinstance(self.checkpoint, CheckpointConfig):
            raise refused("checkpoint", self.checkpoint, "a CheckpointConfig")
        put(self, "snapshots", boolean("snapshots", self.snapshots))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GraphConfig:
        """From nested mappings, as read from JSON or TOML. Missing keys get their defaults; ``name`` is required.

        Raises `ConfigError` for unknown keys, wrong types and values out of range.

        >>> GraphConfig.from_dict({"name": "climate", "checkpoint": {"interval": 1}}).checkpoint.interval
        1
        """
        found = known_keys("", values, cls)
        if "name" not in found:
            raise ConfigError('name: missing; a configuration needs at least {"name": "..."}')
        if "checkpoint" in found:
            checkpoint = known_keys("checkpoint", found["checkpoint"], CheckpointConfig)
            if checkpoint.get("retention") is not None:
                kept = known_keys("checkpoint.retention", checkpoint["retention"], Retention)
                checkpoint["retention"] = Retention(**kept)
            found["checkpoint"] = CheckpointConfig(**checkpoint)
        return cls(**found)

    @classmethod
    def from_json(cls, text: str | bytes) -> GraphConfig:
        """From a JSON object. Raises `ConfigError`, also for text that is not JSON and for keys given twice.

        >>> GraphConfig.from_json('{"name": "climate", "max_iterations": 50}').max_iterations
        50
        """
        return cls.from_dict(read_json(text))

    def to_dict(self) -> dict[str, Any]:
        """All keys as nested plain dicts; `from_dict` gives an equal configuration back. Raises nothing.

        >>> GraphConfig.from_dict(config.to_dict()) == config
        True
        """
        values: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(self)}
        values["checkpoint"] = {one.name: getattr(self.checkpoint, one.name) for one in fields(self.checkpoint)}
        if (kept := self.checkpoint.retention) is not None:
            values["checkpoint"]["retention"] = {one.name: getattr(kept, one.name) for one in fields(kept)}
        if isinstance(self.observer, tuple):
            values["observer"] = list(self.observer)
        return values

    def to_json(self) -> str:
        """All keys as a JSON object. Raises `ConfigError` when the store or an observer is an object, not a name.

        >>> GraphConfig.from_json(config.to_json()) == config
        True
        """
        observers = self.observer if isinstance(self.observer, tuple) else (self.observer,)
        for path, value in [("checkpoint.store", self.checkpoint.store), *(("observer", one) for one in observers)]:
            if value is not None and not isinstance(value, str):
                raise refused(path, value, "a name, because JSON cannot hold an object; register it and use its name")
        load_module("json")
        import json  # only loaded where one is written

        return json.dumps(self.to_dict())


@named_fields
@dataclass(frozen=True, slots=True)
class Retry(Replaceable):
    """How often and when a failed node is tried again.

    ``attempts`` counts all tries, the first included. Before try ``n + 1`` the run waits
    ``d * (1 - jitter * random)`` seconds, where ``d = min(max_delay, delay * backoff ** (n - 1))`` and ``random`` is
    uniform in [0, 1): ``jitter=1`` is the "full jitter" and ``jitter=0.5`` the "equal jitter" of Marc Brooker,
    "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015); ``jitter=0`` waits exactly ``d``.
    ``on``: the exception types after which the node is tried again; any other type fails at once. An exception group,
    as a ``TaskGroup`` raises, counts if all errors in it do.

    Raises `ConfigError` for ``attempts`` below 1, a negative time, ``backoff`` below 1, ``jitter`` outside 0 to 1, and
    for an ``on`` that is not made of exception classes below `Exception`.

    >>> from tau import Retry
    >>> retry = Retry(attempts=5, delay=2.0, jitter=0.0, on=(OSError, TimeoutError))
    """

    attempts: int = 3
    delay: float = 1.0
    backoff: float = 2.0
    max_delay: float = 60.0
    jitter: float = 0.5
    on: type[Exception] | tuple[type[Exception], ...] = (Exception,)

    def __post_init__(self) -> None:
        put(self, "attempts", integer("retry.attempts", self.attempts, 1))
        put(self, "delay", number("retry.delay", self.delay, 0.0, YEAR))
        put(self, "backoff", number("retry.backoff", self.backoff, 1.0))
        put(self, "max_delay", number("retry.max_delay", self.max_delay, 0.0, YEAR))
        put(self, "jitter", number("retry.jitter", self.jitter, 0.0, 1.0))
        put(self, "on", exceptions("retry.on", self.on))

    def wait(self, attempt: int, random01: float) -> float:
        """Seconds to wait after the failure of try ``attempt`` (1 is the first), ``random01`` being in [0, 1).

        Raises nothing.

        >>> [retry.wait(attempt, 0.5) for attempt in (1, 2, 3)]
        [2.0, 4.0, 8.0]
        """
        try:
            longest = self.delay * self.backoff ** (attempt - 1)
        except OverflowError:
            longest = self.max_delay if self.delay else 0.0
        return min(self.max_delay, longest) * (1.0 - self.jitter * random01)

    def matches(self, error: BaseException) -> bool:
        """Whether the node is tried again after this error; for a group, whether all errors in it match. Raises
        nothing.

        >>> retry.matches(ConnectionError()), retry.matches(ValueError())
        (True, False)
        """
        return isinstance(error, self.on) or all(isinstance(one, self.on) for one in leaves(error))
