"""`Message`: what agents send each other, and how urgent it is. Immutable."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from tau import forks
from tau.checks import checked_name, refused
from tau.errors import ConfigError
from tau.hub.waiters import Waiter

REQUEST: Final = "request"
RESPONSE: Final = "response"
NOTIFICATION: Final = "notification"
BROADCAST: Final = "broadcast"
TYPES: Final = (REQUEST, RESPONSE, NOTIFICATION, BROADCAST)
NO_HEADERS: Final = MappingProxyType[str, str]({})
_KEYS: Final = ("id", "from", "to", "type", "data", "reply_to", "topic", "timestamp", "priority", "headers")

_random = random.Random(os.urandom(32))  # its own: a seed that a program chooses must not make its ids repeat
draw = _random.getrandbits


@forks.in_child
def _draw_others() -> None:
    _random.seed(os.urandom(32))


class Priority(IntEnum):
    """How urgent a message is. An agent takes the most urgent one first; of equal ones, the oldest. Raises
    `ValueError` for another number."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    CRITICAL = 3


class Message(Struct, frozen=True, eq=False, repr_omit_defaults=True):
    """What one agent sends another; immutable. Made by a hub, or by `request`, `notification` and `reply`.

    ``type`` is ``request``, ``response``, ``notification`` or ``broadcast``; ``topic`` is empty but for what was
    published, ``reply_to`` but for a response. ``data`` is anything: a hub gives each receiver its own copy of lists,
    dicts, sets and tuples, and of all inside of these that are such; other objects, such as arrays, are shared, and
    are not to be changed. ``sent_at`` is in Unix seconds. Neither ``str`` nor ``repr`` shows the data. Messages are
    equal if they are the same object. Making one by its fields raises nothing, and checks nothing.

    >>> from tau import Message
    >>> asked = Message.request("commander", "engineer", {"what": "pressure"})
    >>> answer = asked.reply({"bar": 2.1})
    >>> answer.to, answer.type, answer.reply_to == asked.id
    ('commander', 'response', True)
    >>> answer.replace(data=None).data is None
    True
    >>> Message.from_dict(answer.to_dict()).data
    {'bar': 2.1}
    >>> Message.notification("engineer", "commander", "done").type
    'notification'
    """

    sender: str
    to: str
    data: Any
    type: str
    topic: str
    reply_to: str
    priority: Priority
    sent_at: float
    number: int
    """What is random in its id, if ``given_id`` is empty; the id is only written where it is asked for."""
    given_id: str = ""
    given_headers: Mapping[str, str] | None = None
    waiter: Waiter | None = None
    """What its requester waits with, ``None`` where no answer is wanted."""

    @staticmethod
    def request(sender: str, to: str, data: Any = None, **options: Any) -> Message:
        """A message that wants an answer. Options: ``priority`` and ``headers``. Raises `ConfigError` for a value that
        cannot be used."""
        return made(sender, to, data, REQUEST, **options)

    @staticmethod
    def notification(sender: str, to: str, data: Any = None, **options: Any) -> Message:
        """A message that wants none. Options: ``priority``, ``topic`` and ``headers``. Raises `ConfigError` for a value
        that cannot be used."""
        return made(sender, to, data, NOTIFICATION, **options)

    def reply(self, data: Any = None, **options: Any) -> Message:
        """The response to this message, from its receiver to its sender, of the same priority unless one is given.

        Options: ``priority`` and ``headers``. Raises `ConfigError` for a value that cannot be used.
        """
        options.setdefault("priority", self.priority)
        return made(self.to, self.sender, data, RESPONSE, reply_to=self.id, **options)

    @property
    def id(self) -> str:
        """Tells messages apart: a UUID of version 7, or of version 8 where it is derived from a run. Raises nothing."""
        return self.given_id or _uuid7(self.sent_at, self.number)

    @property
    def headers(self) -> Mapping[str, str] | None:
        """What else is said about it, read-only; ``None`` if nothing is. Raises nothing."""
        return None if self.given_headers is None else MappingProxyType(dict(self.given_headers))

    @property
    def timestamp(self) -> datetime:
        """When it was sent, in UTC. Raises nothing."""
        return datetime.fromtimestamp(self.sent_at, UTC)

    @property
    def is_request(self) -> bool:
        """Whether its sender waits for an answer. Raises nothing."""
        return self.type == REQUEST

    @property
    def is_response(self) -> bool:
        """Whether it answers another one. Raises nothing."""
        return self.type == RESPONSE

    @property
    def is_notification(self) -> bool:
        """Whether it was sent, or published, to be known. Raises nothing."""
        return self.type == NOTIFICATION

    @property
    def is_broadcast(self) -> bool:
        """Whether it went to all agents of a hub. Raises nothing."""
        return self.type == BROADCAST

    def replace(
        self,
        *,
        sender: str | UnsetType = UNSET,
        to: str | UnsetType = UNSET,
        data: Any = UNSET,
        priority: Priority | UnsetType = UNSET,
        topic: str | UnsetType = UNSET,
        headers: Mapping[str, str] | UnsetType | None = UNSET,
    ) -> Message:
        """A copy with these changes. It has the id and time of this message, and, if not replaced, the same data, which
        is not copied. Raises `ConfigError` for a value that cannot be used."""
        changes: dict[str, Any] = {"sender": sender, "to": to, "data": data, "priority": priority, "topic": topic}
        changes = {name: value for name, value in changes.items() if value is not UNSET}
        if headers is not UNSET:
            changes["given_headers"] = checked_headers(headers)
        elif self.given_headers is not None:
            changes["given_headers"] = dict(self.given_headers)
        return _checked(replace(self, waiter=None, **changes))

    def to_dict(self) -> dict[str, Any]:
        """The message as JSON names it: ``id from to type data reply_to topic timestamp priority headers``, without
        those that are empty; the priority is always there. The data is not copied. Raises nothing."""
        found: dict[str, Any] = {"id": self.id, "from": self.sender, "to": self.to, "type": self.type}
        found |= {"data": self.data} if self.data is not None else {}
        found |= {"reply_to": self.reply_to} if self.reply_to else {}
        found |= {"topic": self.topic} if self.topic else {}
        found |= {"timestamp": self.timestamp.isoformat(), "priority": int(self.priority)}
        return found | ({"headers": dict(self.given_headers)} if self.given_headers else {})

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Message:
        """The message that `to_dict` described. Raises `ConfigError` for keys that are missing, unknown or wrong."""
        unknown = [key for key in values if key not in _KEYS]
        missing = [key for key in ("id", "from", "to", "type", "timestamp") if key not in values]
        if unknown or missing:
            wrong = f"does not know {unknown!r:.80}" if unknown else f"needs {missing!r}"
            raise ConfigError(f"a message {wrong}; its keys are {', '.join(_KEYS)}")
        if values["type"] not in TYPES:
            raise refused("type", values["type"], f"one of {', '.join(TYPES)}")
        try:
            sent_at = datetime.fromisoformat(values["timestamp"]).timestamp()
        except (ValueError, TypeError, OverflowError):
            raise refused("timestamp", values["timestamp"], "a time as in 2026-01-31T12:00:00+00:00") from None
        message = Message(
            values["from"],
            values["to"],
            values.get("data"),
            values["type"],
            _text("topic", values.get("topic", "")),
            _text("reply_to", values.get("reply_to", "")),
            checked_priority(values.get("priority", Priority.NORMAL)),
            sent_at,
            0,
            checked_name("id", values["id"]),
            checked_headers(values.get("headers")),
        )
        return _checked(message)

    def __str__(self) -> str:
        topic = f", topic={self.topic!r}" if self.topic else ""
        return f"Message(id={self.id!r}, from={self.sender!r}, to={self.to!r}, type={self.type!r}{topic})"

    __repr__ = __str__


def made(
    sender: str,
    to: str,
    data: Any,
    type: str,
    *,
    topic: str = "",
    reply_to: str = "",
    priority: Priority = Priority.NORMAL,
    headers: Mapping[str, str] | None = None,
    id: str = "",
) -> Message:
    """A checked message, as of now. Raises `ConfigError`."""
    known = checked_headers(headers) if headers is not None else None
    now = time.time()
    return _checked(Message(sender, to, data, type, topic, reply_to, priority, now, draw(62), id, known))


def _checked(message: Message) -> Message:
    checked_name("the sender of a message", message.sender)
    checked_name("the receiver of a message", message.to)
    _text("topic", message.topic)
    checked_priority(message.priority)
    return message


def checked_priority(value: Any) -> Priority:
    """``value`` as a priority. Raises `ConfigError`."""
    if type(value) is Priority:
        return value
    if type(value) is int and 0 <= value < len(Priority):
        return Priority(value)
    raise refused("priority", value, "one of Priority.LOW, NORMAL, HIGH, CRITICAL, or 0 to 3")


def checked_headers(value: Any) -> dict[str, str] | None:
    """A copy of these headers. Raises `ConfigError`."""
    if value is None:
        return None
    if not isinstance(value, Mapping) or not all(isinstance(one, str) for pair in value.items() for one in pair):
        raise refused("headers", value, "a mapping of texts to texts, or None for none")
    return dict(value)


def _text(path: str, value: Any) -> str:
    if not isinstance(value, str):
        raise refused(path, value, "text")
    return value


def _uuid7(sent_at: float, number: int) -> str:
    """RFC 9562: 48 bits of Unix milliseconds, 12 of their 4096th parts (its method 3), 62 random ones."""
    parts = int(sent_at * 4096_000) & (1 << 60) - 1
    return str(UUID(int=parts >> 12 << 80 | 7 << 76 | (parts & 4095) << 64 | 2 << 62 | number))


def uuid8(digest: bytes) -> str:
    """The first 122 bits of a digest as a UUID of version 8."""
    bits = int.from_bytes(digest[:16], "big")
    return str(UUID(int=bits & ~(15 << 76) & ~(3 << 62) | 8 << 76 | 2 << 62))
