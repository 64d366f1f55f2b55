"""Tools: functions that a model may ask for, described by schemas."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from tau.agents.records import Response, ToolCall
from tau.checks import checked_name, refused
from tau.errors import ConfigError
from tau.late_imports import load_module
from tau.log.json_schema import problems
from tau.spelling import did_you_mean

_ANY_OBJECT: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": True}


@dataclass(frozen=True, slots=True)
class Tool:
    """What a model is told of a tool: its name, what it does, the JSON schema of its arguments; and what is called,
    ``None`` for one that only `Agent.tools` is given."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    function: Callable[..., Any] | None = None

    def record(self) -> dict[str, Any]:
        """As a provider is told of it. Raises nothing."""
        return {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}

    @property
    def example(self) -> str:
        """A call of it, for messages."""
        return f"{self.name}({', '.join(self.parameters.get('properties', {}))})"


def checked_tools(tools: Any) -> dict[str, Tool]:
    """Tools by name, from functions and from descriptions (``name``, ``description``, ``parameters``). Raises
    `ConfigError`."""
    if isinstance(tools, str | Mapping) or not isinstance(tools, Sequence) or not tools:
        raise refused("tools", tools, "a list of functions or descriptions, at least one")
    found: dict[str, Tool] = {}
    for at, one in enumerate(tools):
        made = one if isinstance(one, Tool) else _described(at, one) if isinstance(one, Mapping) else _of(at, one)
        if made.name in found:
            raise ConfigError(f"tools[{at}]: there are two tools {made.name!r}; give each a name of its own")
        found[made.name] = made
    return found


def checked_calls(response: Response, tools: Mapping[str, Tool]) -> Response:
    """The response, whose calls say what is wrong with them."""
    return replace(response, tool_calls=tuple(_checked(one, tools) for one in response.tool_calls))


def _checked(call: ToolCall, tools: Mapping[str, Tool]) -> ToolCall:
    if call.name not in tools:
        near = did_you_mean(call.name, tools)
        return replace(call, problems=(f"there is no tool {call.name!r:.80}; the tools are {', '.join(tools)}{near}",))
    wrong = call.problems or tuple(problems(tools[call.name].parameters, dict(call.arguments)))
    return replace(call, problems=wrong)


def _described(at: int, tool: Mapping[str, Any]) -> Tool:
    told = tool.get("function", tool) if tool.get("type") == "function" else tool
    unknown = [key for key in told if key not in ("name", "description", "parameters")]
    if unknown:
        raise ConfigError(f"tools[{at}].{unknown[0]}: unknown key; the keys are name, description, parameters")
    name = checked_name(f"tools[{at}].name", told.get("name"))
    parameters = told.get("parameters", _ANY_OBJECT)
    if not isinstance(parameters, Mapping):
        raise refused(f"tools[{at}].parameters", parameters, "a JSON schema")
    return Tool(name, str(told.get("description", "")), json.loads(json.dumps(parameters)))


def _of(at: int, function: Any) -> Tool:
    """A function, whose annotations say what its arguments must be."""
    if not callable(function):
        raise refused(f"tools[{at}]", function, "a function, or a description with name, description and parameters")
    name = checked_name(f"the name of tools[{at}]", getattr(function, "__name__", None))
    hints = typing.get_type_hints(function, include_extras=True)
    fields: list[Any] = []
    for one in inspect.signature(function).parameters.values():
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD, one.POSITIONAL_ONLY):
            raise ConfigError(f"tools[{at}]: {name} must take named arguments only, found {one}")
        kind = hints.get(one.name, Any)
        fields.append((one.name, kind) if one.default is one.empty else (one.name, kind, one.default))
    load_module("msgspec.json")
    try:
        made = msgspec.defstruct(name, sorted(fields, key=len), kw_only=True, forbid_unknown_fields=True)
        schema = msgspec.json.schema(made)
    except TypeError as error:
        raise ConfigError(f"tools[{at}]: of the arguments of {name} no JSON schema can be made: {error}") from error
    defs = schema["$defs"]
    top = {key: one for key, one in defs.pop(name).items() if key != "title"}
    return Tool(name, inspect.getdoc(function) or "", {**top, **({"$defs": defs} if defs else {})}, function)
