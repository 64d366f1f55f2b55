"""What a hub tells of itself and of what it delivered."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from tau.errors import HubError
from tau.hub.message import Message


class Delivery(Struct, frozen=True, eq=False):
    """What became of a broadcast or of what was published: the ``messages`` that agents took into their queues, and why
    others did not, by their names, in ``failed``. Both are empty if there was no receiver. Reading raises nothing."""

    messages: tuple[Message, ...] = ()
    failed: Mapping[str, HubError] = MappingProxyType({})

    @property
    def delivered(self) -> tuple[str, ...]:
        """The names of the agents that took it. Raises nothing."""
        return tuple(message.to for message in self.messages)


class Metrics(Struct, frozen=True):
    """What a hub has done, as of one moment: ``messages_sent = messages_received + dropped + queued``, always.

    ``messages_sent`` went into a queue, each copy of a broadcast counted; ``messages_received`` were given to a
    handler, ``failed`` of them to one that raised. ``dropped`` were not handled: their agent or the hub ended, or who
    requested it had stopped waiting. ``late`` answers came when nothing waited for them. ``local_agents`` are
    registered.
    """

    local_agents: int = 0
    queued: int = 0
    messages_sent: int = 0
    messages_received: int = 0
    failed: int = 0
    dropped: int = 0
    late: int = 0


class AgentInfo(Struct, frozen=True):
    """An agent of a hub: how many messages are ``queued`` for it, how many handlers are ``busy``, the ``topics`` to
    which it is subscribed, and when it last sent something, in Unix seconds (``None`` if never)."""

    name: str
    queued: int
    busy: int
    topics: tuple[str, ...]
    last_seen: float | None


class Counts:
    """The counters of a hub, which its lock guards."""

    def __init__(self) -> None:
        self.sent = self.failed = self.dropped = self.late = 0

    def metrics(self, agents: int, queued: int) -> Metrics:
        """As of now, under the lock of the hub."""
        received = self.sent - self.dropped - queued
        return Metrics(agents, queued, self.sent, received, self.failed, self.dropped, self.late)
