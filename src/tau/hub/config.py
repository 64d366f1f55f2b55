"""Configuration of a hub; every value is checked when it is passed, as in `tau.config`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tau.checks import checked_name, checked_seconds, integer, known_keys, put, read_json
from tau.spelling import named_fields


@named_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class HubConfig:
    """How a `Hub` works.

    ``queue_size``: how many messages of each priority wait for one agent at most; a sender waits for room.
    ``timeout``: for how many seconds a sender waits for room, and a requester for room and the answer, unless the call
    says otherwise.

    Raises `ConfigError` for a value that cannot be used; its message names the key and what is allowed.
    """

    name: str = "default"
    queue_size: int = 100
    timeout: float = 30.0

    def __post_init__(self) -> None:
        put(self, "name", checked_name("name", self.name))
        put(self, "queue_size", integer("queue_size", self.queue_size, 1))
        put(self, "timeout", checked_seconds("timeout", self.timeout))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HubConfig:
        """From a mapping, as read from JSON or TOML. Missing keys get their defaults.

        Raises `ConfigError` for unknown keys, wrong types and values out of range.
        """
        return cls(**known_keys("", values, cls))

    @classmethod
    def from_json(cls, text: str | bytes) -> HubConfig:
        """From a JSON object. Raises `ConfigError`, also for text that is not JSON and for keys given twice."""
        return cls.from_dict(read_json(text))

    def to_dict(self) -> dict[str, Any]:
        """All keys as a plain dict; `from_dict` gives an equal configuration back. Raises nothing."""
        return asdict(self)

    def to_json(self) -> str:
        """All keys as a JSON object. Raises nothing."""
        return json.dumps(self.to_dict())
