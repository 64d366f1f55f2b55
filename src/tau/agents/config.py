"""`AgentConfig`: an agent in JSON, with the keys of go-agents-orchestration; and its durations, such as "24s"."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from tau.agents.option_names import check_provider_options, check_spelling, where_it_belongs
from tau.checks import YEAR, boolean, checked_name, integer, known_keys, number, put, read_json, refused, short
from tau.config import Retry
from tau.errors import ConfigError
from tau.redaction import REDACTED
from tau.spelling import named_fields

CAPABILITIES: Final = ("chat", "vision", "tools", "embed")
"""What options may be given for; a stream has those of ``chat``."""

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_OF_PROVIDER: Final = ("provider.options", "provider_options")
_SECRET_OPTIONS: Final = ("api_key", "token")


def duration(path: str, value: Any) -> float:
    """Seconds above 0, from a number or from text such as "24s", "1m30s" or "500ms". Raises `ConfigError`."""
    if isinstance(value, str):
        parts = _PART.findall(value)
        if not parts or "".join(number + unit for number, unit in parts) != value:
            raise refused(path, value, 'seconds, or a duration such as "24s", "1m30s" or "500ms"')
        value = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return number(path, value, 0.0, YEAR, above=True)


class Secret:
    """A key or token in the memory of this process only: it is not shown, compared or sent to other processes."""

    __slots__ = ("_value",)

    def __init__(self, value: str | None) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text. Raises `ConfigError` in a process to which the configuration was sent."""
        if self._value is None:
            raise ConfigError(
                "the key of the agent stays in the process that was given it, and this is another one; name an "
                "environment variable that both have, with api_key_env"
            )
        return self._value

    def __reduce__(self) -> tuple[Any, ...]:
        return Secret, (None,)

    def __repr__(self) -> str:
        return REDACTED


@named_fields
@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A model by the server's ``name`` for it, and options by capability (``chat``, ``vision``, ``tools``, ``embed``),
    such as ``max_tokens``, ``temperature`` or ``num_ctx``. Raises `ConfigError`."""

    name: str
    capabilities: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked_name("client.provider.model.name", self.name)
        put(self, "capabilities", checked_options("client.provider.model.capabilities", self.capabilities))


@named_fields
@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """Which server: ``name`` is the provider's (``ollama``, ``openai``, ``azure``), ``base_url`` where it is; empty
    means the provider's own default. ``options``: what the provider takes beside, such as ``api_key_env``, the name of
    the environment variable that holds the key. Raises `ConfigError`."""

    name: str
    model: ModelConfig
    base_url: str = field(default="", repr=False)  # it may hold a password
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked_name("client.provider.name", self.name)
        if not isinstance(self.base_url, str) or (self.base_url and "://" not in self.base_url):
            raise refused("client.provider.base_url", self.base_url, "a URL such as http://localhost:11434")
        options = plain_options("client.provider.options", self.options)
        check_provider_options("client.provider.options", self.name, options)
        hidden = {key: Secret(one) if _is_hidden(key, one) else one for key, one in options.items()}
        put(self, "options", hidden)


@named_fields
@dataclass(frozen=True, slots=True)
class ClientConfig:
    """How the server is asked. ``timeout``: seconds for one answer, from when it is asked for to its last byte, but
    without those in which nobody reads a stream; ``connection_timeout``: for a connection;
    ``connection_pool_size``: how many connections at most. ``retry``: how often and when what is worth it is tried
    again; ``max_wait``: the longest wait in seconds that a server may ask for. Raises `ConfigError`."""

    provider: ProviderConfig
    timeout: float = 120.0
    retry: Retry = field(default_factory=lambda: Retry(attempts=4, delay=1.0, backoff=2.0, max_delay=30.0))
    connection_pool_size: int = 10
    connection_timeout: float = 10.0
    max_wait: float = 60.0

    def __post_init__(self) -> None:
        for name in ("timeout", "connection_timeout", "max_wait"):
            put(self, name, duration(f"client.{name}", getattr(self, name)))
        put(self, "connection_pool_size", integer("client.connection_pool_size", self.connection_pool_size, 1))
        if not isinstance(self.retry, Retry):
            raise refused("client.retry", self.retry, "a Retry")


@named_fields
@dataclass(frozen=True, slots=True)
class AgentConfig:
    """The configuration of an agent: its ``name``, its ``system_prompt`` and its ``client``. ``prices`` are those of
    models, each the price of a million tokens of input and of output. Raises `ConfigError`.

    >>> import json
    >>> from pathlib import Path
    >>> from tau.agents import AgentConfig
    >>> text = '{"name": "a", "client": {"provider": {"name": "ollama", "model": {"name": "llama3.2:3b"}}}}'
    >>> config = AgentConfig.from_json(text)
    >>> _ = Path("config.json").write_text(text)
    >>> config == AgentConfig.from_file("config.json") == AgentConfig.from_dict(json.loads(text))
    True
    >>> config.over(timeout="24s").client.timeout
    24.0
    """

    name: str
    client: ClientConfig
    system_prompt: str = ""
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked_name("name", self.name)
        if not isinstance(self.system_prompt, str):
            raise refused("system_prompt", self.system_prompt, "text")
        put(self, "prices", _checked_prices(self.prices))

    def over(
        self,
        *,
        name: str = "",
        system_prompt: str = "",
        model: str = "",
        options: Mapping[str, Mapping[str, Any]] | None = None,
        base_url: str = "",
        provider_options: Mapping[str, Any] | None = None,
        timeout: float | str | None = None,
        retry: Retry | None = None,
        prices: Mapping[str, tuple[float, float]] | None = None,
    ) -> AgentConfig:
        """A copy with what is given here instead; what is empty or ``None`` is kept. ``options`` replace those of the
        capabilities that they name, ``provider_options`` and ``prices`` those of their names. Raises `ConfigError`."""
        client, provider = self.client, self.client.provider
        own = plain_options("provider_options", provider_options or {})
        check_provider_options("provider_options", provider.name, own)
        capabilities = {**provider.model.capabilities, **checked_options("options", options or {})}
        made = ProviderConfig(
            provider.name,
            ModelConfig(model or provider.model.name, capabilities),
            base_url or provider.base_url,
            {**provider.options, **own},
        )
        given: dict[str, Any] = {"timeout": timeout, "retry": retry}
        changed = {key: value for key, value in given.items() if value is not None}
        return AgentConfig(
            name or self.name,
            replace(client, provider=made, **changed),
            system_prompt or self.system_prompt,
            {**self.prices, **(prices or {})},
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AgentConfig:
        """From nested mappings, as read from JSON. Raises `ConfigError`, which names the path of the key."""
        found = _needed("", values, cls, "name", "client")
        client = _needed("client", found["client"], ClientConfig, "provider")
        provider = _needed("client.provider", client["provider"], ProviderConfig, "name", "model")
        model = _needed("client.provider.model", provider["model"], ModelConfig, "name")
        provider["model"] = ModelConfig(**model)
        client["provider"] = ProviderConfig(**provider)
        if "retry" in client:
            client["retry"] = _retry(client["retry"])
        found["client"] = ClientConfig(**client)
        return cls(**found)

    @classmethod
    def from_json(cls, text: str | bytes) -> AgentConfig:
        """From a JSON object. Raises `ConfigError`, also for text that is not JSON and for keys given twice."""
        return cls.from_dict(read_json(text))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> AgentConfig:
        """From a file that holds a JSON object. Raises `ConfigError`, which names the file, also where it cannot be
        read."""
        try:
            return cls.from_json(Path(path).read_bytes())
        except OSError as error:
            said = f"the configuration of the agent cannot be read: {error.strerror or error}"
            raise ConfigError(f"{os.fspath(path)}: {said}; paths are taken from {os.getcwd()}") from error
        except ConfigError as error:
            raise ConfigError(f"{os.fspath(path)}: {error}") from error


def _checked_prices(prices: Any) -> dict[str, tuple[float, float]]:
    if not isinstance(prices, Mapping):
        raise refused("prices", prices, "an object of models and their prices")
    found = {}
    for model, price in prices.items():
        path = f"prices.{model}"
        if not isinstance(price, list | tuple) or len(price) != 2:
            raise refused(path, price, "two numbers: the prices of a million tokens of input and of output")
        found[str(model)] = (number(f"{path}[0]", price[0], 0.0), number(f"{path}[1]", price[1], 0.0))
    return found


_RETRY: Final = {
    "initial_backoff": "delay",
    "max_backoff": "max_delay",
    "backoff_multiplier": "backoff",
    "jitter": "jitter",
}


def _retry(values: Any) -> Retry:
    """The keys of a file as a `Retry`: ``max_retries`` counts tries after the first, ``jitter`` is true or false."""
    names = ["max_retries", *_RETRY]
    if not isinstance(values, Mapping):
        raise refused("client.retry", values, "an object with keys")
    if unknown := [key for key in values if key not in names]:
        said = "; ".join(f"client.retry.{key}: unknown key" for key in unknown)
        raise ConfigError(f"{said}; the keys are {', '.join(names)}")
    found: dict[str, Any] = {"attempts": 1 + integer("client.retry.max_retries", values.get("max_retries", 3), 0)}
    for key in ("initial_backoff", "max_backoff"):
        if key in values:
            found[_RETRY[key]] = duration(f"client.retry.{key}", values[key])
    if "backoff_multiplier" in values:
        found["backoff"] = number("client.retry.backoff_multiplier", values["backoff_multiplier"], 1.0)
    if "jitter" in values:
        found["jitter"] = 0.5 if boolean("client.retry.jitter", values["jitter"]) else 0.0
    return Retry(**found)


def checked_options(path: str, values: Any) -> dict[str, dict[str, Any]]:
    """Options by capability, as plain data. Raises `ConfigError` for an unknown capability and for what is no data."""
    if not isinstance(values, Mapping):
        raise refused(path, values, "an object with keys")
    if unknown := [key for key in values if key not in CAPABILITIES]:
        said = "; ".join(f"{path}.{key}: unknown capability" for key in unknown)
        raise ConfigError(f"{said}; there are {', '.join(CAPABILITIES)}{where_it_belongs(unknown[0])}")
    return {name: model_options(f"{path}.{name}", options) for name, options in values.items()}


def model_options(path: str, options: Any) -> dict[str, Any]:
    """The options of a call or capability. Raises `ConfigError` for what JSON cannot hold, and a mistyped name."""
    if isinstance(options, Mapping):
        check_spelling(path, options)
    return plain_options(path, options)


def plain_options(path: str, options: Any) -> dict[str, Any]:
    """Options as plain data. Raises `ConfigError` for what JSON cannot hold."""
    if not isinstance(options, Mapping):
        raise refused(path, options, "an object with keys")
    for key, value in options.items():
        try:
            if not (path.endswith(_OF_PROVIDER) and (callable(value) or isinstance(value, Secret))):
                json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"{path}.{key}: expected plain data, found {short(value)}: {error}") from error
    return dict(options)


def _needed(path: str, values: Any, kind: type, *names: str) -> dict[str, Any]:
    found = known_keys(path, values, kind)
    for name in names:
        if name not in found:
            raise ConfigError(
                f"{path + '.' if path else ''}{name}: missing; an agent needs a name, a client with a "
                "provider, and the provider a name and a model with a name"
            )
    return found


def _is_hidden(key: str, value: Any) -> bool:
    return key in _SECRET_OPTIONS and isinstance(value, str)
