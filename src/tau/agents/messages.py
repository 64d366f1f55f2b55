"""Prompts: text or messages, checked and made plain."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tau.agents.records import Message
from tau.checks import refused, short
from tau.errors import ConfigError

Prompt = str | Sequence[Message]
"""What is asked: text, or messages such as ``{"role": "user", "content": "..."}``."""

Image = bytes | str | os.PathLike[str]
"""A picture: the bytes of a file, or its path."""

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


def with_images(prompt: Any, images: Any) -> list[dict[str, Any]]:
    """The messages of a prompt, of which the last has the pictures. Raises `ConfigError`, and `OSError` for a file that
    cannot be read."""
    if isinstance(images, bytes | str | os.PathLike) or not isinstance(images, Sequence) or not images:
        raise refused("images", images, "a list of paths or bytes, at least one")
    *before, last = checked_prompt(prompt, "")
    return [*before, {**last, "images": [_encoded(at, one) for at, one in enumerate(images)]}]


def _encoded(at: int, image: Any) -> str:
    if isinstance(image, str | os.PathLike):
        image = Path(image).read_bytes()
    if not isinstance(image, bytes):
        raise refused(f"images[{at}]", image, "a path or bytes")
    return base64.b64encode(image).decode("ascii")


def inputs(texts: Any) -> tuple[dict[str, Any], ...]:
    """The texts of which embeddings are wanted, as messages. Raises `ConfigError`."""
    found = [texts] if isinstance(texts, str) else texts
    if isinstance(found, bytes) or not isinstance(found, Sequence) or not found:
        raise refused("texts", texts, "text or a list of texts")
    for at, one in enumerate(found):
        if not isinstance(one, str):
            raise refused(f"texts[{at}]", one, "text")
    return tuple({"role": "input", "content": one} for one in found)
