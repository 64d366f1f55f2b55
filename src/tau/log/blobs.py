"""The blobs of a run, read for a copy of it: a few at a time, each checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from tau.errors import CorruptCheckpointError
from tau.log.contained import is_possible
from tau.log.encoding import pack_blob, unpack_blob
from tau.log.loading import was_deleted
from tau.log.relocation import Relocation
from tau.stores.contract import Store
from tau.values.stored import Part

_BLOCK: Final = 8 << 20
"""Blobs of about so many bytes are in memory at a time, or a single larger one."""


class Blob(NamedTuple):
    """A blob: its name and size, what it holds, and that as it is stored."""

    part: Part
    content: bytes
    stored: bytes

    def moved(self, relocation: Relocation) -> tuple[bytes, bytes]:
        """Its name and what is stored under it, once the references to artifacts in it are replaced."""
        name, content = relocation.blob(self.part, self.content)
        return name, self.stored if name == self.part.digest else pack_blob(content)


def read_blobs(store: Store, run_id: str, parts: Sequence[Part]) -> Iterator[Blob]:
    """The blobs of those names, in that order. Raises `CorruptCheckpointError` for one that is missing or damaged,
    `CheckpointNotFoundError` where the run was deleted meanwhile, `StoreError`."""
    start = 0
    while start < len(parts):
        end, size = start, 0
        while end < len(parts) and (end == start or size + parts[end].size <= _BLOCK):
            size, end = size + parts[end].size, end + 1
        block, start = parts[start:end], end
        held = store.blobs(run_id, [part.digest for part in block])
        yield from (_blob(store, run_id, part, held) for part in block)


def _blob(store: Store, run_id: str, part: Part, held: Mapping[bytes, bytes]) -> Blob:
    stored = held.get(part.digest)
    if stored is None or not is_possible(part):
        raise was_deleted(store, run_id) or CorruptCheckpointError(
            f"blob {part.digest.hex()} of run {run_id!r} is missing; restore the store from a copy, or fork the run at "
            "an entry that does not need it",
            run_id=run_id,
            what=f"blob {part.digest.hex()}",
        )
    return Blob(part, unpack_blob(run_id, part.digest, part.size, stored), stored)
