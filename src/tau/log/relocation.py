"""The references to artifacts in the values of a run, replaced wherever they lie: in records and in blobs."""

from __future__ import annotations

from tau.log.records import Admitted, Answer, AnyRecord, CheckpointRecord, Item, Pause
from tau.values.relocation import Move, relocated
from tau.values.stored import Blobs, Grown, Inline, Part, Stored, digest


class Relocation:
    """For the records of one run, in their order; the blobs that a record is the first to name come before it."""

    def __init__(self, move: Move) -> None:
        self._move = move
        self._renamed: dict[bytes, Part] = {}

    def blob(self, part: Part, content: bytes) -> tuple[bytes, bytes]:
        """The name of a blob and what it holds, once its references are replaced."""
        moved = relocated(content, self._move)
        if moved is content or moved == content:
            return part.digest, content
        self._renamed[part.digest] = found = Part(digest(moved), len(moved))
        return found.digest, moved

    def record(self, record: AnyRecord) -> None:
        """Replace the references in a record itself."""
        if isinstance(record, CheckpointRecord | Answer | Item):
            self._all(record.changed)
        if isinstance(record, Item | Pause | Answer) and record.value is not None:
            record.value = self._stored(record.value)
        manifest = record.manifest if isinstance(record, CheckpointRecord | Admitted) else None
        if manifest is not None:
            self._all(manifest.values)
            for one in manifest.progress.inside:
                self._all(one.changed)

    def _all(self, values: dict[str, Stored]) -> None:
        for key, stored in values.items():
            values[key] = self._stored(stored)

    def _stored(self, stored: Stored) -> Stored:
        renamed = self._renamed
        if isinstance(stored, Inline):
            moved = relocated(stored.data, self._move)
            return stored if moved is stored.data else Inline(moved)
        if isinstance(stored, Grown):
            tail = renamed.get(stored.tail.digest)
            return stored if tail is None else Grown(stored.head, stored.skip, tail)
        if not renamed:
            return stored
        return Blobs(stored.head, stored.skip, tuple(renamed.get(part.digest, part) for part in stored.parts))
