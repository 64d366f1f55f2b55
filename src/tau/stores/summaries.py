"""The summary of a run, what lists and judges runs by it, and summaries as bytes: four bytes of CRC-32, little endian,
then a msgpack map of the fields."""

from __future__ import annotations

from datetime import UTC, datetime
from zlib import crc32

import msgspec
from msgspec import Struct

from tau.errors import CorruptCheckpointError
from tau.late_imports import load_module

FINAL = frozenset({"admitted", "waiting", "interrupted", "failed", "finished", "cancelled", "deleted"})
"""The statuses under which a run has no owner."""

STATUSES = ("admitted", "running", "waiting", "interrupted", "failed", "finished", "cancelled", "dead", "damaged")
"""The statuses by which `Store.runs` can select."""

TAKEN = ("admitted", "interrupted", "waiting", "running")
"""The statuses under which a worker may take a run."""

GONE = "what says where it is, is gone; restore it from a backup"
"""What is wrong with a run of which only the listing is left."""


class Owner(Struct, frozen=True, kw_only=True, gc=False):
    """The owner of a run: a process, distinguished from every other by ``nonce``.

    ``boot`` names one boot of one machine and its pid namespace, or is empty if that is not known. ``started`` is the
    start time of the process in the kernel's ticks, so that a reused pid is not mistaken for the owner, or 0 if that is
    not known. ``lease`` is in seconds. ``shared``: other runs may be under way in that process, so its death may be
    another's fault.
    """

    nonce: str
    host: str
    boot: str
    pid: int
    started: int
    lease: float
    since: float = 0.0
    job: str = ""
    shared: bool = False

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        return f"pid {self.pid} on {self.host}{job}"


class Summary(Struct, frozen=True, kw_only=True, gc=False):
    """One run at a glance, replaced as a whole by every commit. Reading it raises nothing.

    ``node`` is the last finished node and ``iterations`` the number of finished visits (``visits`` in the command and
    its JSON). ``next`` is the node in flight, or that comes next: ``None`` where that is not decided, the run has
    finished, or an older version wrote the summary. ``items`` of that node are finished (steps, items of maps, visits
    inside it), of ``planned`` ones where it works through one list whose end is known.

    ``position`` is the number of the newest record; ``base`` that of the newest full manifest, 0 when nothing is left
    to resume from. ``owner`` is ``None`` unless the run is running or dead. ``created`` and ``updated`` are in Unix
    seconds, ``created_at`` and ``updated_at`` the same as UTC datetimes. ``pauses`` is how many questions wait for
    people, ``deadline`` the earliest time in Unix seconds by which one must be answered.

    ``not_before`` is the time in Unix seconds from which a worker may take the run, once nobody owns it: of a run that
    was admitted, that was interrupted by a walltime or a drain, or whose question was answered or has a deadline. It is
    ``None`` where a run is not to be taken unasked: one that a person stopped or saved, one that has ended, and, but
    for one that is running, where an older version wrote the summary.

    >>> from tau import StateGraph
    >>> graph = StateGraph("one", store="sqlite:///tau.db")
    >>> graph.add_node("work", lambda state: None)
    >>> graph.sequence("work")
    >>> _ = graph.admit({}, run_id="one-1", tags=["night"])
    >>> row = graph.runs()[0]
    >>> row.run_id, row.status, row.node, row.tags, row.may_be_taken(row.updated)
    ('one-1', 'admitted', None, ('night',), True)
    """

    run_id: str
    graph: str
    status: str
    position: int
    base: int
    node: str | None = None
    iterations: int = 0
    tags: tuple[str, ...] = ()
    owner: Owner | None = None
    created: float = 0.0
    updated: float = 0.0
    pauses: int = 0
    deadline: float | None = None
    not_before: float | None = None
    next: str | None = None
    items: int = 0
    planned: int | None = None

    def may_be_taken(self, now: float) -> bool:
        """Whether a worker may take the run at ``now`` if nobody owns it; of a running one the lease has to be judged.
        Raises nothing."""
        if self.base == 0 or self.status not in TAKEN:
            return False
        if self.not_before is None:
            return self.status == "running"
        return self.not_before <= now

    @property
    def updated_at(self) -> datetime:
        return datetime.fromtimestamp(self.updated, UTC)

    @property
    def created_at(self) -> datetime:
        return datetime.fromtimestamp(self.created, UTC)

    def _repr_html_(self) -> str:
        return Rows([self])._repr_html_()


class Rows(list[Summary]):
    """A list of runs that notebooks show as a table."""

    def _repr_html_(self) -> str:
        load_module("tau.html")
        from tau.html import table

        heads = ("run", "graph", "status", "node", "visits", "updated (UTC)", "tags", "owner")
        rows = [
            (row.run_id, row.graph, row.status, row.node or "", row.iterations, f"{row.updated_at:%Y-%m-%d %H:%M:%S}",
             ", ".join(row.tags), row.owner or "")
            for row in self
        ]  # fmt: skip
        return table(f"{len(self)} run{'s' * (len(self) != 1)}", heads, rows, {})


class Lease(Struct, frozen=True):
    """The sign of life of an owner.

    ``expires_in`` is in seconds by the store's own clock, negative when the lease has run out. It is ``None`` if the
    store has no clock that all its users share (files, S3), or if the lease was measured by a different clock: then the
    lease is judged by watching ``counter`` for its whole length.
    """

    nonce: str
    counter: int
    expires_in: float | None


class Query(Struct, frozen=True, kw_only=True):
    """Which runs to list, newest first; ``None`` means any. ``limit`` bounds the number of rows."""

    graph: str | None = None
    status: str | None = None
    tag: str | None = None
    limit: int | None = None


_FIRST, _END = -62_135_596_800.0, 253_402_300_800.0  # seconds of the years that a datetime can tell

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Summary).decode


def pack(summary: Summary) -> bytes:
    body = _encode(summary)
    return crc32(body).to_bytes(4, "little") + body


def unpack(data: bytes, location: str, run_id: str | None = None) -> Summary:
    """The summary in ``data``. `CorruptCheckpointError` where it is damaged, or belongs to another run."""
    try:
        body = memoryview(data)[4:]
        if crc32(body) != int.from_bytes(data[:4], "little"):
            raise ValueError("the checksum does not match")
        summary = possible(_decode(body))
        if run_id is not None and summary.run_id != run_id:
            raise ValueError(f"it belongs to run {summary.run_id!r}")
    except (ValueError, TypeError, msgspec.DecodeError) as error:
        name = "a run" if run_id is None else f"run {run_id!r}"
        raise CorruptCheckpointError(
            f"the summary of {name} in {location} is damaged: {error}; restore the store from a backup",
            run_id=run_id or "",
            what="summary",
        ) from error
    return summary


def possible(summary: Summary) -> Summary:
    """The summary itself. `ValueError` where a time in it is none of the years 1 to 9999, or no number."""
    since = 0.0 if summary.owner is None else summary.owner.since
    for time in (summary.created, summary.updated, since, summary.deadline or 0.0, summary.not_before or 0.0):
        if not _FIRST <= time < _END:
            raise ValueError(f"it has an impossible time ({time})")
    return summary


def unreadable(run_id: str, graph: str = "") -> Summary:
    """What a listing shows of a run whose summary is damaged."""
    return Summary(run_id=run_id, graph=graph, status="damaged", position=0, base=0)


def matches(summary: Summary, query: Query) -> bool:
    """Whether `Store.select` lists this summary."""
    return (
        summary.status != "deleted"
        and query.graph in (None, summary.graph)
        and query.status in (None, summary.status)
        and (query.tag is None or query.tag in summary.tags)
    )
