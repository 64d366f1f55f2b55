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
    """

    tag: int
    types: tuple[type, ...]
    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]
    raw: bool = False
    atom: bool = False
    trail: Callable[[Any, list[Step]], list[Step]] | None = None
    shows: Callable[[Any, Any], bool] | None = None


def singleton(tag: int, value: Any) -> Kind:
    """The kind of the one value of its type."""

    def unpack(data: bytes) -> Any:
        if data:
            raise ValueError(f"{value!r} has no contents")
        return value

    return Kind(tag=tag, types=(type(value),), pack=lambda _: b"", unpack=unpack, raw=True, atom=True)


def _classes() -> Sequence[Kind]:
    from tau.values.registered_classes import KINDS

    return KINDS


def _builtin() -> Sequence[Kind]:
    from tau.values.types.stdlib import KINDS

    return KINDS


def _collections() -> Sequence[Kind]:
    from tau.values.types.collections import KINDS

    return KINDS


def _times() -> Sequence[Kind]:
    from tau.values.types.times import KINDS

    return KINDS


def _numbers() -> Sequence[Kind]:
    from tau.values.types.numbers import KINDS

    return KINDS


def _paths() -> Sequence[Kind]:
    from tau.values.types.paths import KINDS

    return KINDS


def _network() -> Sequence[Kind]:
    from tau.values.types.network import KINDS

    return KINDS


def _numpy() -> Sequence[Kind]:
    from tau.values.types.numpy import KINDS

    return KINDS


def _pandas() -> Sequence[Kind]:
    from tau.values.types.pandas import KINDS

    return KINDS


def _arrow() -> Sequence[Kind]:
    from tau.values.types.arrow import KINDS

    return KINDS


def _polars() -> Sequence[Kind]:
    from tau.values.types.polars import KINDS

    return KINDS


def _xarray() -> Sequence[Kind]:
    from tau.values.types.xarray import KINDS

    return KINDS


def _cftime() -> Sequence[Kind]:
    from tau.values.types.cftime import KINDS

    return KINDS


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


def _artifacts() -> Sequence[Kind]:
    from tau.values.types.artifact import KINDS

    return KINDS


Family = Callable[[], Sequence[Kind]]

# By the first part of the module name of the value's own type.
_FAMILY_OF_MODULE: Mapping[str, Family] = {
    "builtins": _builtin,
    "array": _builtin,
    "re": _builtin,
    "types": _builtin,
    "msgspec": _builtin,
    "collections": _collections,
    "datetime": _times,
    "zoneinfo": _times,
    "decimal": _numbers,
    "fractions": _numbers,
    "uuid": _numbers,
    "pathlib": _paths,
    "ipaddress": _network,
    "tau": _artifacts,
    "numpy": _numpy,
    "pandas": _pandas,
    "polars": _polars,
    "pyarrow": _arrow,
    "xarray": _xarray,
    "cftime": _cftime,
}

# By tag. Up to 95 arrays and tables.
_FAMILY_OF_TAG: Mapping[int, Family] = {
    **dict.fromkeys(range(1, 17), _builtin),
    **dict.fromkeys(range(17, 23), _collections),
    **dict.fromkeys(range(23, 29), _times),
    **dict.fromkeys(range(29, 33), _numbers),
    **dict.fromkeys(range(33, 35), _paths),
    **dict.fromkeys(range(35, 37), _network),
    40: _classes,
    41: _artifacts,
    **dict.fromkeys(range(48, 54), _numpy),
    **dict.fromkeys(range(56, 66), _pandas),
    **dict.fromkeys(range(72, 78), _arrow),
    **dict.fromkeys(range(80, 82), _polars),
    **dict.fromkeys(range(84, 88), _xarray),
    88: _cftime,
    89: _xarray,
}

BY_TYPE: dict[type, Kind] = {}
BY_TAG: dict[int, Kind] = {}
ATOMS: set[type] = set(LEAVES)
_LOADED: set[Family] = set()
_NOT_ATOMS = frozenset({list, dict, tuple, set, frozenset, bytearray})


def is_atom(value: object) -> bool:
    """Whether a value may be shared without copying it: immutable, and of an exact type that is stored as it is.

    Tuples and frozensets are not atoms, as they may hold mutable values.
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


def _load(family: Family) -> None:
    for kind in family():
        add(kind)
    _LOADED.add(family)
