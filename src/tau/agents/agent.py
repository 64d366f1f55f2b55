"""`Agent`: a model with a name, a system prompt and options."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from tau.agents import call_journal
from tau.agents.config import AgentConfig, ClientConfig, ModelConfig, ProviderConfig, plain_options
from tau.agents.messages import checked_prompt
from tau.agents.providers.base import Provider
from tau.agents.providers.registry import provider_of
from tau.agents.records import Call, Message, Response, with_messages
from tau.checks import refused
from tau.config import Retry
from tau.spelling import names_keywords

Prompt = str | Sequence[Message]
"""What is asked: text, or messages such as ``{"role": "user", "content": "..."}``."""

_JOURNAL: Final = ("auto", "required")


class Agent:
    """A model to talk to: ``Agent(AgentConfig.from_file("config.llama.json"))`` or ``Agent("ollama", "llama3.2:3b")``.

    ``name`` says in journals and events who asked; by default it is the model's. ``system_prompt`` is put before every
    prompt that has none. ``options`` are those of each capability, as in ``{"chat": {"max_tokens": 150}}``; those of a
    call are merged over them. ``journal="required"``: a call where no journal is at hand is an error.
    ``journal_prompts``: messages are stored with the answers, redacted where they are shown. The other arguments are
    those of `ProviderConfig` and `ClientConfig`. An agent may be used from any thread, event loop and process.

    Raises `ConfigError` for what cannot be used. Nothing is contacted before the first call.
    """

    @names_keywords
    def __init__(
        self,
        provider: AgentConfig | Provider | str,
        model: str = "",
        *,
        name: str = "",
        system_prompt: str = "",
        options: Mapping[str, Mapping[str, Any]] | None = None,
        base_url: str = "",
        provider_options: Mapping[str, Any] | None = None,
        timeout: float | str | None = None,
        retry: Retry | None = None,
        journal: Literal["auto", "required"] = "auto",
        journal_prompts: bool = False,
    ) -> None:
        if not isinstance(provider, AgentConfig):
            known = provider.name if isinstance(provider, Provider) else provider
            client = {"timeout": timeout, "retry": retry}
            config = AgentConfig(
                name or model or known,
                ClientConfig(
                    ProviderConfig(known, ModelConfig(model or known, options or {}), base_url, provider_options or {}),
                    **{key: value for key, value in client.items() if value is not None},  # type: ignore[arg-type]
                ),
                system_prompt,
            )
        else:
            config = _over(provider, name=name, system_prompt=system_prompt)
        if journal not in _JOURNAL:
            raise refused("journal", journal, '"auto" or "required"')
        self.config = config
        self.id = f"{config.name}-{uuid.uuid4().hex[:12]}"
        self._journal = journal
        self._journal_prompts = journal_prompts
        self._provider = provider if isinstance(provider, Provider) else provider_of(config.client)

    @property
    def name(self) -> str:
        """Who asks, in journals and events. Raises nothing."""
        return self.config.name

    @property
    def model(self) -> str:
        """The server's name of the model. Raises nothing."""
        return self.config.client.provider.model.name

    def chat(self, prompt: Prompt, *, system: str | None = None, **options: Any) -> Response:
        """The answer to a prompt. ``system`` replaces the agent's own system prompt; ``options`` (``max_tokens``,
        ``temperature`` ...) are merged over those of ``chat``.

        Inside a run the call is an item: a committed answer is given again and nothing is sent. Raises `AgentError`,
        and `ConfigError` for a prompt or options that cannot be used.
        """
        return self._answer(self._call("chat", prompt, system, options))

    async def achat(self, prompt: Prompt, *, system: str | None = None, **options: Any) -> Response:
        """`chat` for an event loop. Raises the same."""
        return await self._aanswer(self._call("chat", prompt, system, options))

    def _call(self, verb: str, prompt: Prompt, system: str | None, options: Mapping[str, Any]) -> Call:
        provider = self.config.client.provider
        given = provider.model.capabilities.get(verb.partition("_")[0], {})
        return Call(
            agent=self.name,
            provider=provider.name,
            model=self.model,
            verb=verb,
            parameters={**given, **plain_options(f"the options of {verb}", options)},
            messages=checked_prompt(prompt, self.config.system_prompt if system is None else system),
            keep_prompt=self._journal_prompts,
        )

    def _answer(self, call: Call) -> Response:
        return with_messages(call_journal.answer(call, lambda: self._ask(call)), call)

    async def _aanswer(self, call: Call) -> Response:
        return with_messages(await call_journal.aanswer(call, lambda: self._aask(call)), call)

    def _ask(self, call: Call) -> Response:
        began = time.monotonic()
        return _timed(self._provider.send(call), began)

    async def _aask(self, call: Call) -> Response:
        began = time.monotonic()
        return _timed(await self._provider.asend(call), began)

    def close(self) -> None:
        """Let go of the connections of this process; the agent may be used again. Raises nothing."""
        self._provider.close()

    def __repr__(self) -> str:
        return f"Agent({self.config.client.provider.name!r}, {self.model!r}, name={self.name!r})"


def _over(config: AgentConfig, **given: str) -> AgentConfig:
    return replace(config, **{key: value for key, value in given.items() if value})  # type: ignore[arg-type]


def _timed(response: Response, began: float) -> Response:
    return replace(response, timings={**response.timings, "duration_seconds": time.monotonic() - began})
