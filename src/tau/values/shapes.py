"""How the instances of a registered class are taken apart and put together: one shape for each sort of class."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from enum import Enum, Flag
from functools import cached_property
from typing import Any

from msgspec import Struct

from tau.errors import ConfigError, UnsupportedFormatError
from tau.values.refusal import refuse


class Shape(Struct, frozen=True):
    """``pack`` turns an instance into its fields, ``unpack`` fields into an instance.

    ``atom``: immutable and shared. ``fields``: the fields are a dict of the instance's attributes.
    """

    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]
    atom: bool = False
    fields: bool = False


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
    if dataclasses.is_dataclass(cls):
        return _dataclass(cls)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _named_tuple(cls)
    raise ConfigError(
        f"{cls.__qualname__} is no dataclass, enum or named tuple: "
        "give register_type its encode (instance to storable values) and decode (values to instance)"
    )


def _enum(cls: type[Enum]) -> Shape:
    def pack(value: Enum) -> dict[str, str]:
        if cls.__members__.get(value.name) is not value:
            raise refuse(value, "it is not one of the named members of its enum")
        return {"name": value.name}

    def unpack(fields: Any) -> Enum:
        (name,) = _exact(cls, fields, ("name",))
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
        (number,) = _exact(cls, fields, ("value",))
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
        value: tuple[Any, ...] = tuple.__new__(cls, _exact(cls, fields, names))
        return value

    return Shape(pack, unpack, fields=True)


def _dataclass(cls: type) -> Shape:
    try:
        object.__new__(cls)
    except TypeError as error:
        raise ConfigError(f"{cls.__qualname__} needs encode and decode of its own: {error}") from error
    fields = dataclasses.fields(cls)
    names = tuple(field.name for field in fields)
    optional = frozenset(field.name for field in fields if not field.init)
    lost = [slot for base in cls.__mro__ for slot in _slots(base) if slot not in names]
    if lost:
        raise ConfigError(f"{cls.__qualname__} has the slot {lost[0]!r}, which is no field: give encode and decode")
    derived = frozenset(
        name for base in cls.__mro__ for name, value in vars(base).items() if isinstance(value, cached_property)
    ) | {"__orig_class__"}

    def pack(value: Any) -> dict[str, Any]:
        extra = [name for name in getattr(value, "__dict__", ()) if name not in names and name not in derived]
        if extra:
            raise refuse(value, f"its attribute {extra[0]!r} is no field and would be lost; declare it as a field")
        unset = [name for name in names if not hasattr(value, name)]
        if not optional.issuperset(unset):
            raise refuse(value, f"its field {unset[0]!r} is not set")
        return {name: getattr(value, name) for name in names if name not in unset}

    def unpack(stored: Any) -> Any:
        present = tuple(name for name in names if name not in optional or name in stored)
        values = _exact(cls, stored, present)
        instance: Any = object.__new__(cls)
        for name, value in zip(present, values, strict=True):
            object.__setattr__(instance, name, value)
        return instance

    return Shape(pack, unpack, fields=True)


def _slots(base: type) -> Iterable[str]:
    slots: str | Iterable[str] = vars(base).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def _exact(cls: type, stored: Any, names: tuple[str, ...]) -> list[Any]:
    """The stored values of exactly these fields."""
    if type(stored) is not dict:
        raise ValueError("the fields are not a map")
    if stored.keys() != set(names):
        difference = sorted(map(str, stored.keys() ^ set(names)))
        raise UnsupportedFormatError(
            f"a stored {cls.__qualname__} and the class as it is now differ in the fields {', '.join(difference)}; "
            "raise the version and give register_type an upgrade function",
            found=sorted(map(str, stored)),
            supported=list(names),
        )
    return [stored[name] for name in names]
