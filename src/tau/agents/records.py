"""What is asked of a model and what it answers, as plain data: `Call` and `Response`."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

_ATOMS = frozenset({str, int, float, bool, type(None)})

_MOST_LEVELS = 100
_DEEP = f"the arguments nest deeper than {_MOST_LEVELS} levels"

Message = Mapping[str, Any]
"""``role`` (system, user, assistant, tool) and ``content``; ``images`` (base64), ``tool_calls``, ``tool_call_id``."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked: all that decides the answer. Address, timeouts and keys are not part of it.

    ``verb`` is ``chat``, ``chat_stream``, ``vision``, ``tools`` or ``embed``; ``parameters`` are the options as merged;
    the messages of ``embed`` have the role ``input``. ``keep_prompt``: the messages are stored, too; ``price``: that
    of a million tokens of input and of output. These two do not count in the digest. Making one raises nothing.

    >>> from tau.agents import Call
    >>> call = Call("analyst", "ollama", "llama3.2:3b", "chat", {"max_tokens": 9}, [{"role": "user", "content": "hi"}])
    >>> call.record()["prompt"]
    [{'role': 'user', 'length': 2}]
    """

    agent: str
    provider: str
    model: str
    verb: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    messages: Sequence[Message] = ()
    tools: Sequence[Mapping[str, Any]] = ()
    schema: Mapping[str, Any] | None = None
    keep_prompt: bool = field(default=False, compare=False)
    price: tuple[float, float] | None = field(default=None, compare=False)

    @property
    def digest(self) -> str:
        """What names the call in a journal: SHA-256 of all that decides the answer, as 64 hexadecimal digits. The same
        in every process. Raises nothing for plain data."""
        what = (self.agent, self.provider, self.model, self.verb, self.parameters, self.messages, self.tools)
        try:
            data = _encode([*what, self.schema])
        except (UnicodeEncodeError, OverflowError):  # lone surrogates, and numbers of more than 64 bits
            data = json.dumps([*what, self.schema], sort_keys=True, default=_plain).encode()
        return hashlib.sha256(data).hexdigest()

    def record(self) -> dict[str, Any]:
        """What is stored of it: all but the prompt and the schema, of which sizes are kept. Raises nothing."""
        return {
            "agent": self.agent,
            "provider": self.provider,
            "model": self.model,
            "verb": self.verb,
            "parameters": _plain(self.parameters),
            "digest": self.digest,
            "prompt": [{"role": str(one.get("role", "")), "length": len(_content(one))} for one in self.messages],
            "tools": [str(one.get("name", "")) for one in self.tools],
            "schema": self.schema is not None,
        }


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model wants to be called, with these ``arguments``. ``id`` is the server's, empty where it gives
    none. ``problems`` say what is wrong: no such tool, or arguments that do not fit its schema; empty if nothing is.
    ``text`` is what the model wrote where no arguments could be made of it. Making one raises nothing.

    >>> from tau.agents import ToolCall
    >>> call = ToolCall.of_text("add", '{"x": 1}', "c1")
    >>> call.message()
    {'name': 'add', 'arguments': {'x': 1}, 'id': 'c1'}
    >>> call.record()["arguments"]
    '{"x": 1}'
    >>> ToolCall.of_data("add", {"x": 1}, "c1") == call
    True
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    problems: tuple[str, ...] = ()
    text: str = ""

    @classmethod
    def of_text(cls, name: str, text: str, id: str = "") -> ToolCall:
        """With arguments in JSON, as models write them; what is not an object in JSON, or nests too deep, is one of its
        problems. Raises nothing."""
        try:
            found = json.loads(text or "{}")
        except (ValueError, RecursionError) as error:
            return cls(name, {}, id, (f"the arguments are not JSON: {error}",), text)
        if not isinstance(found, dict):
            return cls(name, {}, id, (f"the arguments are not an object, but {type(found).__name__}",), text)
        return cls(name, {}, id, (_DEEP,), text) if _is_deep(found) else cls(name, found, id)

    @classmethod
    def of_data(cls, name: str, arguments: Mapping[str, Any], id: str = "") -> ToolCall:
        """With arguments that a client has read already. Those that nest too deep are one of its problems. Raises
        nothing."""
        if not _is_deep(arguments):
            return cls(name, arguments, id)
        try:
            text = json.dumps(arguments)
        except RecursionError:
            text = _DEEP
        return cls(name, {}, id, (_DEEP,), text)

    def record(self) -> dict[str, Any]:
        """As plain data. Raises nothing."""
        found = {"name": self.name, "arguments": self.text or json.dumps(self.arguments), "id": self.id}
        return {**found, "problems": [*self.problems]} if self.problems else found

    def message(self) -> dict[str, Any]:
        """As part of a message. Raises nothing."""
        return {"name": self.name, "arguments": _plain(self.arguments), "id": self.id}


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of a call, as the server counted them. Making one raises nothing.

    >>> from tau.agents import Usage
    >>> Usage(30, 12).total_tokens
    42
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Both. Raises nothing."""
        return self.prompt_tokens + self.completion_tokens


def cost_of(prompt_tokens: int, completion_tokens: int, price: tuple[float, float]) -> float:
    """What they cost at the price of a million tokens of input and of output."""
    return (prompt_tokens * price[0] + completion_tokens * price[1]) / 1e6


@dataclass(frozen=True, slots=True)
class Response:
    """What a model answered.

    ``value`` is the answer as its schema has it, ``None`` without one. ``embeddings`` has a list of numbers for each
    input of ``embed``. ``usage`` is ``None`` where the server did not count. ``timings`` are seconds;
    ``duration_seconds`` is how long the caller waited, retries included. ``finish_reason`` is the server's: ``stop``,
    ``length``, ``tool_calls`` or another word. ``id`` is unique, and the same when the response is replayed.
    ``requests`` is how many were sent for it. ``messages`` is the prompt with this answer at its end, to go on with.
    ``journaled``: it is stored in the run. ``replayed``: it comes from there, and nothing was sent. Making one raises
    nothing.

    >>> from tau.agents import scripted
    >>> response = scripted(["hello"]).chat("hi")
    >>> response.text, response.finish_reason, response.journaled
    ('hello', 'stop', False)
    >>> response.record()["text"]
    'hello'
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    embeddings: tuple[Sequence[float], ...] = ()
    value: Any = None
    usage: Usage | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    finish_reason: str = ""
    model: str = ""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    requests: int = 1
    messages: tuple[dict[str, Any], ...] = ()
    journaled: bool = False
    replayed: bool = False

    @property
    def message(self) -> dict[str, Any]:
        """The answer as a message. Raises nothing."""
        return _answer(self.text, self.tool_calls)

    def record(self) -> dict[str, Any]:
        """What is stored of it: plain data, from which `response_of` makes it again. Raises nothing."""
        return {
            "text": self.text,
            "tool_calls": [one.record() for one in self.tool_calls],
            "embeddings": [list(one) for one in self.embeddings],
            "usage": None if self.usage is None else [self.usage.prompt_tokens, self.usage.completion_tokens],
            "timings": dict(self.timings),
            "finish_reason": self.finish_reason,
            "model": self.model,
            "id": self.id,
            "requests": self.requests,
        }


def response_of(record: Mapping[str, Any], call: Call, *, journaled: bool, replayed: bool) -> Response:
    """The response of which that is the record, and which answers that call. Raises `KeyError` where it is no such
    record."""
    usage = record["usage"]
    calls = tuple([_tool_call(one) for one in record["tool_calls"]])
    return Response(
        text=record["text"],
        tool_calls=calls,
        embeddings=tuple(record["embeddings"]),
        usage=None if usage is None else Usage(*usage),
        timings=record["timings"],
        finish_reason=record["finish_reason"],
        model=record["model"],
        id=record["id"],
        requests=record["requests"],
        messages=_continued(call, record["text"], calls),
        journaled=journaled,
        replayed=replayed,
    )


def _tool_call(record: Mapping[str, Any]) -> ToolCall:
    found = ToolCall.of_text(record["name"], record["arguments"], record["id"])
    return replace(found, problems=tuple(record.get("problems", ()))) if "problems" in record else found


def with_messages(response: Response, call: Call) -> Response:
    """The response with the prompt and its own message, as plain data to go on with."""
    if response.messages:
        return response
    return replace(response, messages=_continued(call, response.text, response.tool_calls))


def _continued(call: Call, text: str, tool_calls: Sequence[ToolCall]) -> tuple[dict[str, Any], ...]:
    if call.verb == "embed":
        return ()
    return (*[_copied(one) for one in call.messages], _answer(text, tool_calls))


def _copied(message: Message) -> dict[str, Any]:
    """`_plain` of one; most hold only text."""
    for value in message.values():
        if type(value) is not str:
            found: dict[str, Any] = _plain(message)
            return found
    return dict(message)


def _answer(text: str, tool_calls: Sequence[ToolCall]) -> dict[str, Any]:
    found: dict[str, Any] = {"role": "assistant", "content": text}
    if tool_calls:
        found["tool_calls"] = [one.message() for one in tool_calls]
    return found


def _content(message: Message) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else ""


def _is_deep(arguments: Any) -> bool:
    """Whether they nest too deep to be handed on: the interpreter's stack ends where nobody would look for it."""
    level = [arguments]
    for _ in range(_MOST_LEVELS):
        inside = [one for one in level if isinstance(one, dict | list)]
        level = [part for one in inside for part in (one.values() if isinstance(one, dict) else one)]
        if not level:
            return False
    return True


def _plain(value: Any) -> Any:
    """A copy in dicts and lists."""
    if type(value) in _ATOMS:
        return value
    if isinstance(value, Mapping):
        return {key: one if type(one) in _ATOMS else _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


_encode = msgspec.json.Encoder(order="sorted", enc_hook=_plain).encode
