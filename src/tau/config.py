"""Configuration: how a graph is observed, bounded and checkpointed.

Every value is checked when it is passed; a `ConfigError` names the key by its path (``checkpoint.interval``), what was
found and what is allowed. Durations are float seconds.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any

from tau.errors import ConfigError, leaves
from tau.events import Observer
from tau.late_imports import load_module

ObserverSpec = str | Observer | Sequence[str | Observer] | None
"""A registered name, a callable, a sequence of these, or ``None`` for no observer."""

MAX_NAME = 256
_YEAR = 365 * 86400.0


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """Whether, where and how often a run is kept.

    ``store``: a registered name, a store URL, or a store object. ``interval``: save at least after every N-th finished
    node; 0 switches checkpointing off. ``preserve``: keep the checkpoints of a finished run. ``lease``: seconds after
    which an owner that gives no sign of life may be superseded. ``max_crashes``: how many times in a row a run may die
    without finishing a node, or an item of one, before it is refused. ``artifacts``: the directory for
    `Context.artifact`, by default beside a store that is a file or a directory; several stores may share it, and a
    relative path starts at the working directory in which this is made. ``verify_artifacts``: a resume reads every
    artifact that the state refers to, instead of checking only size and time. ``patience``: for how many seconds saving
    is tried again while the store cannot be reached, at most half the lease; 0: not at all.

    Raises `ConfigError` for a value of the wrong type or out of range; its message names the key and what is allowed.
    """

    store: object = "memory"
    interval: int = 0
    preserve: bool = False
    lease: float = 60.0
    max_crashes: int = 10
    artifacts: str | None = None
    verify_artifacts: bool = False
    patience: float = 30.0

    def __post_init__(self) -> None:
        if self.store is None or isinstance(self.store, (bool, int, float, bytes)) or self.store == "":
            raise _refused("checkpoint.store", self.store, "the name of a store, a store URL or a store object")
        _put(self, "interval", _integer("checkpoint.interval", self.interval, 0))
        _put(self, "preserve", _boolean("checkpoint.preserve", self.preserve))
        _put(self, "lease", _number("checkpoint.lease", self.lease, 0.0, _YEAR, above=True))
        _put(self, "max_crashes", _integer("checkpoint.max_crashes", self.max_crashes, 1))
        _put(self, "verify_artifacts", _boolean("checkpoint.verify_artifacts", self.verify_artifacts))
        _put(self, "artifacts", _directory("checkpoint.artifacts", self.artifacts))
        _put(self, "patience", _number("checkpoint.patience", self.patience, 0.0, _YEAR))


@dataclass(frozen=True, slots=True)
class GraphConfig:
    """The configuration of a graph.

    ``observer``: a registered name, a callable, a sequence of these, or ``None``. ``max_iterations`` bounds the node
    visits of a whole run, across resumes; one more fails the run with `LimitExceededError`. ``checkpoint``: whether
    and where runs are stored. ``snapshots``: put the values of changed keys into events, redacted.

    Raises `ConfigError` for a value of the wrong type or out of range; its message names the key and what is allowed.
    """

    name: str
    observer: ObserverSpec = "slog"
    max_iterations: int = 1000
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    snapshots: bool = False

    def __post_init__(self) -> None:
        checked_name("name", self.name)
        _put(self, "observer", _observer("observer", self.observer))
        _put(self, "max_iterations", _integer("max_iterations", self.max_iterations, 1))
        if not isinstance(self.checkpoint, CheckpointConfig):
            raise _refused("checkpoint", self.checkpoint, "a CheckpointConfig")
        _put(self, "snapshots", _boolean("snapshots", self.snapshots))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GraphConfig:
        """From nested mappings, as read from JSON or TOML. Missing keys get their defaults; ``name`` is required.

        Raises `ConfigError` for unknown keys, wrong types and values out of range.
        """
        found = _known_keys("", values, cls)
        if "name" not in found:
            raise ConfigError('name: missing; a configuration needs at least {"name": "..."}')
        if "checkpoint" in found:
            found["checkpoint"] = CheckpointConfig(**_known_keys("checkpoint", found["checkpoint"], CheckpointConfig))
        return cls(**found)

    @classmethod
    def from_json(cls, text: str | bytes) -> GraphConfig:
        """From a JSON object. Raises `ConfigError`, also for text that is not JSON and for keys given twice."""
        try:
            values = json.loads(text, object_pairs_hook=_no_duplicates)
        except ConfigError:
            raise
        except (ValueError, TypeError, RecursionError) as error:
            raise ConfigError(f"the configuration is not JSON: {error}") from error
        return cls.from_dict(values)

    def to_dict(self) -> dict[str, Any]:
        """All keys as nested plain dicts; `from_dict` gives an equal configuration back. Raises nothing."""
        values: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(self)}
        values["checkpoint"] = {one.name: getattr(self.checkpoint, one.name) for one in fields(self.checkpoint)}
        if isinstance(self.observer, tuple):
            values["observer"] = list(self.observer)
        return values

    def to_json(self) -> str:
        """All keys as a JSON object. Raises `ConfigError` when the store or an observer is an object, not a name."""
        observers = self.observer if isinstance(self.observer, tuple) else (self.observer,)
        for path, value in [("checkpoint.store", self.checkpoint.store), *(("observer", one) for one in observers)]:
            if value is not None and not isinstance(value, str):
                raise _refused(path, value, "a name, because JSON cannot hold an object; register it and use its name")
        return json.dumps(self.to_dict())


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when a failed node is tried again.

    ``attempts`` counts all tries, the first included. Before try ``n + 1`` the run waits
    ``d * (1 - jitter * random)`` seconds, where ``d = min(max_delay, delay * backoff ** (n - 1))`` and ``random`` is
    uniform in [0, 1): ``jitter=1`` is the "full jitter" and ``jitter=0.5`` the "equal jitter" of Marc Brooker,
    "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015); ``jitter=0`` waits exactly ``d``.
    ``on``: the exception types after which the node is tried again; any other type fails at once. An exception group,
    as a ``TaskGroup`` raises, counts if all errors in it do.

    Raises `ConfigError` for ``attempts`` below 1, a negative time, ``backoff`` below 1, ``jitter`` outside 0 to 1, and
    for an ``on`` that is not made of exception classes below `Exception`.
    """

    attempts: int = 3
    delay: float = 1.0
    backoff: float = 2.0
    max_delay: float = 60.0
    jitter: float = 0.5
    on: type[Exception] | tuple[type[Exception], ...] = (Exception,)

    def __post_init__(self) -> None:
        _put(self, "attempts", _integer("retry.attempts", self.attempts, 1))
        _put(self, "delay", _number("retry.delay", self.delay, 0.0, _YEAR))
        _put(self, "backoff", _number("retry.backoff", self.backoff, 1.0))
        _put(self, "max_delay", _number("retry.max_delay", self.max_delay, 0.0, _YEAR))
        _put(self, "jitter", _number("retry.jitter", self.jitter, 0.0, 1.0))
        _put(self, "on", _exceptions("retry.on", self.on))

    def wait(self, attempt: int, random01: float) -> float:
        """Seconds to wait after the failure of try ``attempt`` (1 is the first), ``random01`` being in [0, 1).

        Raises nothing.
        """
        try:
            longest = self.delay * self.backoff ** (attempt - 1)
        except OverflowError:
            longest = self.max_delay if self.delay else 0.0
        return min(self.max_delay, longest) * (1.0 - self.jitter * random01)

    def matches(self, error: BaseException) -> bool:
        """Whether the node is tried again after this error; for a group, whether all errors in it match. Raises
        nothing."""
        return isinstance(error, self.on) or all(isinstance(one, self.on) for one in leaves(error))


def checked_name(path: str, value: Any, error: type[Exception] = ConfigError) -> str:
    """``value`` if it is a name: text of 1 to 256 characters without NUL or lone surrogates; else raises ``error``."""
    if not isinstance(value, str):
        raise error(f"{path} must be text, found {type(value).__name__}: {_short(value)}")
    if not value:
        raise error(f"{path} cannot be empty")
    if len(value) > MAX_NAME:
        raise error(f"{path} has {len(value)} characters, at most {MAX_NAME} are allowed: {_short(value)}")
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in value):
        raise error(f"{path} cannot contain NUL or lone surrogates, found {_short(value)}")
    return value


def checked_tags(tags: Any) -> tuple[str, ...]:
    """One tag or several; each is a name as `checked_name` takes it. Raises `ConfigError`."""
    if isinstance(tags, (bytes, Mapping)) or not isinstance(tags, Iterable):
        raise _refused("tags", tags, "a string or a list of strings")
    return tuple(checked_name("a tag", tag) for tag in ((tags,) if isinstance(tags, str) else tags))


def checked_seconds(path: str, value: Any) -> float:
    """``value`` as float seconds above 0 and at most a year. Raises `ConfigError`."""
    return _number(path, value, 0.0, _YEAR, above=True)


def _put(config: object, name: str, value: object) -> None:
    object.__setattr__(config, name, value)  # the normalised value of a frozen dataclass


def _short(value: Any) -> str:
    try:
        text = ascii(value)
    except Exception:
        text = "<no representation>"
    return text if len(text) <= 80 else text[:77] + "..."


def _refused(path: str, value: Any, allowed: str) -> ConfigError:
    return ConfigError(f"{path}: expected {allowed}, found {type(value).__name__}: {_short(value)}")


def _boolean(path: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _refused(path, value, "true or false (a bool)")
    return value


def _directory(path: str, value: Any) -> str | None:
    found = os.fspath(value) if isinstance(value, os.PathLike) else value
    if found is not None and (not isinstance(found, str) or not found or "\0" in found):
        raise _refused(path, value, "the path of a directory, or null for none")
    return None if found is None else os.path.abspath(found)  # once: a node may go to another directory


def _integer(path: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) < 2**63:
        raise _refused(path, value, f"an integer of {least} or more")
    return int(value)


def _number(path: str, value: Any, least: float, most: float = math.inf, above: bool = False) -> float:
    lower = f"above {least:g}" if above else f"of {least:g} or more"
    allowed = f"a finite number {lower}" + (f", at most {most:g}" if most < math.inf else "")
    if isinstance(value, bool) or not isinstance(value, Real):
        raise _refused(path, value, allowed)
    try:
        number = float(value)
    except OverflowError:
        raise _refused(path, value, allowed) from None
    if not math.isfinite(number) or not least <= number <= most or (above and number == least):
        raise _refused(path, value, allowed)
    return number


def _exceptions(path: str, value: Any) -> tuple[type[Exception], ...]:
    kinds = value if isinstance(value, (tuple, list)) else (value,)
    if not kinds or not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
        raise _refused(path, value, "exception classes below Exception, at least one")
    return tuple(kinds)


def _observer(path: str, value: Any) -> ObserverSpec:
    found: ObserverSpec = value
    if value is None or callable(value):
        return found
    if isinstance(value, str):
        return checked_name(path, value)
    if isinstance(value, (list, tuple)) and all(isinstance(one, str) or callable(one) for one in value):
        return tuple(value)
    raise _refused(path, value, "the name of an observer, a callable, a list of these, or null for none")


def _known_keys(path: str, values: Any, kind: type) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise _refused(path or "the configuration", values, "an object with keys")
    known = [one.name for one in fields(kind)]
    prefix = f"{path}." if path else ""
    unknown = [key for key in values if key not in known]
    if unknown:
        raise ConfigError(
            "; ".join(_unknown(prefix, key, known) for key in unknown) + f". Known are {', '.join(known)}"
        )
    return dict(values)


def _unknown(prefix: str, key: Any, known: Iterable[str]) -> str:
    load_module("difflib")
    from difflib import get_close_matches  # only needed for a mistyped key

    near = get_close_matches(key, known, 1) if isinstance(key, str) else []
    hint = f", did you mean {prefix}{near[0]}?" if near else ""
    return f"{prefix}{key}: unknown key{hint}"


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise ConfigError(f"{', '.join(twice)}: given more than once; keep one")
    return found
