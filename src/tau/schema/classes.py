"""The fields of TypedDicts, dataclasses and msgspec Structs."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from tau.errors import ConfigError
from tau.late_imports import load_module
from tau.schema.fields import ClassFields, Field, name_of, rule_of
from tau.schema.types import checker
from tau.values.models import is_model

_QUALIFIERS: Final = (typing.Required, typing.NotRequired, *([typing.ReadOnly] if hasattr(typing, "ReadOnly") else []))


def is_schema_class(cls: Any) -> bool:
    """Whether it is a class of one of the sorts that can say what a state holds, parametrised or not."""
    kind = typing.get_origin(cls) or cls
    if not isinstance(kind, type):
        return False
    if typing.is_typeddict(kind) or is_model(kind) or dataclasses.is_dataclass(kind):
        return True
    return issubclass(kind, msgspec.Struct) and kind is not msgspec.Struct


def fields_of(cls: Any) -> ClassFields:
    """The fields of a class. Raises `ConfigError` for one that cannot say what a state holds."""
    if not is_schema_class(cls):
        found = name_of(cls) if isinstance(cls, type) else f"{type(cls).__name__}: {cls!r:.80}"
        raise ConfigError(
            f"schema must be a TypedDict, a dataclass, a pydantic model or a msgspec Struct, found {found}; give the "
            "class itself, as in StateGraph(name, schema=Model)"
        )
    kind = typing.get_origin(cls) or cls
    if is_model(kind) or hasattr(kind, "__pydantic_core_schema__"):
        load_module("tau.schema.models")
        from tau.schema.models import fields_of_model  # pydantic is only imported where a class is one of its own

        return fields_of_model(kind)
    hints = _hints(cls)
    if typing.is_typeddict(kind):
        return _typed_dict(cls, kind, hints)
    if issubclass(kind, msgspec.Struct):
        return _struct(cls, kind)
    return _dataclass(cls, kind, hints)


def _typed_dict(cls: Any, kind: Any, hints: Mapping[str, Any]) -> ClassFields:
    fields = {}
    for name, hint in hints.items():
        bare, required = hint, name in kind.__required_keys__
        while (qualifier := typing.get_origin(bare)) in _QUALIFIERS:
            required = qualifier is typing.Required if qualifier in _QUALIFIERS[:2] else required
            bare = typing.get_args(bare)[0]
        fields[name] = _field(cls, name, bare, required=required)
    return ClassFields(cls, fields, make=dict, held=dict)


def _struct(cls: Any, kind: Any) -> ClassFields:
    fields = {}
    for one in msgspec.structs.fields(cls):
        default = _default(one.default, one.default_factory, msgspec.NODEFAULT)
        alias = one.encode_name if one.encode_name != one.name else ""
        fields[one.name] = _field(cls, one.name, one.type, default=default, required=one.required, alias=alias)
    return ClassFields(cls, fields, make=lambda values: kind(**values), held=_attributes(tuple(fields)))


def _dataclass(cls: Any, kind: Any, hints: Mapping[str, Any]) -> ClassFields:
    extra = [name for name, one in kind.__dataclass_fields__.items() if one._field_type is dataclasses._FIELD_INITVAR]  # type: ignore[attr-defined]
    if extra:
        raise ConfigError(f"{name_of(cls)}.{extra[0]} is an InitVar, which no state could hold; make it a field")
    fields = {}
    for one in dataclasses.fields(kind):
        if one.init:
            default = _default(one.default, one.default_factory, dataclasses.MISSING)
            fields[one.name] = _field(cls, one.name, hints[one.name], default=default, required=default is None)
    return ClassFields(cls, fields, make=lambda values: kind(**values), held=_attributes(tuple(fields)))


def _default(value: Any, factory: Any, missing: Any) -> Callable[[], Any] | None:
    if factory is not missing:
        made: Callable[[], Any] = factory
        return made
    return None if value is missing else lambda: value


def _attributes(names: tuple[str, ...]) -> Callable[[Any], dict[str, Any]]:
    def held(instance: Any) -> dict[str, Any]:
        found = {name: getattr(instance, name) for name in names if hasattr(instance, name)}
        return {name: value for name, value in found.items() if value is not msgspec.UNSET}

    return held


def _field(
    cls: Any, name: str, hint: Any, *, required: bool, default: Callable[[], Any] | None = None, alias: str = ""
) -> Field:
    try:
        check = checker(hint)
    except TypeError as error:
        raise ConfigError(
            f"{name_of(cls)}.{name} is annotated {rule_of(hint)}, with which no value can be compared: {error}"
        ) from error
    return Field(name, rule_of(hint), check, required, default, alias)


def _hints(cls: Any) -> dict[str, Any]:
    """The annotations of a class with what stands for its parameters."""
    kind = typing.get_origin(cls) or cls
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise ConfigError(
            f"the annotations of {name_of(cls)} cannot be read: {error}; names in them must be there when the program "
            "runs, at the top of the module of the class"
        ) from error
    meant = _arguments(cls)
    return {name: _put(hint, meant) for name, hint in hints.items()} if meant else hints


def _arguments(cls: Any) -> dict[Any, Any]:
    """What stands for the parameters of a generic class, and of those that it is made from."""
    kind = typing.get_origin(cls) or cls
    meant = dict(zip(getattr(kind, "__parameters__", ()), typing.get_args(cls), strict=False))
    found = dict(meant)
    for base in getattr(kind, "__orig_bases__", ()):
        if typing.get_origin(base) not in (None, typing.Generic, typing.Protocol):
            found |= _arguments(_put(base, meant))
    return found


def _put(hint: Any, meant: Mapping[Any, Any]) -> Any:
    if isinstance(hint, typing.TypeVar):
        return meant.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    if not meant or not parameters or isinstance(hint, type):
        return hint
    return hint[tuple(meant.get(one, one) for one in parameters)]
