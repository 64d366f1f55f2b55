"""Agents: models whose answers are paid for once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tau.agents.agent import Agent
from tau.agents.config import AgentConfig
from tau.agents.no_requests import no_requests
from tau.agents.providers.scripted import FunctionProvider, Script
from tau.agents.records import Call, Response, ToolCall, Usage

__all__ = [
    "Agent",
    "AgentConfig",
    "Call",
    "Response",
    "ToolCall",
    "Usage",
    "function",
    "no_requests",
    "scripted",
]


def scripted(answers: Sequence[Any] | Mapping[str, Any], *, name: str = "scripted", **options: Any) -> Agent:
    """An agent for tests that gives these answers: those of a sequence one after the other, or of a mapping the first
    whose key is in the last message, which is the same after a resume and for calls at once. A sequence begins anew in
    each process: in a run that goes on after another one it is refused.

    An answer is text, a `ToolCall` or a list of these, an exception to raise, or plain data, which is answered as JSON.
    ``options`` are those of `Agent`. Raises `ConfigError`; a call without an answer raises `AgentError`.

    >>> from tau.agents import scripted
    >>> scripted({"trend": "up", "ice": "less"}).chat("Describe the trend.").text
    'up'
    """
    return function(Script(answers), name=name, **{"model": "scripted", **options})


def function(answer: Callable[[Call], Any], *, name: str = "function", **options: Any) -> Agent:
    """An agent for tests that gives what ``answer(call)`` returns, as for `scripted`; it may be async. ``options`` are
    those of `Agent`. Raises `ConfigError`; a call raises what ``answer`` does.

    >>> from tau.agents import function
    >>> function(lambda call: call.messages[-1]["content"].upper()).chat("hi").text
    'HI'
    """
    return Agent(FunctionProvider(answer), name=name, **options)
