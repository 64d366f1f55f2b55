"""How the instances of a registered class are taken apart and put together: one shape for each sort of class."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from enum import Enum, Flag
from typing import Any

from tau.errors import ConfigError, UnsupportedFormatError
from tau.values.models import model_shape
from tau.values.refusal import refuse
from tau.values.shape import Shape, exact, instance_shape


def shape_of(cls: type, encode: Callable[[Any], Any] | None, decode: Callable[[Any], Any] | None) -> Shape:
    """The shape of a class. Raises ``ConfigError`` if it needs functions of its own."""
    if encode is not None and decode is not None:
        return Shape(encode, decode)
    if encode is not None or decode is not None:
        raise ConfigError(f"{cls.__qualname__}: give both encode and decode, or neither")
    if issubclass(cls, Flag):
        return _flag(cls)
    if issubclass(cls, Enum):
        return _enum(cls)
    model = model_shape(cls)
    if model is not None:
        return model
    if dataclasses.is_dataclass(cls):
        return _dataclass(cls)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _named_tuple(cls)
    raise ConfigError(
        f"{cls.__qualname__} is not a dataclass, enum, named tuple, attrs class, msgspec Struct or pydantic model: "
        "give register_type its encode (instance to storable values) and decode (values to instance)"
    )


def _enum(cls: type[Enum]) -> Shape:
    def pack(value: Enum) -> dict[str, str]:
        if cls.__members__.get(value.name) is not value:
            raise refuse(value, "it is not one of the named members of its enum")
        return {"name": value.name}

    def unpack(fields: Any) -> Enum:
        (name,) = exact(cls, fields, ("name",))
        if type(name) is not str:
            raise ValueError("a member of an enum needs its name")
        member = cls.__members__.get(name)
        if member is None:
            raise UnsupportedFormatError(
                f"a stored value is the member {name!r} of {cls.__qualname__}, which has no such member now; "
                "keep old members, or raise the version and give register_type an upgrade function",
                found=name,
                supported=list(cls.__members__),
            )
        return member

    return Shape(pack, unpack, atom=True)


def _flag(cls: type[Flag]) -> Shape:
    def pack(value: Flag) -> dict[str, Any]:
        return {"value": value.value}

    def unpack(fields: Any) -> Flag:
        (number,) = exact(cls, fields, ("value",))
        value = cls(number)
        if value.value != number:
            raise UnsupportedFormatError(f"{cls.__qualname__} does not have the bits {number!r} now", found=number)
        return value

    return Shape(pack, unpack, atom=True)


def _named_tuple(cls: Any) -> Shape:
    names: tuple[str, ...] = cls._fields

    def pack(value: tuple[Any, ...]) -> dict[str, Any]:
        if len(value) != len(names) or getattr(value, "__dict__", None):
            raise refuse(value, "it holds more than its fields, which would be lost")
        return dict(zip(names, value, strict=True))

    def unpack(fields: Any) -> tuple[Any, ...]:
        value: tuple[Any, ...] = tuple.__new__(cls, exact(cls, fields, names))
        return value

    return Shape(pack, unpack, fields=True)


def _dataclass(cls: type) -> Shape:
    fields = dataclasses.fields(cls)
    optional = frozenset(field.name for field in fields if not field.init)
    return instance_shape(cls, tuple(field.name for field in fields), optional)
