"""Prompts: text or messages, checked and made plain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tau.checks import refused, short
from tau.errors import ConfigError

ROLES: Final = ("system", "user", "assistant", "tool")
_KEYS: Final = ("role", "content", "images", "tool_calls", "tool_call_id", "name")


def checked_prompt(prompt: Any, system: str) -> tuple[dict[str, Any], ...]:
    """The messages of a prompt, the ``system`` one first where it has none of its own. Raises `ConfigError`."""
    if isinstance(prompt, str):
        messages = [{"role": "user", "content": prompt}]
    elif isinstance(prompt, Sequence) and prompt and not isinstance(prompt, bytes):
        messages = [checked_message(f"messages[{at}]", one) for at, one in enumerate(prompt)]
    else:
        raise refused("the prompt", prompt, "text or a list of messages")
    if system and not any(one["role"] == "system" for one in messages):
        messages.insert(0, {"role": "system", "content": system})
    return tuple(messages)


def checked_message(path: str, message: Any) -> dict[str, Any]:
    """A copy of one message. Raises `ConfigError`, which names what is wrong."""
    if not isinstance(message, Mapping):
        raise refused(path, message, 'a message such as {"role": "user", "content": "..."}')
    if unknown := [key for key in message if key not in _KEYS]:
        raise ConfigError(f"{path}.{unknown[0]}: unknown key; the keys of a message are {', '.join(_KEYS)}")
    if message.get("role") not in ROLES:
        raise ConfigError(f"{path}.role: expected one of {', '.join(ROLES)}, found {short(message.get('role'))}")
    if not isinstance(message.get("content", ""), str):
        raise refused(f"{path}.content", message["content"], "text; pictures go under images")
    return {"content": "", **message}
