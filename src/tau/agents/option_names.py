"""The names of options: all those of providers are known; of those of models, servers have some of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tau.errors import ConfigError
from tau.spelling import did_you_mean

OF_PROVIDERS: Final[Mapping[str, tuple[str, ...]]] = {
    "ollama": ("api_key", "api_key_env"),
    "openai": ("api_key", "api_key_env", "organization", "project"),
    "azure": ("auth_type", "api_key", "api_key_env", "token", "token_env", "deployment", "api_version"),
}
"""What each provider takes in ``provider_options``."""

_MODEL_OPTIONS: Final = """
max_tokens max_completion_tokens min_tokens temperature top_p top_k min_p typical_p top_n top_a seed stop n
presence_penalty frequency_penalty repetition_penalty repeat_penalty length_penalty repeat_last_n num_ctx
num_batch num_gpu num_thread num_keep num_predict keep_alive think dimensions truncate mirostat mirostat_tau
mirostat_eta response_format tool_choice parallel_tool_calls reasoning_effort logit_bias logprobs top_logprobs
service_tier extra_body extra_headers
"""
_OF_MODELS: Final = frozenset(_MODEL_OPTIONS.split())
_OF_CALLS: Final = frozenset(("schema", "max_rounds"))
"""Arguments, which would be sent as options if they were mistyped."""
_SHORT: Final = 5  # of fewer letters, other options are as near


def check_provider_options(path: str, provider: str, options: Iterable[str]) -> None:
    """Raises `ConfigError` for an option that the provider does not take; nothing is known of one of your own."""
    known = OF_PROVIDERS.get(provider)
    for key in options if known is not None else ():
        if key not in known:  # type: ignore[operator]
            names = ", ".join(known)  # type: ignore[arg-type]
            near = did_you_mean(key, known)  # type: ignore[arg-type]
            raise ConfigError(f"{path}.{key}: unknown option of {provider}; there are {names}{near}")


def check_spelling(path: str, options: Iterable[Any]) -> None:
    """Raises `ConfigError` for an option of a model that is one letter away from one that is known. Servers have more
    of them than are known here, so any other name is sent."""
    for key in options:
        if not isinstance(key, str) or len(key) < _SHORT or key in _OF_MODELS | _OF_CALLS:
            continue
        if near := next((one for one in sorted(_OF_MODELS | _OF_CALLS) if _is_near(key.lower(), one)), ""):
            raise ConfigError(f"{path}.{key}: unknown option; did you mean {near!r}?")


def where_it_belongs(key: Any) -> str:
    """What to write instead of a capability of that name."""
    if any(key in names for names in OF_PROVIDERS.values()):
        return (
            f'; that is for the provider, as in provider_options={{"{key}": ...}} (client.provider.options in a file)'
        )
    shown = key if key in _OF_MODELS else "temperature"
    return f'; options are given by capability, as in {{"chat": {{"{shown}": ...}}}}'


def _is_near(one: str, other: str) -> bool:
    """Whether one letter more, less or different, or two that changed places, make the one of the other."""
    at = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    a, b = one[at:], other[at:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:] and len(a) > 1)
