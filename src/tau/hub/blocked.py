"""A message that waits for room in a queue."""

from __future__ import annotations

from msgspec import Struct

from tau.hub.message import Message
from tau.hub.waiters import Waiter


class Blocked(Struct, frozen=True, eq=False):
    """A message that waits for room, and what its sender waits with."""

    message: Message
    waiter: Waiter
