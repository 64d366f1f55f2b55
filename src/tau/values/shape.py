"""What all shapes of classes share: fields are taken from instances, and put back without a constructor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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


def instance_shape(cls: type, names: tuple[str, ...], optional: frozenset[str], unkept: tuple[str, ...] = ()) -> Shape:
    """The shape of a class whose instances are their attributes ``names``, of which the ``optional`` may be unset.

    The attributes ``unkept`` are derived from the others, and ``None`` at first. Raises `ConfigError` where instances
    hold more.
    """
    try:
        object.__new__(cls)
    except TypeError as error:
        raise ConfigError(f"{cls.__qualname__} needs encode and decode of its own: {error}") from error
    lost = [slot for base in cls.__mro__ for slot in _slots(base) if slot not in (*names, *unkept)]
    if lost:
        raise ConfigError(f"{cls.__qualname__} has the slot {lost[0]!r}, which is not a field: give encode and decode")
    derived = frozenset(
        name for base in cls.__mro__ for name, value in vars(base).items() if isinstance(value, cached_property)
    ) | {"__orig_class__", *unkept}

    def pack(value: Any) -> dict[str, Any]:
        extra = extra_attributes(value, names, derived)
        if extra:
            raise refuse(value, f"its attribute {extra[0]!r} is not a field and would be lost; declare it as a field")
        unset = [name for name in names if not hasattr(value, name)]
        if not optional.issuperset(unset):
            raise refuse(value, f"its field {unset[0]!r} is not set")
        return {name: getattr(value, name) for name in names if name not in unset}

    def unpack(stored: Any) -> Any:
        present = tuple(name for name in names if name not in optional or name in stored)
        values = exact(cls, stored, present)
        instance: Any = object.__new__(cls)
        for name in unkept:
            object.__setattr__(instance, name, None)
        for name, value in zip(present, values, strict=True):
            object.__setattr__(instance, name, value)
        return instance

    return Shape(pack, unpack, fields=True)


def extra_attributes(value: Any, names: tuple[str, ...], derived: frozenset[str]) -> list[str]:
    """The attributes of an instance that are neither fields nor derived from them."""
    return [name for name in getattr(value, "__dict__", ()) if name not in names and name not in derived]


def _slots(base: type) -> Iterable[str]:
    slots: str | Iterable[str] = vars(base).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def exact(cls: type, stored: Any, names: tuple[str, ...]) -> list[Any]:
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
