"""The form of an answer: what people are asked for, as a class or a plain type, and as a JSON schema."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from typing import Any

import msgspec

from tau.errors import ConfigError
from tau.late_imports import load_module
from tau.log.json_schema import problems
from tau.schema.fields import Misfit, said
from tau.schema.types import whole
from tau.values import Refused, encode
from tau.values.models import is_model

_KEPT = (bytes, datetime.datetime, datetime.date, datetime.time, datetime.timedelta, uuid.UUID, decimal.Decimal)


class Form:
    """What an answer must look like: a pydantic model, a dataclass, a Struct, or a type such as ``bool`` or
    ``Literal["approve", "reject"]``; with ``None`` anything that can be stored.

    An answer rests as JSON would have it, so that it can be given where the class is not known. Raises `ConfigError`
    for a class of which no JSON schema can be made.
    """

    def __init__(self, where: str, kind: Any) -> None:
        self.kind = kind
        self._is_model = is_model(kind)
        self.schema: dict[str, Any] | None = None
        if kind is not None:
            try:
                made = kind.model_json_schema() if self._is_model else _schema(kind)
                self.schema = json.loads(json.dumps(made))
            except Exception as error:
                raise ConfigError(
                    f"{where}: form must be a pydantic model, a dataclass or a plain type such as bool or "
                    f"Literal['yes', 'no'], found {kind!r:.80}, of which no JSON schema can be made: {error}"
                ) from error

    def plain(self, value: Any) -> Any:
        """The answer as it rests. Raises `Misfit` where it cannot be what is asked for."""
        if self.kind is None:
            return value
        found = plain_of(value)
        self.kept(found)
        return found

    def taken(self, found: Any) -> Any:
        """The answer as the form has it: an instance of the class. Raises `Misfit`."""
        if self.schema is None:
            return found
        wrong = problems(self.schema, found)
        if wrong:
            raise Misfit("; ".join(wrong))
        try:
            if self._is_model:
                return self.kind.model_validate_json(json.dumps(found))
            return whole(msgspec.convert(found, self.kind, str_keys=True))
        except (ValueError, TypeError) as error:
            raise Misfit(said(error)) from None

    def kept(self, found: Any) -> Any:
        """The answer as the state keeps it: as it is `taken` where that can be stored (plain values, classes that are
        registered), otherwise the same in dicts, lists and scalars. Raises `Misfit`."""
        if self.kind is None:
            return found
        taken = self.taken(found)
        if _is_storable(taken):
            return taken
        if not self._is_model:
            return msgspec.to_builtins(taken, builtin_types=_KEPT)
        dumped = taken.model_dump()
        if _is_storable(dumped):
            return dumped
        _plain_of_model(taken)  # raises where something would be lost
        return taken.model_dump(mode="json")


def plain_of(value: Any) -> Any:
    """A value as JSON has it. Raises `Misfit` for what JSON cannot hold."""
    try:
        plain = _plain_of_model(value) if is_model(type(value)) else msgspec.to_builtins(value, str_keys=True)
        return json.loads(json.dumps(plain, allow_nan=False))
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise Misfit(f"it cannot be written as JSON: {error}") from None


def _plain_of_model(value: Any) -> Any:
    """A model's fields as JSON has them, by their aliases. Raises `Misfit` where they do not make the same model."""
    plain = value.model_dump(mode="json", by_alias=True, round_trip=True)
    try:
        same = type(value).model_validate_json(json.dumps(plain)) == value
    except ValueError as error:
        raise Misfit(f"its fields do not make it again: {said(error)}; give the answer as plain data") from None
    if not same:
        raise Misfit("something of it is not in its JSON, such as a secret or an excluded field; give plain data")
    return plain


def _is_storable(value: Any) -> bool:
    try:
        encode(value)
    except Refused:
        return False
    return True


def _schema(kind: Any) -> Any:
    load_module("msgspec.json")
    found = msgspec.json.schema(kind)
    if not found:
        raise TypeError("it says nothing; leave it out")
    return found
