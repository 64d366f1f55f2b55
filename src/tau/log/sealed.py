"""A record as a journal holds it: sealed, with the summary as of it and what is needed to write it."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from tau.stores.contract import Summary
from tau.values.stored import StoredValue


class Sealed(Struct, gc=False):
    """A sealed record: the summary as of it, the cells it sets and what is stored for them, its node where it is a
    checkpoint (``inside`` another node: the path)."""

    data: bytes
    summary: Summary
    cells: Sequence[StoredValue] = ()
    blobs: tuple[tuple[bytes, bytes], ...] = ()
    checkpoint: str = ""
    inside: bool = False


def nothing(position: int, base: int) -> Sealed:
    """What stands for the record at that position where it is not known."""
    return Sealed(b"", Summary(run_id="", graph="", status="", position=position, base=base))
