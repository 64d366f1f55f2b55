"""The closed table of kinds: which types are stored exactly, under which number, and how.

A kind turns a value into a *body* of simpler values and back; bodies are stored by the same encoding, so that kinds
nest. Kinds live in families, one file each. A family is loaded when a value of its types is first seen, or its number
first read: the two tables below are the only roads to one, and neither holds a name that came out of a store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from tau.errors import UnsupportedFormatError
from tau.late_imports import load_module
from tau.values.plain import LEAVES, PLAIN
from tau.values.refusal import Step


class Kind(Struct, frozen=True, kw_only=True):
    """How the values of some types are stored, under the number ``tag`` (1 to 127).

    ``pack`` gives the body of a value: ``bytes`` stored as they are if ``raw``, else a value to be encoded. It may
    raise ``tau.values.refusal.refuse(value, reason)``. ``unpack`` is its inverse; it must check what it is given, may
    raise anything for a bad body, and must not import, open or run anything. ``atom`` marks immutable values that may
    be shared. ``trail`` turns the steps of a path inside the body into steps inside the value.

    With ``shows``, values are views: ``unpack`` is given a memoryview of the raw body as it lies in the encoding, and
    its value may show those bytes but never change them; ``shows(one, two)`` tells whether two values show the same
    bytes in the same way.

    ``pack_many(values, ordinary)`` gives the encodings of some values of one of the types, one after the other as in a
    list, if it has a quicker way for them, and ``unpack_many(data, count, decode)`` so many values of such; else they
    give ``None``. ``ordinary(number)`` encodes a single one of the values, ``decode`` reads a value inside one.
    """

    tag: int
    types: tuple[type, ...]
    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]
    raw: bool = False
    atom: bool = False
    trail: Callable[[Any, list[Step]], list[Step]] | None = None
    shows: Callable[[Any, Any], bool] | None = None
    pack_many: Callable[[Sequence[Any], Callable[[int], bytes]], bytes | None] | None = None
    unpack_many: Callable[[memoryview, int, Callable[[Any], Any]], list[Any] | None] | None = None


def singleton(tag: int, value: Any) -> Kind:
    """The kind of the one value of its type."""

    def unpack(data: bytes) -> Any:
        if data:
            raise ValueError(f"{value!r} has no contents")
        return value

    return Kind(tag=tag, types=(type(value),), pack=lambda _: b"", unpack=unpack, raw=True, atom=True)


# Where the package that a value belongs to comes from.
_EXTRAS: Mapping[str, str] = {
    "numpy": "science",
    "pandas": "science",
    "pyarrow": "science",
    "polars": "polars",
    "xarray": "xarray",
}


def missing(error: ImportError) -> tuple[str, str]:
    """The package that could not be imported, and what to do."""
    package = (error.name or "a package").partition(".")[0]
    extra = _EXTRAS.get(package)
    remedy = f"pip install 'tau-orchestrate[{extra}]'" if extra else f"install {package}"
    return package, f"the package {package} cannot be imported here ({error}); {remedy}"


# Every family, by the name of its file.
FAMILIES: Mapping[str, str] = {
    "registered_classes": "tau.values.registered_classes",
    **{
        name: f"tau.values.types.{name}"
        for name in (
            "stdlib", "collections", "times", "frozen_times", "numbers", "paths", "network", "references",
            "numpy", "pandas", "arrow", "polars", "xarray", "cftime",
        )
    },
}  # fmt: skip

# By the first part of the name of the module that a value's own type comes from.
_FAMILY_OF_MODULE: Mapping[str, str] = {
    **dict.fromkeys(("builtins", "array", "re", "types", "msgspec"), "stdlib"),
    "collections": "collections",
    **dict.fromkeys(("datetime", "zoneinfo"), "times"),
    "freezegun": "frozen_times",
    **dict.fromkeys(("decimal", "fractions", "uuid"), "numbers"),
    "pathlib": "paths",
    "ipaddress": "network",
    "tau": "references",
    "numpy": "numpy",
    "pandas": "pandas",
    "polars": "polars",
    "pyarrow": "arrow",
    "xarray": "xarray",
    "cftime": "cftime",
}

# By tag. Up to 95 arrays and tables.
_FAMILY_OF_TAG: Mapping[int, str] = {
    **dict.fromkeys(range(1, 17), "stdlib"),
    **dict.fromkeys(range(17, 23), "collections"),
    **dict.fromkeys(range(23, 29), "times"),
    **dict.fromkeys(range(29, 33), "numbers"),
    **dict.fromkeys(range(33, 35), "paths"),
    **dict.fromkeys(range(35, 37), "network"),
    40: "registered_classes",
    41: "references",
    **dict.fromkeys(range(48, 54), "numpy"),
    **dict.fromkeys(range(56, 66), "pandas"),
    **dict.fromkeys(range(72, 78), "arrow"),
    **dict.fromkeys(range(80, 82), "polars"),
    **dict.fromkeys((*range(84, 88), 89), "xarray"),
    88: "cftime",
}

BY_TYPE: dict[type, Kind] = {}
BY_TAG: dict[int, Kind] = {}
ATOMS: set[type] = set(LEAVES)
_LOADED: set[str] = set()
_NOT_ATOMS = frozenset({list, dict, tuple, set, frozenset, bytearray})


def is_atom(value: object) -> bool:
    """Whether a value may be shared without copying it: immutable, and of an exact type that is stored as it is.

    Tuples and frozensets are not atoms, as they may hold mutable values. Raises nothing.
    """
    cls = type(value)
    if cls in ATOMS:
        return True
    if cls in _NOT_ATOMS or cls in BY_TYPE:
        return False
    return kind_of(cls) is not None and cls in ATOMS


def kind_of(cls: type) -> Kind | None:
    """The kind that stores instances of exactly this type; ``None`` if there is none."""
    kind = BY_TYPE.get(cls)
    if kind is None and cls not in PLAIN:
        module = cls.__module__
        family = _FAMILY_OF_MODULE.get(module.partition(".")[0]) if type(module) is str else None
        if family is not None and family not in _LOADED:
            _load(family)
            kind = BY_TYPE.get(cls)
    return kind


def kind_of_tag(tag: int) -> Kind:
    """The kind stored under a tag. Raises ``UnsupportedFormatError`` for one that this version does not know."""
    kind = BY_TAG.get(tag)
    if kind is None:
        family = _FAMILY_OF_TAG.get(tag)
        if family is not None and family not in _LOADED:
            _load(family)
            kind = BY_TAG.get(tag)
    if kind is None:
        raise UnsupportedFormatError(
            f"a stored value has the type number {tag}, which this version of tau does not know; "
            "read it with the version that wrote it, or a newer one",
            found=tag,
            supported=sorted(_FAMILY_OF_TAG),
        )
    return kind


def add(kind: Kind) -> None:
    """Enter one kind into the tables."""
    BY_TAG.setdefault(kind.tag, kind)
    for cls in kind.types:
        BY_TYPE[cls] = kind
        if kind.atom:
            ATOMS.add(cls)


def _load(family: str) -> None:
    kinds: Sequence[Kind] = load_module(FAMILIES[family]).KINDS
    for kind in kinds:
        add(kind)
    _LOADED.add(family)
