"""Cells: how a value rests in a run, between being set by one node and read by another.

A cell is an exact immutable scalar (shared as it is), or the encoding of a value, or the names of the blobs that hold
that encoding, not fetched yet. Reading decodes, so every visit works on a copy of its own; a value is encoded when it
was set or may have been changed in place, and never otherwise. A longer encoding whose beginning is unchanged, as an
appended list has, is stored as the added part only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, Final

from msgspec import Struct

from tau.errors import CorruptCheckpointError
from tau.late_imports import load_module
from tau.values import MAX_BYTES, Refused, decode, encode, is_atom, is_view_of
from tau.values.refusal import error_of
from tau.values.registry import ATOMS
from tau.values.types.artifact import Artifact

INLINE: Final = 512
"""Encodings of up to this many bytes lie inside the record itself, and every artifact."""

MAX_PARTS: Final = 512
"""A value of more parts has its small ones merged."""

MERGED: Final = 1 << 20
"""Parts of this many bytes are not merged again."""


MAX_HEADER: Final = 5
"""The longest header of a MessagePack list, map, text or binary."""


class _Absent(Enum):
    """An enumeration's member stays itself in a copy."""

    NO_ATOM = "no atom"


NO_ATOM: Final = _Absent.NO_ATOM
"""Stands for "not a shared scalar"."""


class Part(Struct, frozen=True, array_like=True, gc=False):
    """A blob: the digest that names it and the number of bytes it holds."""

    digest: bytes
    size: int


class Inline(Struct, frozen=True, array_like=True, gc=False, tag=0):
    """The encoding itself."""

    data: bytes


class Blobs(Struct, frozen=True, array_like=True, gc=False, tag=1):
    """The encoding is ``head`` and then the joined parts without their first ``skip`` bytes."""

    head: bytes
    skip: int
    parts: tuple[Part, ...]


class Grown(Struct, frozen=True, array_like=True, gc=False, tag=2):
    """The encoding is ``head``, the key's previous encoding without its first ``skip`` bytes, and ``tail``."""

    head: bytes
    skip: int
    tail: Part


Whole = Inline | Blobs
Stored = Inline | Blobs | Grown
Fetch = Callable[[Iterable[Part]], Mapping[bytes, bytes]]


def digest(data: bytes | memoryview) -> bytes:
    """The name of a blob: the first 20 bytes of the SHA-256 of what it holds."""
    load_module("hashlib")
    import hashlib  # only loaded where there is a long value

    return hashlib.sha256(data).digest()[:20]


class StoredValue(Struct, eq=False):
    """One stored value.

    ``whole`` says where its encoding lies, ``change`` how the record that sets it puts it, ``blobs`` what must be
    written for that; both are let go once written. Unlike the other structs here it may be part of a cycle: ``fetch``
    knows a store.
    """

    whole: Whole
    encoded: bytes | None = None
    atom: Any = NO_ATOM
    change: Stored | None = None
    blobs: tuple[tuple[bytes, bytes], ...] = ()
    fetch: Fetch | None = None

    @property
    def size(self) -> int:
        """The length of the encoding in bytes."""
        whole = self.whole
        if type(whole) is Inline:
            return len(whole.data)
        assert type(whole) is Blobs
        return len(whole.head) + sum(part.size for part in whole.parts) - whole.skip

    def data(self) -> bytes:
        """The encoding, fetched where it was not yet."""
        encoded = self.encoded
        if encoded is None:
            atom = self.atom
            if atom is not NO_ATOM and type(self.whole) is not Inline:
                return encode(atom)
            encoded = self.encoded = self._read()  # another thread may let go of it again at once
        return encoded

    def digest(self) -> bytes:
        """The digest of the encoding; known already where that is one blob."""
        whole = self.whole
        if type(whole) is Blobs and not whole.head and not whole.skip and len(whole.parts) == 1:
            return whole.parts[0].digest
        return digest(self.data())

    def open(self) -> tuple[Any, bool]:
        """The value, and whether it can be shared (then it is ``atom`` from now on); else it is a fresh copy."""
        atom = self.atom
        if atom is not NO_ATOM:
            return atom, True
        value = decode(self.data())
        if is_atom(value):
            self.atom = value
            self.encoded = None
            return value, True
        return value, False

    def is_shown_by(self, value: Any) -> bool:
        """Whether the value is an unchangeable view of the encoding that lies here."""
        return self.encoded is not None and is_view_of(value, self.encoded)

    def read_after(self, before: StoredValue) -> None:
        """Fetch only what was added to the value before it, where it has grown from that and that is at hand."""
        whole, old = self.whole, before.whole
        if self.encoded is not None or self.atom is not NO_ATOM or type(whole) is not Blobs or type(old) is not Blobs:
            return
        if before.encoded is None and before.atom is NO_ATOM:
            return
        if whole is old:
            self.encoded = before.data()
            return
        count = len(old.parts)
        if self.fetch is None or not whole.head or whole.parts[:count] != old.parts:
            return
        data = before.data()
        added = Blobs(b"", 0, whole.parts[count:])
        tail = StoredValue(added, fetch=self.fetch)._read() if added.parts else b""
        self.encoded = b"".join((whole.head, memoryview(data)[len(old.head) or whole.skip :], tail))

    def _read(self) -> bytes:
        whole = self.whole
        if type(whole) is Inline:
            return whole.data
        assert type(whole) is Blobs
        assert self.fetch is not None
        _check_promise(whole)
        found = self.fetch(whole.parts)
        for part in whole.parts:
            if len(found.get(part.digest, b"")) != part.size:
                name, how = part.digest.hex(), "of another length" if part.digest in found else "missing"
                text = f"blob {name} is {how}; restore the store from a copy, or start a new run"
                raise CorruptCheckpointError(text, what=f"blob {name}")
        joined = b"".join([found[part.digest] for part in whole.parts])
        return whole.head + joined[whole.skip :] if whole.skip or whole.head else joined


def header_size(data: bytes) -> int:
    """How many bytes of a MessagePack list, map, text or binary are its header; all of them for other kinds."""
    first = data[0]
    if 0x80 <= first <= 0xBF:
        return 1
    return {
        0xC4: 2, 0xC5: 3, 0xC6: 5, 0xD9: 2, 0xDA: 3, 0xDB: 5, 0xDC: 3, 0xDD: 5, 0xDE: 3, 0xDF: 5,
    }.get(first, len(data))  # fmt: skip


def make(
    key: str, value: Any, previous: StoredValue | None, node: str | None, source: str = "the input"
) -> StoredValue | None:
    """The cell of a value that was set or may have changed; ``None`` when it is what ``previous`` holds. Without a
    ``node``, ``source`` says where it comes from.

    Raises `UnserializableError`, or `LimitExceededError` for a value that is too deep or too large.
    """
    if previous is not None:
        atom = previous.atom
        if value is atom or (atom is NO_ATOM and previous.is_shown_by(value)):
            return None
    try:
        data = encode(value)
    except Refused as refused:
        raise _refusal(key, node, refused, source) from None
    if len(data) <= INLINE or type(value) is Artifact:
        inline = Inline(data)
        if previous is not None and previous.whole == inline:
            return None
        return StoredValue(inline, data, value if type(value) in ATOMS or is_atom(value) else NO_ATOM, inline)
    if previous is not None and previous.size == len(data) and previous.data() == data:
        return None
    whole, change, blobs = _place(data, previous)
    if is_atom(value):
        return StoredValue(whole, None, value, change, blobs)
    return StoredValue(whole, data, NO_ATOM, change, blobs)


def alone(data: bytes, atom: Any = NO_ATOM) -> StoredValue:
    """The cell of an encoding that builds on no other."""
    if len(data) <= INLINE:
        inline = Inline(data)
        return StoredValue(inline, data, atom, inline)
    part = Part(digest(data), len(data))
    blobs = Blobs(b"", 0, (part,))
    return StoredValue(blobs, data, atom, blobs, ((part.digest, data),))


def following(data: bytes, atom: Any, before: StoredValue) -> StoredValue:
    """The cell of an encoding that comes after another one, from which it may have grown; where both are equal, its
    ``whole`` is that one's."""
    if len(data) <= INLINE:
        return alone(data, atom)
    if before.size == len(data) and before.data() == data:
        return StoredValue(before.whole, data, atom, before.whole)
    whole, change, blobs = _place(data, before)
    return StoredValue(whole, data, atom, change, blobs)


def apply(stored: Stored, previous: StoredValue | None, fetch: Fetch) -> StoredValue:
    """The cell that a record describes, given the key's previous one."""
    if not isinstance(stored, Grown):
        return StoredValue(stored, fetch=fetch)
    if previous is None or type(previous.whole) is not Blobs:
        raise CorruptCheckpointError("a value is said to have grown from one that is not there")
    return StoredValue(_grown(previous.whole, stored), fetch=fetch)


def _place(data: bytes, previous: StoredValue | None) -> tuple[Blobs, Stored, tuple[tuple[bytes, bytes], ...]]:
    """Where an encoding too long for the record goes: its own blob, or only what was added to the previous one."""
    if previous is not None and type(previous.whole) is Blobs and previous.size < len(data):
        old = previous.data()
        skip, head = header_size(old), header_size(data)
        kept = len(old) - skip
        if kept > 0 and data.startswith(memoryview(old)[skip:], head):
            tail = data[head + kept :]
            part = Part(digest(tail), len(tail))
            grown = Grown(data[:head], skip, part)
            whole = _grown(previous.whole, grown)
            if len(whole.parts) <= MAX_PARTS:
                return whole, grown, ((part.digest, tail),)
            return _merge(whole, data)
    part = Part(digest(data), len(data))
    alone = Blobs(b"", 0, (part,))
    return alone, alone, ((part.digest, data),)


def _check_promise(whole: Blobs) -> None:
    """What a record says of a value must be what `encode` gives, before anything of it is fetched."""
    promised = sum(part.size for part in whole.parts)
    sound = whole.skip >= 0 and all(part.size >= 0 for part in whole.parts) and promised > whole.skip
    if not sound or promised - whole.skip + len(whole.head) > MAX_BYTES or whole.skip > MAX_HEADER:
        what = f"a record says that a value takes {promised - whole.skip + len(whole.head):,} bytes"
        raise CorruptCheckpointError(f"{what}, which no value does; restore the store from a copy", what=what)


def _grown(old: Blobs, grown: Grown) -> Blobs:
    if old.head:
        if len(old.head) != grown.skip:
            raise CorruptCheckpointError("a value is said to have grown from one with another header")
        return Blobs(grown.head, old.skip, (*old.parts, grown.tail))
    return Blobs(grown.head, grown.skip, (*old.parts, grown.tail))


def _merge(whole: Blobs, data: bytes) -> tuple[Blobs, Stored, tuple[tuple[bytes, bytes], ...]]:
    """Write the run of small parts at the end as one, so that their number stays bounded at a bounded extra cost."""
    keep = next((i for i in range(len(whole.parts), 0, -1) if whole.parts[i - 1].size >= MERGED), 0)
    if keep > MAX_PARTS // 2:
        keep = 0
    start = len(whole.head) - whole.skip + sum(part.size for part in whole.parts[:keep]) if keep else 0
    blob = data[start:]
    part = Part(digest(blob), len(blob))
    merged = Blobs(whole.head, whole.skip, (*whole.parts[:keep], part)) if keep else Blobs(b"", 0, (part,))
    return merged, merged, ((part.digest, blob),)


def _refusal(key: str, node: str | None, refused: Refused, source: str) -> Exception:
    path = f"state[{key!r}]{refused.path}"
    set_by = f"{path} in {source} is" if node is None else f"node {node!r} set {path},"
    return error_of(refused, set_by, path, key=key, node=node)
