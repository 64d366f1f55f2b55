"""Registered classes: dataclasses, enums, named tuples, and any class with functions of its own.

A stored instance is a name, a version and its fields. The name is looked up among the classes that the program has
registered; a store can neither name a module nor make anything else run.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar, overload

from msgspec import Struct

from tau.errors import ConfigError, CorruptCheckpointError, TauError, UnsupportedFormatError
from tau.signals import pass_on
from tau.spelling import names_keywords
from tau.values import tags
from tau.values.class_shapes import shape_of
from tau.values.plain import PLAIN
from tau.values.refusal import Refused, Step, refuse
from tau.values.registry import ATOMS, BY_TYPE, Kind, add, kind_of
from tau.values.shape import Shape

T = TypeVar("T")
Upgrade = Callable[[int, Any], Any]

_BUILT_IN = PLAIN | {tuple, set, frozenset, object, type}


class Entry(Struct, frozen=True):
    """One registered class."""

    cls: type
    name: str
    version: int
    shape: Shape
    upgrade: Upgrade | None


_entries: dict[str, Entry] = {}
_lock = Lock()


@overload
def register_type(
    cls: type[T],
    *,
    name: str | None = None,
    version: int = 1,
    encode: Callable[[Any], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
    upgrade: Upgrade | None = None,
) -> type[T]: ...


@overload
def register_type(
    cls: None = None,
    *,
    name: str | None = None,
    version: int = 1,
    encode: Callable[[Any], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
    upgrade: Upgrade | None = None,
) -> Callable[[type[T]], type[T]]: ...


@names_keywords
def register_type(
    cls: type[T] | None = None,
    *,
    name: str | None = None,
    version: int = 1,
    encode: Callable[[Any], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
    upgrade: Upgrade | None = None,
) -> type[T] | Callable[[type[T]], type[T]]:
    """Let instances of exactly this class be stored; returns the class, so it also serves as a decorator.

    Dataclasses, enums, named tuples, attrs classes, msgspec Structs and pydantic models need nothing more: their fields
    (members) are stored, and read back without running ``__init__``, ``__post_init__``, validators or converters. For
    any other class, ``encode`` turns an instance into storable values and ``decode`` turns those into an equal
    instance.

    ``name`` is what is stored, by default ``cls.__qualname__``: keep it when the class is renamed or moved. Raise
    ``version`` when the fields change, and give ``upgrade(old_version, fields)``, which returns the fields of the
    present version: a dict of field names (for a pydantic model one of its ``fields``, ``set``, ``extra`` and
    ``private``), ``{"name": ...}`` for an enum member, ``{"value": ...}`` for a flag, else what ``encode`` gave.
    Reading an unknown name or a newer version is `UnsupportedFormatError`.

    Raises `ConfigError` for a class that cannot be stored this way, and for a name that another class holds. The same
    definition run again (same module and qualified name, as in a notebook cell) replaces the earlier one.

    >>> from dataclasses import dataclass
    >>> from tau import StateGraph, register_type
    >>> @register_type
    ... @dataclass
    ... class Buoy:
    ...     name: str
    ...     depth: float
    >>> graph = StateGraph("buoys", store="sqlite:///tau.db")
    >>> graph.add_node("pick", lambda state: {"buoy": Buoy("B7", 12.5)})
    >>> graph.sequence("pick")
    >>> graph.execute({})["buoy"].depth
    12.5
    """
    if cls is None:
        return lambda decorated: register_type(
            decorated, name=name, version=version, encode=encode, decode=decode, upgrade=upgrade
        )
    _check(cls, name, version)
    entry = Entry(cls, cls.__qualname__ if name is None else name, version, shape_of(cls, encode, decode), upgrade)
    with _lock:
        _replace(_entries.get(entry.name), entry)
        _entries[entry.name] = entry
        add(_kind(entry))
    return cls


def was_redefined(cls: type) -> bool:
    """Whether a later definition of the same class took its place in the registry."""
    return any(_same_definition(entry.cls, cls) for entry in list(_entries.values()))


def _check(cls: Any, name: Any, version: Any) -> None:
    if not isinstance(cls, type):
        raise ConfigError(f"register_type needs a class, not {cls!r}")
    known = kind_of(cls)
    if cls in _BUILT_IN or (known is not None and known.tag != tags.REGISTERED):
        raise ConfigError(f"{cls.__qualname__} needs no registering: its instances are stored as they are")
    if name is not None and (type(name) is not str or not name or not name.isprintable()):
        raise ConfigError(f"the name of a registered class must be printable text, not {name!r}")
    if type(version) is not int or version < 1:
        raise ConfigError(f"the version of a registered class must be a whole number from 1 on, not {version!r}")


def _replace(old: Entry | None, new: Entry) -> None:
    for entry in _entries.values():
        if entry.cls is new.cls and entry.name != new.name:
            raise ConfigError(
                f"{new.cls.__qualname__} is registered as {entry.name!r} already, so it cannot also be {new.name!r}; "
                "stored values would have two names. Register it once"
            )
    if old is None or old.cls is new.cls:
        return
    if not _same_definition(old.cls, new.cls):
        raise ConfigError(
            f"the name {new.name!r} belongs to {old.cls.__module__}.{old.cls.__qualname__} already; "
            f"give {new.cls.__module__}.{new.cls.__qualname__} another one: register_type(..., name=...)"
        )
    BY_TYPE.pop(old.cls, None)
    ATOMS.discard(old.cls)


def _same_definition(one: type, other: type) -> bool:
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def _kind(entry: Entry) -> Kind:
    def pack(value: Any) -> list[Any]:
        try:
            return [entry.name, entry.version, entry.shape.pack(value)]
        except (Refused, RecursionError, MemoryError):
            raise
        except Exception as error:
            pass_on(error)
            raise refuse(value, f"its registered encode raised {type(error).__name__}: {error}") from error

    def trail(_: Any, steps: list[Step]) -> list[Step]:
        inside = steps[1:]
        if entry.shape.fields and inside and inside[0].kind == "item":
            inside[0] = Step("attr", inside[0].value)
        return inside

    return Kind(tag=tags.REGISTERED, types=(entry.cls,), pack=pack, unpack=_unpack, atom=entry.shape.atom, trail=trail)


def _unpack(body: Any) -> Any:
    name, version, fields = body
    if type(name) is not str or type(version) is not int or version < 1:
        raise ValueError("a registered class needs a name and a version")
    entry = _entries.get(name)
    if entry is None:
        raise UnsupportedFormatError(
            f"a stored value is of the class {name!r}, which is not registered here; import the module that "
            f"registers it, or register the class that took its place: register_type(..., name={name!r})",
            found=name,
            supported=sorted(_entries),
        )
    if version > entry.version or (version < entry.version and entry.upgrade is None):
        what = "read it with a newer program" if version > entry.version else "give register_type an upgrade function"
        raise UnsupportedFormatError(
            f"a stored value is {name!r} in version {version}; version {entry.version} is registered here: {what}",
            found=version,
            supported=entry.version,
        )
    try:
        if version < entry.version and entry.upgrade is not None:
            fields = entry.upgrade(version, fields)
        value = entry.shape.unpack(fields)
    except (TauError, RecursionError, MemoryError):
        raise
    except Exception as error:
        pass_on(error)
        what = f"the class registered as {name!r} did not take its stored fields: {type(error).__name__}: {error}"
        raise CorruptCheckpointError(what, what=what) from error
    if type(value) is not entry.cls:
        raise UnsupportedFormatError(f"the decode of {name!r} returned {type(value).__name__}", found=name)
    return value


KINDS = (Kind(tag=tags.REGISTERED, types=(), pack=lambda value: value, unpack=_unpack),)
add(KINDS[0])
