"""The values that a record holds, and the blobs in which their encodings lie."""

from __future__ import annotations

from collections.abc import Iterator

from tau.log.digests import SIZE, Digests
from tau.log.records import Admitted, Answer, AnyRecord, CheckpointRecord, Item, Manifest, Pause
from tau.values.encoding import MAX_BYTES
from tau.values.stored import Blobs, Grown, Part, Stored


def values_in(record: AnyRecord) -> Iterator[tuple[str, Stored]]:
    """Each stored value of a record, with the key of the state, or else the name, that it belongs to."""
    if isinstance(record, CheckpointRecord | Answer | Item):
        yield from record.changed.items()
    if isinstance(record, Item | Pause | Answer) and record.value is not None:
        yield record.name, record.value
    manifest = record.manifest if isinstance(record, CheckpointRecord | Admitted) else None
    if manifest is not None:
        yield from values_of(manifest)


def values_of(manifest: Manifest) -> Iterator[tuple[str, Stored]]:
    """Each stored value of a manifest, those of the graphs inside the node in flight included."""
    yield from manifest.values.items()
    for one in manifest.progress.inside:
        yield from one.changed.items()


def parts_of(stored: Stored) -> tuple[Part, ...]:
    """The blobs that a stored value names."""
    if isinstance(stored, Blobs):
        return stored.parts
    return (stored.tail,) if isinstance(stored, Grown) else ()


class NamedBlobs:
    """The blobs that the records of one run name, each once, in the order in which they are first named."""

    def __init__(self) -> None:
        self._seen = Digests()

    def new_in(self, record: AnyRecord) -> list[tuple[str, Part]]:
        """Those that no record before this one named, each with the key that it is for."""
        found = []
        for key, stored in values_in(record):
            for part in parts_of(stored):
                if not is_possible(part):
                    found.append((key, part))
                elif self._seen.number(part.digest) < 0:
                    self._seen.add(part.digest)
                    found.append((key, part))
        return found


def is_possible(part: Part) -> bool:
    """Whether a blob can have that name and size."""
    return len(part.digest) == SIZE and 0 <= part.size <= MAX_BYTES
