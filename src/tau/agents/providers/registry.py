"""Which providers there are, by the name that configurations use."""

from __future__ import annotations

from typing import Final

from tau.agents.config import ClientConfig
from tau.agents.providers.base import Provider
from tau.errors import ConfigError
from tau.late_imports import load_module
from tau.spelling import did_you_mean

PROVIDERS: Final = {
    "ollama": "tau.agents.providers.ollama",
    "openai": "tau.agents.providers.openai",
    "azure": "tau.agents.providers.openai",
}
"""The module of each, whose ``make`` gives a provider; it is imported when an agent asks for it."""


def provider_of(config: ClientConfig) -> Provider:
    """The provider that a configuration names. Raises `ConfigError` for an unknown one, and where its client is not
    installed."""
    name = config.provider.name
    if name not in PROVIDERS:
        near = did_you_mean(name, PROVIDERS)
        raise ConfigError(f"client.provider.name: unknown provider {name!r}; there are {', '.join(PROVIDERS)}{near}")
    made: Provider = load_module(PROVIDERS[name]).make(config)
    return made
