"""The fields of a class, whatever library it is of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tau.signals import pass_on

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")


class Misfit(Exception):
    """A value does not fit; its text says why, and shows no value where tau or the class's library writes it."""


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """One field. ``check`` gives what the class's library makes of a value, or raises; see `fitted`.

    ``rule`` is what decides that, as text, and ``code`` the functions of the user's that are asked; ``alias`` is
    another name under which the library knows it. ``default`` makes a value where there is none; without one the field
    may still not be ``required`` (of a TypedDict).
    """

    name: str
    rule: str
    check: Callable[[Any], Any]
    required: bool
    default: Callable[[], Any] | None = None
    alias: str = ""
    code: tuple[Callable[..., Any], ...] = ()

    def fitted(self, value: Any) -> Any:
        """What validation makes of a value. Raises `Misfit`."""
        try:
            return self.check(value)
        except Misfit:
            raise
        except Exception as error:  # of a validator of the user's, or of a value with surprises
            pass_on(error)
            raise Misfit(said(error)) from error


@dataclass(frozen=True, slots=True, eq=False)
class ClassFields:
    """A class and its fields; ``make`` gives an instance with these values, running what the class runs over several
    fields but no check of a single one, ``held`` the fields of an instance. ``is_open``: other names are allowed;
    ``validates``: an instance holds what was made of its fields when it was made."""

    cls: Any
    fields: Mapping[str, Field]
    make: Callable[[dict[str, Any]], Any]
    held: Callable[[Any], dict[str, Any]]
    is_open: bool = False
    validates: bool = False

    @property
    def name(self) -> str:
        return name_of(self.cls)


def same_rule(field: Field, other: Field) -> bool:
    """Whether what fits the one fits the other, and is the same then."""
    return field is other or (field.rule == other.rule and _code_of(field) == _code_of(other))


def _code_of(field: Field) -> list[Any]:
    """The same for a class that was defined again, as by a notebook's cell."""
    return [getattr(function, "__code__", function) for function in field.code]


def name_of(cls: Any) -> str:
    """What a class is called in messages."""
    return str(getattr(cls, "__qualname__", None) or cls).rpartition("<locals>.")[2]


def rule_of(hint: Any) -> str:
    """An annotation as text, the same in every process."""
    text = f"{hint.__module__}.{hint.__qualname__}" if type(hint) is type else repr(hint)
    return _ADDRESS.sub("", text).replace("__main__.", "").removeprefix("builtins.")


def said(error: BaseException) -> str:
    """What is wrong, without the values that pydantic shows."""
    tell = getattr(error, "errors", None)
    if callable(tell) and type(error).__module__.startswith("pydantic"):
        found = tell(include_input=False, include_url=False, include_context=False)
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}".removeprefix(": ") for one in found)
    known = isinstance(error, ValueError | TypeError | AssertionError) or type(error).__module__ == "msgspec"
    return str(error) if known and str(error) else f"{type(error).__name__}: {error}"
