"""What a state holds, for people and for JSON: names, types and sizes, and values only where asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from tau.cli.output import screen
from tau.cli.output.frames import Frame, without_tau
from tau.errors import ArtifactError, CorruptCheckpointError, TauError, UnsupportedFormatError
from tau.html import name_of
from tau.log.records import Failure
from tau.redaction import without_secrets
from tau.stores.artifact_content import check
from tau.values.stored import StoredValue
from tau.values.types.artifact import Artifact

SHOWN = 200
"""How many characters of a value a line shows; JSON has all of them."""


class Key(Struct, frozen=True):
    """One key of a state. ``problem`` says why its value cannot be shown, where it cannot."""

    name: str
    type: str
    size: int | None
    value: Any = None
    problem: str = ""


def keys_of(values: Mapping[str, Any]) -> Iterator[Key]:
    """What a state holds, in its own order; ``values`` may hold cells."""
    for name, value in values.items():
        size = value.size if isinstance(value, StoredValue) else None
        try:
            opened = value.open()[0] if isinstance(value, StoredValue) else value
        except UnsupportedFormatError as error:
            yield Key(name, "not known here", size, problem=str(error))
        except (CorruptCheckpointError, TauError) as error:
            yield Key(name, "damaged", size, problem=str(error))
        else:
            yield Key(name, type_name(opened), size, opened)


def show_keys(keys: list[Key], with_values: bool, shown: int = SHOWN) -> None:
    """The keys as a table on stdout, of their values so many characters."""
    heads = ["key", "type", "size", *(["value"] if with_values else [])]
    rows = []
    for key in keys:
        row = [key.name, key.type, "" if key.size is None else screen.size(key.size)]
        rows.append([*row, _short(key, shown)] if with_values else row)
    screen.table(heads, rows)


def documents(keys: list[Key], with_values: bool) -> list[dict[str, Any]]:
    """The keys for JSON. What JSON cannot hold exactly is given by its ``repr``."""
    found = []
    for key in keys:
        entry: dict[str, Any] = {"name": key.name, "type": key.type, "size_bytes": key.size}
        if key.problem:
            entry["problem"] = key.problem
        elif with_values:
            value = without_secrets(key.name, key.value)
            entry.update({"value": value} if is_json(value) else {"repr": safe_repr(value)})
        found.append(entry)
    return found


def artifacts(keys: list[Key]) -> list[dict[str, Any]]:
    """The files that belong to a state, for JSON; ``problem`` says what is wrong where one is missing or altered."""
    found = []
    for key in keys:
        one = key.value
        if isinstance(one, Artifact):
            entry = {
                "key": key.name, "name": one.name, "path": str(one.path), "size_bytes": one.size_bytes,
                "sha256": one.digest, "directory": one.directory, "node": one.node, "visit": one.visit,
            }  # fmt: skip
            found.append({**entry, "problem": _wrong_with(one)})
    return found


def _wrong_with(artifact: Artifact) -> str | None:
    try:
        check(artifact)
    except ArtifactError as error:
        return str(error)
    return None


def frames_of(found: Failure) -> list[Frame]:
    """Where a stored error was raised, without the frames of tau, unless nothing else tells of a place."""
    return without_tau(found.frames, tells_more=found.cause is not None or bool(found.errors))


def failure(found: Failure | None) -> dict[str, Any]:
    """A stored error, for JSON."""
    if found is None:
        return {}
    frames = [{"file": file, "line": number, "function": name} for file, number, name in frames_of(found)]
    inside = {"notes": [*found.notes], "cause": failure(found.cause) or None, "errors": [*map(failure, found.errors)]}
    return {"type": found.type, "message": found.text, "frames": frames, **inside}


def type_name(value: Any) -> str:
    return name_of(type(value))


def is_json(value: Any, depth: int = 50) -> bool:
    """Whether JSON holds exactly this value."""
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return True
    if kind is int:
        return bool(abs(value) < 1 << 4096)  # Python refuses to write longer ones in decimal
    if kind is float:
        return bool(abs(value) < float("inf"))
    if depth == 0:
        return False
    if kind is list:
        return all(is_json(one, depth - 1) for one in value)
    return kind is dict and all(type(key) is str and is_json(one, depth - 1) for key, one in value.items())


def safe_repr(value: Any) -> str:
    """``repr``, whatever it raises."""
    try:
        return repr(value)
    except Exception as error:
        return f"<{type_name(value)} that cannot be shown: {type(error).__name__}>"


def _short(key: Key, shown: int) -> str:
    text = key.problem or safe_repr(without_secrets(key.name, key.value))
    return text if len(text) <= shown else f"{text[:shown]}... ({len(text)} characters)"
