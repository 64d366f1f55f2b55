"""Models on an Ollama server, by its official client."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from typing import Any, Final

from tau.agents.config import ClientConfig
from tau.agents.errors import PromptTooLongError
from tau.agents.providers.bounds import hooks
from tau.agents.providers.failures import Place, login_of, password_of, shown_address, without_login
from tau.agents.providers.keys import key_of, needs
from tau.agents.providers.remote import Answer, RemoteProvider
from tau.agents.records import Call, Response, ToolCall, Usage
from tau.late_imports import load_module

DEFAULT_URL: Final = "http://localhost:11434"

_TOP: Final = ("keep_alive", "think", "dimensions", "truncate", "logprobs", "top_logprobs")
_ADVICE: Final = {
    "connection": "start it with `ollama serve`",
    "model": "ollama pull {model}",
    "key": "set OLLAMA_API_KEY, or name another variable in the options of the provider: api_key_env",
}
_MOST_BYTES: Final = 12  # a token of a prompt that is not short has fewer, on average, whatever the tokenizer
_FULL: Final = [1 << power for power in range(11, 21)]  # sizes of contexts that are common


def make(config: ClientConfig) -> OllamaProvider:
    """The provider. Raises `ConfigError` where the client is not installed."""
    needs("ollama", "ollama")
    return OllamaProvider(config)


class OllamaProvider(RemoteProvider):
    """Models on an Ollama server; its address is ``base_url``, else ``$OLLAMA_HOST``, else port 11434 of this machine.

    ``max_tokens`` is Ollama's ``num_predict``. Ollama drops the front of a prompt that does not fit ``num_ctx`` and
    answers all the same; where the tokens that it counted show this, that is a `PromptTooLongError`.
    """

    name = "ollama"

    def __init__(self, config: ClientConfig) -> None:
        self._url = config.provider.base_url or _host() or DEFAULT_URL
        secrets = password_of(self._url)
        super().__init__(config, Place("ollama", shown_address(self._url), config.timeout, _ADVICE, secrets))

    def make_client(self) -> Any:
        return self._made("Client", 0)

    def make_async_client(self) -> Any:
        return self._made("AsyncClient", 1)

    def _made(self, kind: str, which: int) -> Any:
        ollama, httpx = load_module("ollama"), load_module("httpx")
        config = self.config
        key = key_of(config.provider.options, "OLLAMA_API_KEY", self.place)
        return getattr(ollama, kind)(
            without_login(self._url),
            auth=None if key else login_of(self._url),
            headers={"authorization": f"Bearer {key}"} if key else None,
            timeout=httpx.Timeout(config.timeout, connect=config.connection_timeout, pool=None),
            limits=httpx.Limits(max_connections=config.connection_pool_size),
            event_hooks=hooks(httpx)[which],
        )

    def ask(self, client: Any, call: Call, stream: bool) -> Any:
        top = {key: value for key, value in call.parameters.items() if key in _TOP}
        options = {key: value for key, value in call.parameters.items() if key not in _TOP and key != "tool_choice"}
        if "max_tokens" in options:
            options["num_predict"] = options.pop("max_tokens")
        if call.verb == "embed":
            return client.embed(call.model, [one["content"] for one in call.messages], options=options, **top)
        if call.tools:
            top["tools"] = [{"type": "function", "function": dict(one)} for one in call.tools]
        if call.schema is not None:
            top["format"] = dict(call.schema)
        messages = [_message(one) for one in call.messages]
        return client.chat(call.model, messages, stream=stream, options=options, **top)

    def whole(self, call: Call, found: Any) -> Response:
        if call.verb == "embed":
            embeddings = tuple(list(one) for one in found.embeddings)
            return Response(embeddings=embeddings, **_counted(found), finish_reason="stop", model=found.model or "")
        answer = self.answer(call)
        answer.texts.append(answer.take(found))
        if not answer.is_over:
            raise ValueError("it has no done: true")
        return answer.response()

    def answer(self, call: Call) -> Answer:
        return _Answer(call, self.place)


class _Answer(Answer):
    def __init__(self, call: Call, place: Place) -> None:
        super().__init__(call)
        self._place = place
        self._calls: list[ToolCall] = []
        self._last: Any = None

    def take(self, part: Any) -> str:
        for one in part.message.tool_calls or ():
            self._calls.append(ToolCall.of_data(one.function.name, dict(one.function.arguments)))
        if part.done:
            self.is_over, self._last = True, part
        return part.message.content or ""

    def response(self) -> Response:
        last = self._last
        self._check_cut(last.prompt_eval_count)
        calls = tuple(self._calls)
        reason = "tool_calls" if calls else last.done_reason or "stop"
        return Response(
            text=self.text, tool_calls=calls, **_counted(last), finish_reason=reason, model=last.model or ""
        )

    def _check_cut(self, count: int | None) -> None:
        """Raises `PromptTooLongError` where the server has dropped some of the prompt."""
        given = self.call.parameters.get("num_ctx")
        context = given if isinstance(given, int) else 0
        size = sum(len(str(one.get("content", "")).encode("utf-8", "replace")) for one in self.call.messages)
        if not count or not (
            (context and count >= context)
            or (not context and count in _FULL and size > 5 * count)
            or (size > _MOST_BYTES * count and size > _MOST_BYTES * (context or _FULL[0]))
        ):
            return
        limit = f"num_ctx={context}" if context else "the num_ctx that the server takes by default"
        raise self._place.error(
            PromptTooLongError,
            self.call,
            f"ollama read only {count} tokens of a prompt of {size} bytes and dropped what stands before them: it does "
            f"not fit {limit}; set a larger num_ctx, or shorten the prompt",
            prompt_tokens=count,
            limit=context,
        )


def _counted(found: Any) -> dict[str, Any]:
    """Usage and timings; Ollama's are nanoseconds."""
    counts = (found.prompt_eval_count, found.eval_count)
    spans = {"total": found.total_duration, "load": found.load_duration, "prompt": found.prompt_eval_duration,
             "completion": found.eval_duration}  # fmt: skip
    return {
        "usage": None if counts == (None, None) else Usage(counts[0] or 0, counts[1] or 0),
        "timings": {f"{name}_seconds": span / 1e9 for name, span in spans.items() if span is not None},
    }


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"role": message["role"], "content": message["content"]}
    if images := message.get("images"):
        found["images"] = [base64.b64decode(one) for one in images]  # bytes: the client takes text for a path, too
    if calls := message.get("tool_calls"):
        found["tool_calls"] = [{"function": {"name": one["name"], "arguments": one["arguments"]}} for one in calls]
    if message["role"] == "tool" and message.get("name"):
        found["tool_name"] = message["name"]
    return found


def _host() -> str:
    """``$OLLAMA_HOST`` as a URL; it may be a host, with or without a port."""
    host = os.environ.get("OLLAMA_HOST", "").strip()
    if not host or "://" in host:
        return host
    name, _, port = host.partition(":")
    return f"http://{name or 'localhost'}:{port or 11434}".replace("//0.0.0.0:", "//localhost:")
