"""Whether a value fits a type: as msgspec has it, and for the classes that msgspec does not know, by ``isinstance``."""

from __future__ import annotations

import dataclasses
import datetime
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from tau.schema.fields import Misfit, said
from tau.values.models import is_model

_UNIONS: Final = (typing.Union, types.UnionType)
_CONVERTED: Final = (msgspec.ValidationError, ValueError)
_ANYTHING: Final = (Any, object)


def checker(hint: Any) -> Callable[[Any], Any]:
    """What gives a value as msgspec converts it to this type, or raises `Misfit`.

    Instances of classes that msgspec does not know pass as they are, as do members of enumerations and instances of
    subclasses, which it would not take. Raises ``TypeError`` for a type with which nothing can be compared.
    """
    if hint in _ANYTHING or isinstance(hint, typing.TypeVar):
        return _same
    try:
        msgspec.convert(None, hint, dec_hook=_of_class)
    except msgspec.ValidationError:
        pass
    except TypeError as error:
        return _beside_msgspec(hint, error)
    except Exception:  # what a hook of the user's raises for None
        pass

    complete = whole if _has_dataclass(hint) else _same

    def check(value: Any) -> Any:
        try:
            return complete(msgspec.convert(value, hint, dec_hook=_of_class))
        except _CONVERTED as error:
            if fits(value, hint):
                return value
            raise Misfit(_text(error)) from error

    return check


def _beside_msgspec(hint: Any, error: TypeError) -> Callable[[Any], Any]:
    """The same for what msgspec cannot take as a whole, such as a union of two classes."""
    if typing.get_origin(hint) in _UNIONS:
        ways = [checker(one) for one in typing.get_args(hint)]

        def check(value: Any) -> Any:
            if fits(value, hint):
                return value
            wrong = []
            for way in ways:
                try:
                    return way(value)
                except Misfit as misfit:
                    wrong.append(str(misfit))
            raise Misfit(f"it is none of {shown(hint)}, found `{shown(type(value))}`")

        return check
    if not _can_be_asked(hint):
        raise error

    def check_class(value: Any) -> Any:
        if fits(value, hint):
            return value
        raise Misfit(f"Expected `{shown(hint)}`, got `{shown(type(value))}`")

    return check_class


def fits(value: Any, hint: Any) -> bool:  # noqa: PLR0911
    """Whether a value is of this type as it is."""
    if hint in _ANYTHING or isinstance(hint, typing.TypeVar):
        return True
    if hint is None or hint is types.NoneType:
        return value is None
    if isinstance(hint, typing.NewType):
        return fits(value, hint.__supertype__)
    if type(hint).__name__ == "TypeAliasType":
        return fits(value, hint.__value__)
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return not any(isinstance(one, msgspec.Meta) for one in inside[1:]) and fits(value, inside[0])
    if origin in _UNIONS:
        return any(fits(value, one) for one in inside)
    if origin is typing.Literal:
        return any(value is one or (type(value) is type(one) and value == one) for one in inside)
    if typing.is_typeddict(origin or hint):
        return _fits_fields(value, hint)
    if not _is_instance(value, origin or hint):
        return False
    return origin is None or _fits_inside(value, origin, inside)


def _fits_inside(value: Any, origin: Any, inside: tuple[Any, ...]) -> bool:
    if isinstance(value, tuple) and issubclass(origin, tuple) and inside[-1] is not ...:
        return len(value) == len(inside) and all(map(fits, value, inside))
    if isinstance(value, Mapping) and len(inside) == 2:
        return all(fits(key, inside[0]) and fits(one, inside[1]) for key, one in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return all(fits(one, inside[0]) for one in value)
    return True  # what is inside an array or a table is its own affair


def _fits_fields(value: Any, hint: Any) -> bool:
    hints = typing.get_type_hints(typing.get_origin(hint) or hint)
    needed = (typing.get_origin(hint) or hint).__required_keys__
    return (
        type(value) is dict
        and value.keys() <= hints.keys()
        and needed <= value.keys()
        and all(fits(one, hints[name]) for name, one in value.items())
    )


def _is_instance(value: Any, kind: Any) -> bool:
    if isinstance(value, bool) and kind is not bool and kind in (int, float):
        return False
    if isinstance(value, datetime.datetime) and kind is datetime.date:
        return False
    try:
        return isinstance(value, kind)
    except TypeError:
        return False


def _can_be_asked(hint: Any) -> bool:
    if typing.get_origin(hint) is typing.Annotated:
        return _can_be_asked(typing.get_args(hint)[0])
    try:
        isinstance(None, typing.get_origin(hint) or hint)
    except TypeError:
        return False
    return True


def _of_class(kind: Any, value: Any) -> Any:
    """What msgspec asks for a class that it does not know, where the value is no instance of it."""
    return kind.model_validate(value) if is_model(kind) else value


def whole(value: Any) -> Any:
    """With every default in the instance itself, where msgspec leaves those of dataclasses to the class."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            inside = whole(getattr(value, field.name))
            if field.name not in getattr(value, "__dict__", (field.name,)):
                object.__setattr__(value, field.name, inside)
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            whole(getattr(value, name))
    elif isinstance(value, dict | list | tuple | set | frozenset):
        for inside in value.values() if isinstance(value, dict) else value:
            whole(inside)
    return value


def _has_dataclass(hint: Any, depth: int = 10) -> bool:
    kind = typing.get_origin(hint) or hint
    if depth == 0 or dataclasses.is_dataclass(kind) or typing.is_typeddict(kind):
        return True
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return True
    return any(_has_dataclass(one, depth - 1) for one in typing.get_args(hint))


def shown(hint: Any) -> str:
    """A type as a reader knows it."""
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")


def _text(error: Exception) -> str:
    return said(error).replace(" - at `$", " at `value")


def _same(value: Any) -> Any:
    return value
