"""What goes wrong with messages, all of it below `tau.HubError`.

::

    HubError (RuntimeError)
    ├── UnknownAgentError (LookupError)     .agent
    ├── AgentGoneError                      .agent
    ├── HubClosedError
    ├── QueueFullError (TimeoutError)       .agent .seconds
    ├── RequestTimeoutError (TimeoutError)  .agent .seconds
    ├── RequestFailedError                  .agent .type_name .text
    ├── CircularRequestError                .circle
    └── ShutdownTimeoutError (TimeoutError) .seconds .left
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tau.errors import HubError


class UnknownAgentError(HubError, LookupError):
    """No agent of that name is registered with the hub; nothing was sent."""

    agent: str = ""


class AgentGoneError(HubError):
    """The agent was unregistered, or the event loop of its handler ended, before it had taken or answered a message."""

    agent: str = ""


class HubClosedError(HubError):
    """The hub was shut down: it takes nothing more, and what it still had is not handled."""


class QueueFullError(HubError, TimeoutError):
    """The agent's queue had no room for that many ``seconds``; the message was not sent."""

    agent: str = ""
    seconds: float = 0.0


class RequestTimeoutError(HubError, TimeoutError):
    """There was no answer for that many ``seconds``. An answer that comes later is dropped."""

    agent: str = ""
    seconds: float = 0.0


class RequestFailedError(HubError):
    """The handler of the agent raised instead of answering: an error of the type ``type_name`` with this ``text``. It
    is the ``__cause__``."""

    agent: str = ""
    type_name: str = ""
    text: str = ""


class CircularRequestError(HubError):
    """A wait that would never end, because what is waited for waits for the caller; nothing was sent. ``circle`` names
    the agents, each with its hub."""

    circle: tuple[str, ...] = ()


class ShutdownTimeoutError(HubError, TimeoutError):
    """A hub still had work after so many ``seconds``. It is shut down; ``left`` says how many messages of each agent
    were dropped or are still being handled."""

    seconds: float = 0.0
    left: Mapping[str, int] = MappingProxyType({})
