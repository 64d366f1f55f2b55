"""Models on OpenAI, Azure OpenAI and every server that speaks the same (vLLM, llama.cpp), by the official client."""

from __future__ import annotations

import base64
import inspect
import json
from collections.abc import Mapping
from typing import Any, Final

from tau.agents.config import ClientConfig
from tau.agents.errors import AgentAuthenticationError
from tau.agents.providers.bounds import hooks
from tau.agents.providers.failures import Place, login_of, password_of, shown_address, without_login
from tau.agents.providers.keys import key_of, needs, sendable
from tau.agents.providers.remote import Answer, RemoteProvider
from tau.agents.records import Call, Response, ToolCall, Usage
from tau.errors import ConfigError
from tau.late_imports import load_module

DEFAULT_URL: Final = "https://api.openai.com/v1"
_ADVICE: Final = {
    "connection": "is the server running, and is that its address?",
    "model": "set client.provider.model.name to one that the server lists",
    "key": "set {variable}, or name another variable in the options of the provider: api_key_env",
}
_OWN: Final = {"azure": "AZURE_OPENAI_API_KEY", "openai": "OPENAI_API_KEY"}
_PICTURES: Final = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp"}


def make(config: ClientConfig) -> OpenAIProvider:
    """The provider. Raises `ConfigError` where the client is not installed, and for Azure without an address."""
    needs("openai", "openai")
    return AzureProvider(config) if config.provider.name == "azure" else OpenAIProvider(config)


class OpenAIProvider(RemoteProvider):
    """Models on a server that speaks OpenAI's protocol; its address is ``base_url``, by default OpenAI's own.

    The key is ``options.api_key_env``, ``options.api_key`` or ``$OPENAI_API_KEY``; other servers may need none.
    Options that the client does not know are sent as they are.
    """

    name = "openai"

    def __init__(self, config: ClientConfig) -> None:
        url = config.provider.base_url or DEFAULT_URL
        self._url, self._login = without_login(url), login_of(url)
        advice = {**_ADVICE, "key": _ADVICE["key"].format(variable=_OWN[self.name])}
        super().__init__(config, Place(self.name, shown_address(url), config.timeout, advice, password_of(url)))

    def make_client(self) -> Any:
        return self._made("OpenAI", "DefaultHttpxClient", 0)

    def make_async_client(self) -> Any:
        return self._made("AsyncOpenAI", "DefaultAsyncHttpxClient", 1)

    def _made(self, kind: str, transport: str, which: int) -> Any:
        openai = load_module("openai")
        config = self.config
        module = inspect.getmodule(getattr(openai, transport).__mro__[1])
        httpx = (
            load_module("httpx2")
            if module is not None and module.__name__.startswith("httpx2")
            else (load_module("httpx"))
        )
        timeout = httpx.Timeout(config.timeout, connect=config.connection_timeout, pool=None)
        http = getattr(openai, transport)(
            timeout=timeout,
            auth=self._login,
            limits=httpx.Limits(max_connections=config.connection_pool_size),
            event_hooks=hooks(httpx)[which],
        )
        return getattr(openai, kind)(max_retries=0, timeout=timeout, http_client=http, **self._given())

    def _given(self) -> dict[str, Any]:
        """What the client is told of address and key."""
        provider = self.config.provider
        key = key_of(provider.options, _OWN["openai"], self.place)
        if not key and not provider.base_url:
            raise AgentAuthenticationError(
                f"there is no key for {self.address}: set OPENAI_API_KEY, or name another variable in the "
                "options of the provider: api_key_env",
                provider=self.name,
                address=self.address,
            )
        known = {name: provider.options[name] for name in ("organization", "project") if name in provider.options}
        return {"api_key": key or "none", "base_url": self._url, **known}

    def ask(self, client: Any, call: Call, stream: bool) -> Any:
        if call.verb == "embed":
            texts = [one["content"] for one in call.messages]
            return self._send(client.embeddings.create, call, input=texts, encoding_format="float")
        more: dict[str, Any] = {"messages": [_message(one) for one in call.messages]}
        if call.tools:
            more["tools"] = [{"type": "function", "function": dict(one)} for one in call.tools]
        if call.schema is not None:
            more["response_format"] = {"type": "json_schema",
                                       "json_schema": {"name": "answer", "schema": dict(call.schema)}}  # fmt: skip
        if stream:
            more |= {"stream": True, "stream_options": {"include_usage": True}}
        return self._send(client.chat.completions.create, call, **more)

    def _send(self, create: Any, call: Call, **more: Any) -> Any:
        known = inspect.signature(create).parameters
        direct = {key: value for key, value in call.parameters.items() if key in known}
        other = {key: value for key, value in call.parameters.items() if key not in known}
        return create(model=call.model, **more, **direct, **({"extra_body": other} if other else {}))

    def whole(self, call: Call, found: Any) -> Response:
        if isinstance(found, str | bytes):
            raise ValueError(f"expected JSON, found {found[:80]!r}")
        if call.verb == "embed":
            data = sorted(found.data, key=lambda one: one.index)
            embeddings = tuple(list(one.embedding) for one in data)
            return Response(
                embeddings=embeddings, usage=_usage(found.usage), finish_reason="stop", model=found.model or ""
            )
        if not found.choices:
            raise ValueError("it has no choices")
        choice = found.choices[0]
        if choice.finish_reason is None:
            raise ValueError("it has no finish_reason")
        return Response(
            text=choice.message.content or "",
            tool_calls=tuple(
                ToolCall.of_text(one.function.name, one.function.arguments, one.id or "")
                for one in choice.message.tool_calls or ()
            ),
            usage=_usage(found.usage),
            finish_reason=choice.finish_reason,
            model=found.model or "",
        )

    def answer(self, call: Call) -> Answer:
        return _Answer(call)


class AzureProvider(OpenAIProvider):
    """Models of an Azure OpenAI resource at ``base_url``, with ``options.deployment`` and ``options.api_version``.

    ``options.auth_type`` is ``api_key`` (``api_key_env``, ``api_key``, ``$AZURE_OPENAI_API_KEY``) or ``bearer``, a
    token of Entra ID: ``token_env``, ``$AZURE_OPENAI_AD_TOKEN``, or ``token``, which may be a function that gives one.
    """

    name = "azure"

    def __init__(self, config: ClientConfig) -> None:
        options = config.provider.options
        if not config.provider.base_url:
            raise ConfigError("client.provider.base_url: missing; Azure needs the address of your resource")
        if options.get("auth_type", "api_key") not in ("api_key", "bearer"):
            raise ConfigError('client.provider.options.auth_type: expected "api_key" or "bearer"')
        super().__init__(config)

    def make_client(self) -> Any:
        return self._made("AzureOpenAI", "DefaultHttpxClient", 0)

    def make_async_client(self) -> Any:
        return self._made("AsyncAzureOpenAI", "DefaultAsyncHttpxClient", 1)

    def _given(self) -> dict[str, Any]:
        options = self.config.provider.options
        found: dict[str, Any] = {
            "azure_endpoint": self._url.rstrip("/").removesuffix("/openai"),
            "api_version": options.get("api_version", "2024-10-21"),
            "azure_deployment": options.get("deployment"),
        }
        is_key = options.get("auth_type", "api_key") == "api_key"
        if callable(options.get("token")) and not is_key:
            return {**found, "azure_ad_token_provider": self._fresh_token}
        name, variable = ("api_key", _OWN["azure"]) if is_key else ("token", "AZURE_OPENAI_AD_TOKEN")
        key = key_of(options, variable, self.place, name)
        if not key:
            raise AgentAuthenticationError(
                f"there is no {'key' if is_key else 'token'} for {self.address}: set {variable}, or name another "
                f"variable in the options of the provider: {name}_env",
                provider=self.name,
                address=self.address,
            )
        return {**found, "api_key" if is_key else "azure_ad_token": key}

    def _fresh_token(self) -> str:
        return sendable(str(self.config.provider.options["token"]()), self.place, "token")


class _Answer(Answer):
    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self._calls: dict[int, list[str]] = {}
        self._usage: Usage | None = None
        self._reason = ""
        self._model = ""

    def take(self, part: Any) -> str:
        if isinstance(part, str | bytes):
            raise ValueError(f"expected JSON, found {part[:80]!r}")
        self._usage = _usage(part.usage) or self._usage
        self._model = part.model or self._model
        if not part.choices:
            return ""
        choice = part.choices[0]
        for one in choice.delta.tool_calls or ():
            told = self._calls.setdefault(one.index, ["", "", ""])
            told[0] += one.id or ""
            told[1] += (one.function.name if one.function else "") or ""
            told[2] += (one.function.arguments if one.function else "") or ""
        if choice.finish_reason is not None:
            self.is_over, self._reason = True, choice.finish_reason
        return choice.delta.content or ""

    def response(self) -> Response:
        calls = tuple(ToolCall.of_text(name, text, id) for _, (id, name, text) in sorted(self._calls.items()))
        return Response(
            text=self.text, tool_calls=calls, usage=self._usage, finish_reason=self._reason, model=self._model
        )


def _usage(found: Any) -> Usage | None:
    return None if found is None else Usage(found.prompt_tokens or 0, getattr(found, "completion_tokens", 0) or 0)


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"role": message["role"], "content": message["content"]}
    if images := message.get("images"):
        pictures = [{"type": "image_url", "image_url": {"url": _data_url(one)}} for one in images]
        found["content"] = [{"type": "text", "text": message["content"]}, *pictures]
    if calls := message.get("tool_calls"):
        found["tool_calls"] = [
            {"id": one["id"], "type": "function",
             "function": {"name": one["name"], "arguments": json.dumps(one["arguments"])}}
            for one in calls
        ]  # fmt: skip
    if message["role"] == "tool":
        found["tool_call_id"] = message.get("tool_call_id", "")
    return found


def _data_url(picture: str) -> str:
    start = base64.b64decode(picture[:16])
    kind = next((kind for mark, kind in _PICTURES.items() if start.startswith(mark)), "png")
    return f"data:image/{kind};base64,{picture}"
