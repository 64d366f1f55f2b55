"""Configuration of the workflows; every value is checked when it is passed, as in `tau.config`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar

from tau.checks import ObserverSpec, boolean, known_keys, observer_spec, put, read_json, refused

INHERIT: Final = "inherit"
"""The observer of the workflows by default: that of the run around them; where there is none, ``slog``."""

C = TypeVar("C", bound="WorkflowConfig")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowConfig:
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
        """
        return cls(**known_keys("", values, cls))

    @classmethod
    def from_json(cls: type[C], text: str | bytes) -> C:
        """From a JSON object. Raises `ConfigError`, also for text that is not JSON and for keys given twice."""
        return cls.from_dict(read_json(text))

    def to_dict(self) -> dict[str, Any]:
        """All keys as a plain dict; `from_dict` gives an equal configuration back. Raises nothing."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        if isinstance(self.observer, tuple):
            values["observer"] = list(self.observer)
        return values

    def to_json(self) -> str:
        """All keys as a JSON object. Raises `ConfigError` when an observer is an object, not a name."""
        for one in self.observer if isinstance(self.observer, tuple) else (self.observer,):
            if one is not None and not isinstance(one, str):
                raise refused("observer", one, "a name, because JSON cannot hold an object; register it and use that")
        return json.dumps(self.to_dict())


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainConfig(WorkflowConfig):
    """How `process_chain` works.

    ``capture_intermediate``: keep the initial state and the state after each step in the result. ``observer``: who is
    told of each step; by default the observer of the run around the chain, elsewhere ``"slog"``.

    Raises `ConfigError` for a value of the wrong type; its message names the key and what is allowed.
    """

    capture_intermediate: bool = False

    def __post_init__(self) -> None:
        WorkflowConfig.__post_init__(self)
        put(self, "capture_intermediate", boolean("capture_intermediate", self.capture_intermediate))
