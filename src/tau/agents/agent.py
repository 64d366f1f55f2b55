"""`Agent`: a model with a name, a system prompt and options."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from tau.agents.asking import Asking
from tau.agents.config import AgentConfig, ClientConfig, ModelConfig, ProviderConfig, model_options
from tau.agents.driving import Work, drive, drive_async
from tau.agents.in_graphs import PromptOf, handler_of, node_of
from tau.agents.messages import Image, Prompt, checked_prompt, inputs, with_images
from tau.agents.providers.base import Provider
from tau.agents.providers.registry import PROVIDERS, provider_of
from tau.agents.records import Call, Response
from tau.agents.streaming import AsyncChatStream, ChatStream
from tau.agents.structured import Wanted, fitted
from tau.agents.tool_loop import Approval, Approve, Limits, ask_person, looped
from tau.agents.tools import Tool, checked_calls, checked_tools
from tau.checks import boolean, integer, refused
from tau.config import Retry
from tau.errors import ConfigError
from tau.spelling import names_keywords

_JOURNAL: Final = ("auto", "required")


class Agent:
    """A model to talk to: ``Agent(AgentConfig.from_file("config.llama.json"))`` or ``Agent("ollama", "llama3.2:3b")``.

    ``name`` says in journals and events who asked; by default it is the model's. ``system_prompt`` is put before every
    prompt that has none. ``options`` are those of each capability, as in ``{"chat": {"max_tokens": 150}}``; those of a
    call are merged over them. The other arguments are those of `ProviderConfig` and `ClientConfig`; what is given
    beside a configuration replaces what stands there. ``journal="required"``: a call where no journal is at hand is an
    error. ``journal_prompts``: messages are stored with the answers, redacted. ``prices``: those of models, as in
    ``{"gpt-4o": (2.5, 10.0)}``, for a million tokens of input and of output. An agent may be used from any thread,
    event loop and process.

    Raises `ConfigError` for what cannot be used. Nothing is contacted before the first call.

    >>> import asyncio
    >>> from tau.agents import ToolCall, function, scripted
    >>> agent = function(lambda call: [[1.0]] if call.verb == "embed" else f"about {call.messages[-1]['content']}")
    >>> agent.chat("the trend").text, asyncio.run(agent.achat("ice")).text
    ('about the trend', 'about ice')
    >>> list(agent.chat_stream("the trend"))
    ['about', ' the', ' trend']
    >>> async def pieces():
    ...     return [piece async for piece in agent.achat_stream("ice")]
    >>> asyncio.run(pieces())
    ['about', ' ice']
    >>> agent.vision("a map", [b"..."]).text, asyncio.run(agent.avision("a map", [b"..."])).text
    ('about a map', 'about a map')
    >>> agent.embed("ice").embeddings, asyncio.run(agent.aembed("ice")).embeddings
    (([1.0],), ([1.0],))
    >>> def add(x: int, y: int) -> int:
    ...     "Adds two numbers."
    ...     return x + y
    >>> wish = ToolCall("add", {"x": 1, "y": 2})
    >>> scripted([wish]).tools("1 + 2?", [add]).tool_calls[0].name, asyncio.run(scripted(["3"]).atools("?", [add])).text
    ('add', '3')
    >>> scripted([wish, "It is 3."]).run("1 + 2?", [add]).text, asyncio.run(scripted(["3"]).arun("?", [add])).text
    ('It is 3.', '3')
    >>> ask, answer = agent.node("Sum up: {text}", into="summary"), agent.handler()
    >>> agent.close()
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
        prices: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        if isinstance(provider, AgentConfig):
            config = provider
        else:
            if provider in PROVIDERS and not model:
                raise ConfigError(f'model: missing; name the model, as in Agent({provider!r}, "llama3.2:3b")')
            known = provider.name if isinstance(provider, Provider) else provider
            config = AgentConfig(
                name or model or known, ClientConfig(ProviderConfig(known, ModelConfig(model or known)))
            )
        config = config.over(
            name=name, system_prompt=system_prompt, model=model, options=options, base_url=base_url,
            provider_options=provider_options, timeout=timeout, retry=retry, prices=prices,
        )  # fmt: skip
        if journal not in _JOURNAL:
            raise refused("journal", journal, '"auto" or "required"')
        self.config = config
        self.id = f"{config.name}-{uuid.uuid4().hex[:12]}"
        self._journal_prompts = boolean("journal_prompts", journal_prompts)
        made = provider if isinstance(provider, Provider) else provider_of(config.client)
        self._asking = Asking(made, config.client, journal == "required")

    @property
    def name(self) -> str:
        """Who asks, in journals and events. Raises nothing."""
        return self.config.name

    @property
    def model(self) -> str:
        """The server's name of the model. Raises nothing."""
        return self.config.client.provider.model.name

    def chat(self, prompt: Prompt, *, system: str | None = None, schema: Any = None, **options: Any) -> Response:
        """The answer to a prompt. ``system`` replaces the agent's own system prompt; ``options`` (``max_tokens``,
        ``temperature`` ...) are merged over those of ``chat``.

        ``schema``: a JSON schema, or a type such as a dataclass, TypedDict, Struct or pydantic model; ``value`` of the
        response is then the answer as that. An answer that does not fit is asked for again, 3 times in all.

        Inside a run each call is an item: a committed answer is given again and nothing is sent. Raises `AgentError`,
        and `ConfigError` for arguments that cannot be used.
        """
        return self._fitted(self._call("chat", prompt, system, options), schema)

    async def achat(self, prompt: Prompt, *, system: str | None = None, schema: Any = None, **options: Any) -> Response:
        """`chat` for an event loop. Raises the same."""
        return await self._afitted(self._call("chat", prompt, system, options), schema)

    def chat_stream(self, prompt: Prompt, *, system: str | None = None, **options: Any) -> ChatStream:
        """The answer to a prompt as an iterator of its pieces, whose ``response`` is the whole at the end. It is
        recorded when it is complete, before its last piece is handed on. Nothing is sent before the first piece is
        asked for. Raises as `chat`; a stream without its end mark raises `AgentStreamError`."""
        return ChatStream(self._asking, self._call("chat_stream", prompt, system, options))

    def achat_stream(self, prompt: Prompt, *, system: str | None = None, **options: Any) -> AsyncChatStream:
        """`chat_stream` for an event loop: ``async for piece in agent.achat_stream(...)``. Raises the same."""
        return AsyncChatStream(self._asking, self._call("chat_stream", prompt, system, options))

    def vision(
        self, prompt: Prompt, images: Sequence[Image], *, system: str | None = None, schema: Any = None, **options: Any
    ) -> Response:
        """The answer to a prompt about pictures, each a path or the bytes of a file. Otherwise as `chat`. Raises
        `OSError` for a file that cannot be read."""
        return self._fitted(self._call("vision", with_images(prompt, images), system, options), schema)

    async def avision(
        self, prompt: Prompt, images: Sequence[Image], *, system: str | None = None, schema: Any = None, **options: Any
    ) -> Response:
        """`vision` for an event loop. Raises the same."""
        return await self._afitted(self._call("vision", with_images(prompt, images), system, options), schema)

    def tools(self, prompt: Prompt, tools: Sequence[Any], *, system: str | None = None, **options: Any) -> Response:
        """The answer of a model that may ask for tools: functions, or descriptions with ``name``, ``description`` and
        ``parameters``. Nothing is called; ``tool_calls`` of the response are checked against the tools, and each says
        its ``problems``. Raises as `chat`."""
        known = checked_tools(tools)
        return checked_calls(self._asking.answer(self._call("tools", prompt, system, options, known)), known)

    async def atools(
        self, prompt: Prompt, tools: Sequence[Any], *, system: str | None = None, **options: Any
    ) -> Response:
        """`tools` for an event loop. Raises the same."""
        known = checked_tools(tools)
        return checked_calls(await self._asking.aanswer(self._call("tools", prompt, system, options, known)), known)

    def embed(self, texts: str | Sequence[str], **options: Any) -> Response:
        """The embeddings of one text or several, in ``embeddings`` of the response. Raises as `chat`."""
        return self._asking.answer(self._embedding(texts, options))

    async def aembed(self, texts: str | Sequence[str], **options: Any) -> Response:
        """`embed` for an event loop. Raises the same."""
        return await self._asking.aanswer(self._embedding(texts, options))

    def run(
        self,
        prompt: Prompt,
        tools: Sequence[Any],
        *,
        max_rounds: int = 8,
        approve: Approve = False,
        limits: Mapping[str, float] | None = None,
        system: str | None = None,
        **options: Any,
    ) -> Response:
        """The answer of a model that is given what the tools that it asks for return, in at most ``max_rounds`` rounds.

        Each call of the model and of a tool is an item of the run around it. What cannot be called is told to the
        model, 3 times at most, and so is what a tool raises. ``approve``: a person is asked before a tool is called, by
        `Context.ask`: ``True`` for all, names of tools, or a function of the `ToolCall`. ``limits``: ``requests``,
        ``tokens`` and ``cost`` that the loop may use. An async tool needs `arun`.

        Raises as `chat`, `AgentLimitError` for what is used up, `AgentAnswerError` for a model that goes on asking for
        what cannot be called.
        """
        known, work = self._loop(prompt, tools, system, options, max_rounds, approve, limits)
        return drive(work, lambda what: self._do(what, known))

    async def arun(
        self,
        prompt: Prompt,
        tools: Sequence[Any],
        *,
        max_rounds: int = 8,
        approve: Approve = False,
        limits: Mapping[str, float] | None = None,
        system: str | None = None,
        **options: Any,
    ) -> Response:
        """`run` for an event loop; tools may be async. Raises the same."""
        known, work = self._loop(prompt, tools, system, options, max_rounds, approve, limits)
        return await drive_async(work, lambda what: self._ado(what, known))

    def node(self, prompt: PromptOf, *, into: str = "answer", schema: Any = None, **options: Any) -> Any:
        """The function of a node that asks for the answer to ``prompt`` and puts its text, or with a ``schema`` its
        value as plain data, into the state: ``graph.add_node("summary", agent.node("Summarise: {text}"))``. ``prompt``
        is text, whose ``{names}`` are those of the state, or a function of the state. Raises `ConfigError`."""
        return node_of(self, prompt, into=into, schema=schema, options=options)

    def handler(self, **options: Any) -> Any:
        """An async handler for a hub that answers the text of a message with that of the agent. Raises nothing."""
        return handler_of(self, options)

    def _call(
        self,
        verb: str,
        prompt: Prompt,
        system: str | None,
        options: Mapping[str, Any],
        tools: Mapping[str, Tool] | None = None,
    ) -> Call:
        return Call(
            agent=self.name,
            provider=self.config.client.provider.name,
            model=self.model,
            verb=verb,
            parameters=self._merged(verb, options),
            messages=checked_prompt(prompt, self.config.system_prompt if system is None else system),
            tools=tuple(one.record() for one in (tools or {}).values()),
            keep_prompt=self._journal_prompts,
            price=self.config.prices.get(self.model),
        )

    def _embedding(self, texts: str | Sequence[str], options: Mapping[str, Any]) -> Call:
        call = self._call("embed", "-", "", options)
        return replace(call, messages=inputs(texts))

    def _merged(self, verb: str, options: Mapping[str, Any]) -> dict[str, Any]:
        given = self.config.client.provider.model.capabilities.get(verb.partition("_")[0], {})
        return {**given, **model_options(verb, options)} if options else dict(given)

    def _loop(
        self,
        prompt: Prompt,
        tools: Sequence[Any],
        system: str | None,
        options: Mapping[str, Any],
        *more: Any,
    ) -> tuple[dict[str, Tool], Work[Response]]:
        max_rounds, approve, limits = more
        known = checked_tools(tools)
        if without := [one.name for one in known.values() if one.function is None]:
            raise ConfigError(f"tools: {without[0]!r} is a description without a function, so it cannot be called here")
        rounds = integer("max_rounds", max_rounds, 1)
        call = self._call("tools", prompt, system, options, known)
        return known, looped(call, known, max_rounds=rounds, approve=approve, limits=Limits(limits))

    def _fitted(self, call: Call, schema: Any) -> Response:
        if schema is None:
            return self._asking.answer(call)
        wanted = Wanted(schema)
        return drive(fitted(replace(call, schema=wanted.schema), wanted), self._asking.answer)

    async def _afitted(self, call: Call, schema: Any) -> Response:
        if schema is None:
            return await self._asking.aanswer(call)
        wanted = Wanted(schema)
        return await drive_async(fitted(replace(call, schema=wanted.schema), wanted), self._asking.aanswer)

    def _do(self, what: Any, tools: Mapping[str, Tool]) -> Any:
        if isinstance(what, Approval):
            return ask_person(what)
        return self._asking.called(what, tools) if what.verb == "tool" else self._asking.answer(what)

    async def _ado(self, what: Any, tools: Mapping[str, Tool]) -> Any:
        if isinstance(what, Approval):
            return ask_person(what)
        return await (self._asking.acalled(what, tools) if what.verb == "tool" else self._asking.aanswer(what))

    def close(self) -> None:
        """Let go of the connections of this process; the agent may be used again. Raises nothing."""
        self._asking.provider.close()

    def __repr__(self) -> str:
        return f"Agent({self.config.client.provider.name!r}, {self.model!r}, name={self.name!r})"
