"""Answers that fit a schema: given as a JSON schema, or as a type, whose instance the answer then is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from tau.agents.driving import Work
from tau.agents.errors import AgentAnswerError
from tau.agents.records import Call, Response
from tau.errors import ConfigError
from tau.log.json_schema import problems
from tau.node.forms import Form
from tau.schema.fields import Misfit

MAX_ASKS: Final = 3
"""How often an answer that does not fit is asked for, the first time included."""

_SHOWN: Final = 200


class Wanted:
    """What an answer must be: a JSON schema, or a class or type as for the form of a pause. Raises `ConfigError` for
    what is neither."""

    def __init__(self, kind: Any) -> None:
        self._form: Form | None = None
        if isinstance(kind, Mapping):
            try:
                self.schema: dict[str, Any] = json.loads(json.dumps(kind, allow_nan=False))
            except (TypeError, ValueError, RecursionError) as error:
                raise ConfigError(f"schema: expected a JSON schema as plain data, or a type: {error}") from None
        else:
            self._form = Form("schema", kind)
            self.schema = _whole(self._form.schema or {})

    def taken(self, text: str) -> Any:
        """What the text is. Raises `Misfit`, which says where it does not fit."""
        try:
            found = json.loads(_bare(text), parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise Misfit(f"it is not JSON: {error}") from None
        try:
            if self._form is not None:
                return self._form.taken(found)
            wrong = problems(self.schema, found)
        except RecursionError:
            raise Misfit("it nests too deep") from None
        if wrong:
            raise Misfit("; ".join(wrong))
        return found


def fitted(call: Call, wanted: Wanted) -> Work[Response]:
    """Yields the call, and one more for each answer that does not fit, with what is wrong with it; returns the response
    with the ``value`` of its text. Raises `AgentAnswerError`."""
    for _ in range(MAX_ASKS):
        response: Response = yield call
        if response.finish_reason == "length":
            raise _cut(call, response)
        try:
            return replace(response, value=wanted.taken(response.text))
        except Misfit as misfit:
            wrong = str(misfit)
        told = f"That does not fit: {wrong}. Answer again, with nothing but JSON that fits the schema."
        call = replace(call, messages=(*call.messages, response.message, {"role": "user", "content": told}))
    raise AgentAnswerError(
        f"{call.model} answered {MAX_ASKS} times with what does not fit the schema; the last answer "
        f"{response.text[:_SHOWN]!r}: {wrong}",
        agent=call.agent,
        provider=call.provider,
        model=call.model,
        text=response.text,
        problems=(wrong,),
        finish_reason=response.finish_reason,
    )


def _cut(call: Call, response: Response) -> AgentAnswerError:
    limit = call.parameters.get("max_tokens")
    return AgentAnswerError(
        f"the answer of {call.model} was cut off before it was complete, so that it cannot fit the schema; "
        f"{'set' if limit is None else f'max_tokens is {limit}: set'} a larger max_tokens",
        agent=call.agent,
        provider=call.provider,
        model=call.model,
        text=response.text,
        problems=("it is cut off",),
        finish_reason="length",
    )


def _whole(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with its top in place: servers want to see there that it is an object."""
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    top = schema.get("$defs", {}).get(name)
    return {**top, "$defs": schema["$defs"]} if top else schema


def _bare(text: str) -> str:
    """A text without the fence that models like to put around JSON."""
    found = text.strip()
    if found.startswith("```") and found.endswith("```") and len(found) > 6:
        found = found[3:-3].removeprefix("json").strip()
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not a number in JSON")
