"""How an `Artifact` is stored: as the reference that it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tau.values import tags
from tau.values.registry import Kind
from tau.values.types.artifact import Artifact

_FIELDS = ("name", "path", "size_bytes", "digest", "directory", "modified", "run_id", "node", "visit")
_TYPES = (str, str, int, bytes, bool, int, str, str, int)


def pack_reference(value: Artifact) -> list[Any]:
    """The body of its encoding."""
    body = [getattr(value, name) for name in _FIELDS]
    body[1], body[3] = str(value.path), bytes.fromhex(value.digest)
    return body


def unpack_reference(body: Any) -> Artifact:
    """The reference with that body. Raises ``ValueError`` for what is none."""
    if type(body) is not list or tuple(map(type, body)) != _TYPES:
        raise ValueError("an artifact needs its name, path, size, digest, kind, time, and what made it")
    fields = dict(zip(_FIELDS, body, strict=True))
    return Artifact(**{**fields, "path": Path(body[1]), "digest": body[3].hex()})


KINDS = (Kind(tag=tags.ARTIFACT, types=(Artifact,), pack=pack_reference, unpack=unpack_reference),)
