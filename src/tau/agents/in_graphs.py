"""An agent as a node of a graph and as a handler of a hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from tau.agents.messages import Prompt
from tau.agents.structured import Wanted
from tau.checks import checked_name, refused
from tau.errors import ConfigError
from tau.state import State
from tau.values.models import is_model

if TYPE_CHECKING:
    from tau.agents.agent import Agent

PromptOf = str | Callable[[State], Prompt]
"""Text with ``{names}`` of the state, or a function of the state."""


def node_of(agent: Agent, prompt: PromptOf, *, into: str, schema: Any, options: Mapping[str, Any]) -> Any:
    """See `Agent.node`. What decides the answer is bound as plain data, so that it counts in the fingerprint."""
    checked_name("into", into)
    if not (isinstance(prompt, str) or callable(prompt)):
        raise refused("prompt", prompt, "text with {names} of the state, or a function of it")
    provider = agent.config.client.provider
    identity = {
        "agent": agent.name,
        "provider": provider.name,
        "model": agent.model,
        "system_prompt": agent.config.system_prompt,
        "capabilities": {key: dict(one) for key, one in provider.model.capabilities.items()},
        "options": dict(options),
        "schema": None if schema is None else Wanted(schema).schema,
    }
    return partial(_asked, agent=agent, prompt=prompt, into=into, schema=schema, options=options, identity=identity)


def _asked(
    state: State,
    *,
    agent: Agent,
    prompt: PromptOf,
    into: str,
    schema: Any,
    options: Mapping[str, Any],
    identity: Mapping[str, Any],
) -> dict[str, Any]:
    response = agent.chat(_prompt(state, prompt), schema=schema, **options)
    return {into: response.text if schema is None else _plain(response.value)}


def _prompt(state: State, prompt: PromptOf) -> Prompt:
    if not isinstance(prompt, str):
        return prompt(state)
    try:
        return prompt.format_map(_Values(state))
    except (ValueError, IndexError, AttributeError) as error:
        raise ConfigError(f"the prompt {prompt!r:.80} cannot be filled in: {error}; write {{{{ for a brace") from error


class _Values(dict[str, Any]):
    """The values of a state by name; says what there is instead of one that is not."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self._state = state

    def __missing__(self, name: str) -> Any:
        return self._state.require(name)


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if is_model(type(value)) else msgspec.to_builtins(value)


def handler_of(agent: Agent, options: Mapping[str, Any]) -> Any:
    """See `Agent.handler`."""

    async def handle(message: Any) -> str:
        found = message.data
        return (await agent.achat(found if isinstance(found, str) else str(found), **options)).text

    return handle
