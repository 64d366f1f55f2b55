"""Handlers: what a callable takes is asked once, when it is registered; what it raises becomes an answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from tau.errors import ConfigError, HubError
from tau.graph.nodes import is_async, is_generator
from tau.hub.data_copies import own_copy
from tau.hub.errors import RequestFailedError
from tau.hub.message import RESPONSE, Message
from tau.node.calls import is_late

_MOST: Final = 10_000  # characters of what a handler raised


class MessageContext(Struct, frozen=True):
    """Where a handler is called: the name of the hub, and the name of its own agent there."""

    hub_name: str
    agent: str
    hub: Any
    """The `Hub` itself."""


class Handler(Struct, frozen=True, eq=False):
    """A handler that was looked at: what to call with a message, and whether the result is awaited."""

    call: Callable[[Message], Any]
    is_async: bool


def checked_handler(context: MessageContext, function: Any) -> Handler:
    """``function(message)``, or ``function(message, context)`` where it takes a second positional argument without a
    default. Raises `ConfigError` for what cannot be called so."""
    where = f"the handler of agent {context.agent!r}"
    if not callable(function):
        raise ConfigError(f"{where}: expected a callable, found {type(function).__name__}")
    if is_generator(function):
        raise ConfigError(f"{where} is a generator function, which does nothing when it is called: return an answer")
    taken = _positional(where, function)
    if taken < 2:
        return Handler(function, is_async(function))
    if is_async(function):

        async def with_context_later(message: Message) -> Any:
            return await function(message, context)

        return Handler(with_context_later, True)

    def with_context(message: Message) -> Any:
        return function(message, context)

    return Handler(with_context, False)


def _positional(where: str, function: Any) -> int:
    """With how many arguments to call it, 1 or 2."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError):  # many callables in C do not say
        return 1
    places = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    needed = [
        one for one in parameters if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    more = [one.name for one in needed if one not in places[:2]]
    if more or not (places or any(one.kind is one.VAR_POSITIONAL for one in parameters)):
        found = f"nothing supplies {', '.join(more)}" if more else "it takes no argument"
        raise ConfigError(f"{where} is called with the message, or with the message and a context; {found}")
    return 2 if len(places) > 1 and places[1].default is inspect.Parameter.empty else 1


def answer_of(message: Message, result: Any) -> Message | None:
    """The response that a handler's result stands for. Raises `HubError` for what cannot be one."""
    if not isinstance(result, Message):
        return message.reply(own_copy(result))
    if result.type != RESPONSE or result.reply_to != message.id:
        raise HubError(
            f"the handler answered {message} with {result}, which is not its response: use message.reply(...)"
        )
    return result.replace(data=own_copy(result.data))


def not_awaited(agent: str, result: Any) -> None:
    """Raises `ConfigError` for what a sync handler left to be awaited."""
    if is_late(result):
        if inspect.iscoroutine(result):
            result.close()
        raise ConfigError(
            f"the handler of agent {agent!r} returned {type(result).__name__}, which is awaited by nothing: register "
            "an async function (async def), not one that returns what it gives"
        )


def failure(label: str, agent: str, error: BaseException) -> RequestFailedError:
    """What a requester is told of what a handler raised. Control characters are shown as escapes."""
    try:
        said = str(error)
    except Exception:
        said = "<it has no text>"
    text = "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in said[:_MOST])
    told = RequestFailedError(
        f"agent {label} failed on the request: {type(error).__name__}{': ' if text else ''}{text}",
        agent=agent,
        type_name=type(error).__name__,
        text=text,
    )
    told.__cause__ = error
    return told
