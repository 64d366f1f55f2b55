"""Which class a node wants the state as, by the annotation of its first parameter."""

from __future__ import annotations

import typing
from types import NoneType, UnionType
from typing import Any, Final

from tau.errors import GraphError
from tau.graph.annotations import names_of
from tau.schema.classes import is_schema_class
from tau.schema.schema import Reader, Schema

_STATES: Final = frozenset({"State", "Mapping", "MutableMapping", "Any", "dict", "object"})
"""What a type checker is told of a plain state; the names may be there for it alone."""


def reader_of(first: tuple[Any, Any] | None, schema: Schema) -> Reader | None:
    """What makes instances of the class of this annotation; ``None`` where it means the state itself. ``first`` is the
    annotation, and the function in whose source it stands. Raises `GraphError` for a class that cannot be made."""
    if first is None:
        return None
    found = _meant(*first, schema)
    return Reader(schema, found) if found is not None else None


def _meant(annotation: Any, function: Any, schema: Schema) -> Any:
    annotation = getattr(annotation, "__forward_arg__", annotation)
    if isinstance(annotation, str):
        return _of_text(annotation, function, schema)
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _meant(inside[0], function, schema)
    if origin in (typing.Union, UnionType):
        found = [_meant(one, function, schema) for one in inside if one is not NoneType]
        return next((one for one in found if one is not None), None)
    if type(annotation).__name__ == "TypeAliasType":
        return _meant(annotation.__value__, function, schema)
    return annotation if is_schema_class(annotation) else None


def _of_text(text: str, function: Any, schema: Schema) -> Any:
    def carrier() -> None: ...

    carrier.__annotations__ = {"state": text}
    try:
        found = typing.get_type_hints(carrier, dict(names_of(function)), include_extras=True)["state"]
    except NameError as error:
        missing = str(error.name)
        if missing == schema.known.cls.__name__:
            return schema.known.cls
        if missing in _STATES:
            return None
        raise GraphError(
            f"its first parameter is annotated {text!r}, in which {missing} cannot be found, so that it is impossible "
            "to tell what it takes; import it where the program runs"
        ) from None
    except Exception:  # nothing that a type checker would take
        return None
    return _meant(found, function, schema)
