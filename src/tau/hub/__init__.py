"""Agents of one process that send each other messages, ask each other, and hear of topics: see `Hub`."""

from __future__ import annotations

from tau.hub.config import HubConfig
from tau.hub.errors import (
    AgentGoneError,
    CircularRequestError,
    HubClosedError,
    QueueFullError,
    RequestFailedError,
    RequestTimeoutError,
    ShutdownTimeoutError,
    UnknownAgentError,
)
from tau.hub.handlers import MessageContext
from tau.hub.hub import Hub
from tau.hub.message import Message, Priority
from tau.hub.reports import AgentInfo, Delivery, Metrics

__all__ = [
    "AgentGoneError",
    "AgentInfo",
    "CircularRequestError",
    "Delivery",
    "Hub",
    "HubClosedError",
    "HubConfig",
    "Message",
    "MessageContext",
    "Metrics",
    "Priority",
    "QueueFullError",
    "RequestFailedError",
    "RequestTimeoutError",
    "ShutdownTimeoutError",
    "UnknownAgentError",
]
