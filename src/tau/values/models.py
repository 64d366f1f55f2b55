"""The shapes of attrs classes, msgspec Structs and pydantic models. None of these libraries is imported for them.

Reading puts the fields back as they were: no constructor, validator, converter or hook of the class runs.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from msgspec import Struct

from tau.errors import ConfigError
from tau.values.refusal import refuse
from tau.values.shape import Shape, exact, extra_attributes, instance_shape

_HASH = "_attrs_cached_hash"  # where attrs keeps a hash, None before it is asked for
_MODEL_PARTS = ("fields", "set", "extra", "private")


def model_shape(cls: Any) -> Shape | None:
    """The shape of a class of one of these libraries; ``None`` for any other."""
    if issubclass(cls, Struct):
        return _struct(cls)
    if "__attrs_attrs__" in vars(cls):
        names = tuple(field.name for field in cls.__attrs_attrs__)
        optional = frozenset(field.name for field in cls.__attrs_attrs__ if not field.init)
        return instance_shape(cls, names, optional, (_HASH,) if _caches_hash(cls) else ())
    if is_model(cls):
        return _model(cls)
    return None


def is_model(cls: Any) -> bool:
    """Whether it is a class of pydantic's models."""
    return isinstance(cls, type) and any(
        base.__module__ == "pydantic.main" and base.__name__ == "BaseModel" for base in cls.__mro__[1:]
    )


def _caches_hash(cls: Any) -> bool:
    code = getattr(cls.__hash__, "__code__", None)
    return code is not None and _HASH in code.co_names


def _struct(cls: Any) -> Shape:
    # A Struct can only be made by its constructor, which runs nothing of the class but this.
    if hasattr(cls, "__post_init__"):
        raise ConfigError(
            f"{cls.__qualname__} has a __post_init__, which msgspec would run whenever a stored one is read: "
            "give register_type encode and decode"
        )
    names: tuple[str, ...] = cls.__struct_fields__

    def pack(value: Any) -> dict[str, Any]:
        extra = extra_attributes(value, names, frozenset())
        if extra:
            raise refuse(value, f"its attribute {extra[0]!r} is not a field and would be lost; declare it as a field")
        unset = [name for name in names if not hasattr(value, name)]
        if unset:
            raise refuse(value, f"its field {unset[0]!r} is not set")
        return {name: getattr(value, name) for name in names}

    def unpack(stored: Any) -> Any:
        return cls(**dict(zip(names, exact(cls, stored, names), strict=True)))

    return Shape(pack, unpack, fields=True)


def _model(cls: Any) -> Shape:
    names = tuple(cls.__pydantic_fields__)
    derived = frozenset(
        name for base in cls.__mro__ for name, value in vars(base).items() if isinstance(value, cached_property)
    )
    if cls.__pydantic_root_model__:  # it keeps private attributes among its own, and only where there are some
        derived |= {"__pydantic_private__"}

    def pack(value: Any) -> dict[str, Any]:
        lost = extra_attributes(value, names, derived)
        unset = [name for name in names if name not in vars(value)]
        if lost or unset:
            what = f"its attribute {lost[0]!r} is not a field" if lost else f"its field {unset[0]!r} is not set"
            raise refuse(value, f"{what}, so it would not come back as it is; make it by the model's constructor")
        fields = {name: vars(value)[name] for name in names}
        return {
            "fields": fields,
            "set": sorted(value.__pydantic_fields_set__),
            "extra": value.__pydantic_extra__,
            "private": value.__pydantic_private__,
        }

    def unpack(stored: Any) -> Any:
        fields, were_set, extra, private = exact(cls, stored, _MODEL_PARTS)
        values = dict(zip(names, exact(cls, fields, names), strict=True))
        if not all(part is None or type(part) is dict for part in (extra, private)) or type(were_set) is not list:
            raise ValueError("a model needs dicts and a list")
        instance = object.__new__(cls)
        object.__setattr__(instance, "__dict__", values)
        object.__setattr__(instance, "__pydantic_fields_set__", set(were_set))
        for name, part in (("__pydantic_extra__", extra), ("__pydantic_private__", private)):
            if part is not None or not cls.__pydantic_root_model__:
                object.__setattr__(instance, name, part)
        return instance

    return Shape(pack, unpack)
