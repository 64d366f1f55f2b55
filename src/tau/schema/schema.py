"""`Schema`: what the state of a graph must be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from tau.errors import GraphError, SchemaError
from tau.schema.classes import fields_of
from tau.schema.fields import ClassFields, Field, Misfit, name_of, said, same_rule
from tau.signals import pass_on
from tau.spelling import did_you_mean
from tau.values.equality import equal
from tau.values.types.artifact import Artifact


class Schema:
    """A class that says which names a state may hold, and what fits under each. Raises `ConfigError` for another."""

    __slots__ = ("known",)

    def __init__(self, cls: Any) -> None:
        self.known = known_of(cls)

    def __reduce__(self) -> tuple[Any, ...]:
        return Schema, (self.known.cls,)

    @property
    def name(self) -> str:
        return self.known.name

    @property
    def fields(self) -> Mapping[str, Field]:
        return self.known.fields

    def checked(self, values: Mapping[str, Any], who: str = "the input does", *, whole: bool = False) -> dict[str, Any]:
        """All of these values as validation makes them; with ``whole`` there must be one for each field that is
        required. Raises `SchemaError` with all that is wrong."""
        found: dict[str, Any] = {}
        wrong: list[tuple[str, Misfit]] = []
        for key, value in values.items():
            try:
                found[key] = self.fitted(key, value)
            except Misfit as error:
                wrong.append((key, error))
        wrong += [(name, Misfit("it is missing")) for name in (self.missing(values) if whole else ())]
        if wrong:
            raise self.error(wrong, None, who)
        return found

    def missing(self, keys: Collection[str]) -> list[str]:
        """The required fields for which there is no value."""
        return [name for name, field in self.fields.items() if field.required and name not in keys]

    def misfits(
        self, values: Mapping[str, Any], fields: Collection[str], given: Collection[str] = (), *, whole: bool = True
    ) -> dict[str, str]:
        """What does not fit in a stored state, by key; of values only those of ``fields`` are looked at, and those of
        ``given``, which may be what validation made of something else. ``whole``: all names are looked at.

        Validation must leave a value as it is: what is stored is not converted.
        """
        wrong = dict.fromkeys(self.missing(values), "it is missing") if whole else {}
        for key in values if whole else given:
            if key in self.fields and key not in fields and key not in given:
                continue
            value = values[key]
            try:
                made = self.fitted(key, value)
                if key not in given or type(made) is not type(value):
                    _unchanged(made, value)
            except Misfit as error:
                wrong[key] = str(error)
        return wrong

    def fitted(self, key: str, value: Any) -> Any:
        """What validation makes of one value. Raises `Misfit`."""
        field = self.fields.get(key)
        if field is not None:
            return field.fitted(value)
        if self.known.is_open or type(value) is Artifact:  # its name is that of a file
            return value
        raise Misfit(self._unknown(key))

    def _unknown(self, key: str) -> str:
        meant = next((name for name, field in self.fields.items() if field.alias == key), None)
        near = f"; it is the alias of {meant!r}, and the state has the names of fields" if meant is not None else ""
        return f"{self.name} has no such field{near or did_you_mean(key, self.fields)}"

    def error(self, wrong: Sequence[tuple[str, Misfit]], node: str | None, who: str = "") -> SchemaError:
        """The error that says what does not fit, of what a node set, or of ``who``."""
        problems = tuple(f"{key!r}: {why}" for key, why in wrong)
        who = who or f"what node {node!r} set does"
        error = SchemaError(
            f"{who} not fit the schema {self.name}: {'; '.join(problems)}",
            node=node,
            keys=tuple(key for key, _ in wrong),
            problems=problems,
        )
        error.__cause__ = next((one.__cause__ for _, one in wrong if one.__cause__ is not None), None)
        return error


@lru_cache(maxsize=256)
def _known_of(cls: Any) -> ClassFields:
    return fields_of(cls)


def known_of(cls: Any) -> ClassFields:
    """The fields of a class. Raises `ConfigError` for one that cannot say what a state holds."""
    try:
        return _known_of(cls)
    except TypeError:  # no class, and nothing that can be hashed
        return fields_of(cls)


class Reader:
    """Makes instances of the schema's class, or of one with some of its fields, from a state.

    Raises `GraphError` for a class with other fields.
    """

    __slots__ = ("checked", "known", "schema")

    def __init__(self, schema: Schema, cls: Any) -> None:
        self.schema = schema
        self.known = known_of(cls)
        others = [name for name in self.known.fields if name not in schema.fields]
        if others:
            near = "".join(did_you_mean(name, schema.fields) for name in others[:1])
            raise GraphError(
                f"its state is annotated {self.known.name}, whose field{'s' * (len(others) > 1)} "
                f"{', '.join(map(repr, others))} the schema {schema.name} does not have{near}"
            )
        self.checked = frozenset(  # those of another rule than the one by which they came into the state
            name for name, field in self.known.fields.items() if not same_rule(field, schema.fields[name])
        )

    def instance(self, state: Mapping[str, Any]) -> Any:
        """An instance from a state. Raises `SchemaError`."""
        return self.read(state.keys(), state.__getitem__, None)[0]

    def read(
        self, has: Collection[str], value_of: Callable[[str], Any], node: str | None
    ) -> tuple[Any, dict[str, Any]]:
        """An instance, and those of the values with which it was made that are the state's own objects. Raises
        `SchemaError`."""
        values: dict[str, Any] = {}
        own: dict[str, Any] = {}
        wrong: list[tuple[str, str]] = []
        for name, field in self.known.fields.items():
            default = self.schema.fields[name].default
            if name in has:
                value = value_of(name)
            elif field.required and default is not None:
                value = default()
            else:
                if field.required:
                    wrong.append((name, "the state does not have it"))
                continue
            try:
                made = values[name] = _kept(field.fitted(value), value) if name in self.checked else value
                if made is value and name in has:
                    own[name] = value
            except Misfit as error:
                wrong.append((name, str(error)))
        if wrong:
            raise self._error(wrong, node, "which does not fit")
        try:
            return self.known.make(values), own
        except Exception as error:  # a rule over several fields
            pass_on(error)
            raise self._error([("", said(error))], node, "whose rules do not hold") from error

    def _error(self, wrong: list[tuple[str, str]], node: str | None, what: str) -> SchemaError:
        who = "the state cannot be read" if node is None else f"node {node!r} cannot read the state"
        problems = tuple(f"{key!r}: {why}" if key else why for key, why in wrong)
        return SchemaError(
            f"{who} as {self.known.name}, {what}: {'; '.join(problems)}",
            node=node,
            keys=tuple(key for key, _ in wrong if key),
            problems=problems,
        )


def _kept(made: Any, value: Any) -> Any:
    """The value itself where validation made an equal one, so that what is changed in it is noticed."""
    return value if type(made) is type(value) and equal(made, value) else made


def _unchanged(made: Any, value: Any) -> None:
    if made is not value and not equal(made, value):
        raise Misfit(f"{_kind(value)} is stored, of which the schema makes {_kind(made)}")


def _kind(value: Any) -> str:
    return name_of(type(value))
