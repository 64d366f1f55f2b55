"""The input of a run with a schema, the instance that a node is given instead of the state, and what it leaves in it.

Values that are read through the instance are those of the visit: what is changed inside them counts, as in a `State`.
An attribute that is assigned counts only where the node returns it; elsewhere it would be lost, so that is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from msgspec import Struct, field

from tau.errors import SchemaError
from tau.node.current import RunNode
from tau.schema.classes import is_schema_class
from tau.schema.fields import same_rule
from tau.schema.schema import Schema, known_of
from tau.state import State, raw
from tau.state_changes import Fitted
from tau.values import Refused, encode, is_atom


class Given(Struct, eq=False):
    """An instance, its ``fields`` as it was made, the encodings of those that are not the state's own, the names of
    those that the state does not have, and what else it has."""

    instance: Any
    fields: dict[str, Any]
    apart: dict[str, bytes] = field(default_factory=dict)
    defaults: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()


def fitted_input(schema: Schema, given: Any) -> Any:
    """The input of a run as validation makes it, from a mapping, a `State` or an instance; anything else as it is.
    Raises `SchemaError` for what does not fit or is missing."""
    values = _changes(schema, given)
    if values is not None and not isinstance(values, Mapping):
        return given
    state = values if isinstance(values, State) else State(values)
    made = schema.checked(state, whole=True)
    done = values.done if isinstance(values, Fitted) else ()
    made.update((name, state[name]) for name in done if name in made)
    return State(made, run_id=state.run_id) if isinstance(values, State) else made


def give(effect: RunNode) -> Any:
    """What the node is called with. Raises `SchemaError` where the state does not make an instance."""
    reader, state = effect.node.reader, effect.state
    assert reader is not None
    instance, own = reader.read(raw(state), state.__getitem__, effect.node.name)
    fields = reader.known.held(instance)
    defaults = frozenset(fields.keys() - raw(state).keys())
    given = effect.given = Given(instance, fields, {}, defaults, _others(instance, fields))
    for name, value in fields.items():
        if not (name in own and own[name] is value) and not is_atom(value):
            encoding = _encoding(value)
            if encoding is not None:
                given.apart[name] = encoding
    return instance


def settle(effect: RunNode, result: Any) -> Any:
    """What a node returned, as changes, with what it changed inside of a default. Raises `SchemaError` for what it
    changed in the instance and would be lost."""
    node, given = effect.node, effect.given
    assert node.schema is not None
    if given is None or node.reader is None:
        return _changes(node.schema, result)
    before, now = given.fields, node.reader.known.held(given.instance)
    changed = {name for name in {*now, *before} if now.get(name, given) is not before.get(name, given)}
    changed |= {name for name, was in given.apart.items() if name not in changed and _encoding(before[name]) != was}
    if result is given.instance:
        made: Any = {name: now[name] for name in now if name in changed}
    else:
        made = _changes(node.schema, result)
        inside = {name: now[name] for name in changed & given.defaults if now.get(name) is before.get(name)}
        if inside and (made is None or (isinstance(made, Mapping) and not isinstance(made, State))):
            made = {**inside, **(made or {})}
    changed |= _others(given.instance, before) - given.others
    lost = sorted(changed - made.keys() if isinstance(made, Mapping) else changed)
    if lost and (made is None or isinstance(made, Mapping)):
        raise _lost(node.name, node.reader.known.name, lost)
    return made


def _others(instance: Any, fields: Mapping[str, Any]) -> frozenset[str]:
    """The attributes of an instance that are no fields, but for private ones and those that are derived once."""
    names = getattr(instance, "__dict__", {}).keys() - fields.keys()
    kept = [one for one in names if not one.startswith("_")]
    return frozenset(one for one in kept if not isinstance(getattr(type(instance), one, None), cached_property))


def _lost(node: str, name: str, keys: list[str]) -> SchemaError:
    names = ", ".join(map(repr, keys))
    return SchemaError(
        f"node {node!r} changed {names} of the {name} that it was given and did not return it, so the state would stay "
        f"as it is; return the changes, as in {{{keys[0]!r}: ...}}, or the instance",
        node=node,
        keys=tuple(keys),
        problems=tuple(f"{key!r}: changed and not returned" for key in keys),
    )


def _changes(schema: Schema, result: Any) -> Any:
    """What an instance of the schema's class, or of a smaller one, sets; anything else as it is."""
    if result is None or isinstance(result, Mapping) or not is_schema_class(type(result)):
        return result
    known = known_of(type(result))
    found = Fitted(known.held(result))
    if known.validates:
        found.done = frozenset(
            name for name, one in known.fields.items() if name in schema.fields and same_rule(one, schema.fields[name])
        )
    return found


def _encoding(value: Any) -> bytes | None:
    try:
        return bytes(encode(value))
    except Refused:
        return None
