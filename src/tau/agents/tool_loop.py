"""`Agent.run`: the model asks for tools, they are called, it is told what they gave, until it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tau.agents.driving import Work
from tau.agents.errors import AgentAnswerError, AgentLimitError
from tau.agents.records import Call, Response, ToolCall, cost_of
from tau.agents.tools import Tool, checked_calls
from tau.checks import number, refused
from tau.errors import ConfigError, TauError
from tau.events import text_of
from tau.node.context import current

MAX_MISTAKES: Final = 3
"""How many calls that cannot be made are told to the model, in the whole loop."""

_LIMITS: Final = ("requests", "tokens", "cost")
Approve = bool | Collection[str] | Callable[[ToolCall], bool]


@dataclass(frozen=True, slots=True)
class Approval:
    """What is yielded to ask a person: the question's name and what is shown; the answer is true or false."""

    name: str
    prompt: str


class Limits:
    """What the calls of one loop may use. What was recorded counts as well, so that a resume grants nothing new.

    ``requests`` counts what was sent, retries included, ``tokens`` what the server counted, ``cost`` these at the
    prices of the model. Raises `ConfigError`."""

    def __init__(self, given: Mapping[str, float] | None) -> None:
        found = given or {}
        if not isinstance(found, Mapping) or any(key not in _LIMITS for key in found):
            raise refused("limits", given, f"an object with some of {', '.join(_LIMITS)}")
        self._most = {key: number(f"limits.{key}", one, 0.0) for key, one in found.items()}
        self._used = dict.fromkeys(_LIMITS, 0.0)

    def check(self, call: Call) -> None:
        """Raises `AgentLimitError` where nothing more may be asked, `ConfigError` for a cost without prices."""
        if "cost" in self._most and call.price is None:
            raise ConfigError(
                f"limits.cost: what {call.model} costs is not known; give the agent the prices of a million tokens of "
                f"input and of output: prices={{{call.model!r}: (2.5, 10.0)}}"
            )
        for name, most in self._most.items():
            if self._used[name] >= most:
                raise AgentLimitError(
                    f"agent {call.agent!r} has used {self._used[name]:g} {name} of limits={{{name!r}: {most:g}}}",
                    agent=call.agent,
                    provider=call.provider,
                    model=call.model,
                    limit=name,
                    used=self._used[name],
                    allowed=most,
                )

    def add(self, call: Call, response: Response) -> None:
        """Count the response to a call."""
        self._used["requests"] += response.requests
        if (usage := response.usage) is not None:
            self._used["tokens"] += usage.total_tokens
            self._used["cost"] += cost_of(usage.prompt_tokens, usage.completion_tokens, call.price or (0.0, 0.0))


def looped(
    call: Call, tools: Mapping[str, Tool], *, max_rounds: int, approve: Approve, limits: Limits
) -> Work[Response]:
    """Yields calls of the model, calls of tools (verb ``tool``) and approvals; returns the response that asks for no
    more tools. Raises `AgentLimitError` and `AgentAnswerError`."""
    mistakes = 0
    for one_round in range(max_rounds):
        limits.check(call)
        response: Response = yield call
        limits.add(call, response)
        response = checked_calls(response, tools)
        if not response.tool_calls:
            return response
        told: list[dict[str, Any]] = [response.message]
        for index, wanted in enumerate(response.tool_calls):
            if wanted.problems:
                mistakes += 1
                said = f"error: {'; '.join(wanted.problems)}"
                _check_mistakes(call, mistakes, said)
            else:
                place = f"{one_round + 1}.{index + 1}"
                said = yield from _used(call, wanted, place, approve, f"{wanted.name} {place} {response.id[:8]}")
            told.append({"role": "tool", "content": said, "tool_call_id": wanted.id, "name": wanted.name})
        call = replace(call, messages=(*call.messages, *told))
    raise AgentLimitError(
        f"agent {call.agent!r} still asks for tools after {max_rounds} rounds; raise max_rounds, or ask for less",
        agent=call.agent,
        provider=call.provider,
        model=call.model,
        limit="max_rounds",
        used=max_rounds,
        allowed=max_rounds,
    )


def _used(call: Call, wanted: ToolCall, place: str, approve: Approve, question: str) -> Work[str]:
    """What a tool gave, as text for the model. The ``question`` is named after the response, not after what was asked,
    which another loop of the node may have asked, too."""
    work = Call(
        agent=call.agent,
        provider="tool",
        model=wanted.name,
        verb="tool",
        parameters=wanted.arguments,
        messages=({"role": "tool", "content": f"{place} of {call.digest}"},),
    )
    if _is_asked(wanted, approve):
        shown = json.dumps(wanted.arguments)
        allowed = yield Approval(question, f"{call.agent} wants {wanted.name}({shown})")
        if not allowed:
            return "error: a person did not allow this call"
    response: Response = yield work
    return response.text


def _is_asked(wanted: ToolCall, approve: Approve) -> bool:
    if isinstance(approve, bool):
        return approve
    return approve(wanted) if callable(approve) else wanted.name in approve


def _check_mistakes(call: Call, mistakes: int, said: str) -> None:
    if mistakes > MAX_MISTAKES:
        raise AgentAnswerError(
            f"{call.model} asked {mistakes} times for tools that cannot be called as it wants: {said}",
            agent=call.agent,
            provider=call.provider,
            model=call.model,
            problems=(said,),
            finish_reason="tool_calls",
        )


def ask_person(approval: Approval) -> bool:
    """The answer of a person; while there is none, the run waits. Raises `ConfigError` outside of a run."""
    try:
        here = current()
    except TauError as error:
        raise ConfigError(
            "approve= asks people, which only the node of a run can do; no node is running here"
        ) from error
    return bool(here.ask(approval.name, form=bool, prompt=approval.prompt))


def result_text(value: Any) -> str:
    """What a tool returned, as the model is told of it."""
    return text_of(value) if isinstance(value, str) else json.dumps(value, default=str)


def failure_text(error: Exception) -> str:
    """What a tool raised, as the model is told of it. Raises it where it is not the tool's, but the run's."""
    if isinstance(error, TauError):
        raise error
    return f"error: {type(error).__name__}: {text_of(error)}"
