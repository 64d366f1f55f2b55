"""The keys of providers, which no message shows, and the clients that have to be installed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from tau.agents.config import Secret
from tau.agents.providers.failures import Place
from tau.errors import ConfigError


def needs(client: str, extra: str) -> None:
    """Raises `ConfigError` where the client of a provider is not installed."""
    if find_spec(client) is None:
        raise ConfigError(
            f"client.provider.name: the provider needs the package {client!r}, which is not installed; run: "
            f'pip install "tau-orchestrate[{extra}]"'
        )


def key_of(options: Mapping[str, Any], variable: str, place: Place, name: str = "api_key") -> str:
    """The key that the options give (``api_key``), or name an environment variable for (``api_key_env``), or that is in
    the usual ``variable``; empty if there is none. The place then keeps it out of its messages. Raises `ConfigError`
    for a variable that is named and not set, and for what cannot be a key."""
    given = options.get(name)
    named = options.get(f"{name}_env")
    if isinstance(given, Secret):
        key = given.reveal()
    elif named is not None:
        key = os.environ.get(str(named), "")
        if not key:
            raise ConfigError(
                f"the environment variable {named} is not set, which {name}_env names in the options of the provider; "
                "set it, or name another one"
            )
    else:
        key = os.environ.get(variable, "")
    return sendable(key, place, name)


def sendable(key: str, place: Place, name: str) -> str:
    """A key as it is sent: without the line end of the file that it comes from. Raises `ConfigError` for one that no
    header can hold, which clients would show in their errors."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"the {name} for {place.provider} at {place.address} has a character that no key has, such as the end of a "
            "line in its middle; look at the option or variable that it comes from"
        )
    if key:
        place.secrets.add(key)
    return key
