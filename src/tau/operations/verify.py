"""Read everything that a store holds of its runs, and say what is damaged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, Final

from msgspec import Struct

from tau.errors import CorruptCheckpointError, TauError, UnsupportedFormatError
from tau.log.contained import NamedBlobs, is_possible
from tau.log.encoding import unpack_blob, unseal
from tau.log.loading import BlobLoader, not_found
from tau.log.pauses import at_a_glance
from tau.log.records import Admitted, Answer, AnyRecord, CheckpointRecord, Progress
from tau.log.replay import Replay
from tau.log.subgraphs import Subgraphs
from tau.spelling import names_keywords
from tau.state_names import check_run_id
from tau.stores.artifact_content import is_artifact, wrong_with
from tau.stores.contract import Query, Store, Summary
from tau.stores.registry import resolve_store
from tau.stores.summaries import GONE
from tau.stores.user_store import FourVerbs
from tau.values.stored import Part, StoredValue

_BLOCK: Final = 8 << 20
"""Blobs of about so many bytes are in memory at a time, or a single larger one."""

_FEW: Final = 256
_SAME: Final = (
    "graph", "fingerprint", "input_digest", "parent", "tags", "created", "iteration", "node", "next", "updated",
    "visits", "path", "taken", "preserve", "seed",
)  # fmt: skip
"""What a manifest in the middle of a log only repeats of the progress."""


class Damage(Struct, frozen=True, kw_only=True):
    """One thing that is damaged. ``what`` is ``summary``, ``lease``, ``log``, ``record``, ``manifest``, ``blob`` or
    ``artifact``; ``key`` is the key of the state, or the name of the item, that it belongs to, ``position`` the record;
    each empty or ``None`` where it belongs to none. Reading it raises nothing.

    >>> from tau import StateGraph, verify
    >>> graph = StateGraph("one", store="sqlite:///tau.db")
    >>> graph.add_node("work", lambda state: {"n": state["n"] + 1})
    >>> graph.sequence("work")
    >>> for number in range(3):
    ...     _ = graph.execute({"n": number}, run_id=f"one-{number}")
    >>> [(one.run_id, one.what) for one in verify(graph.store).damage]
    []
    """

    run_id: str
    what: str
    problem: str
    key: str = ""
    position: int | None = None


class Verification(Struct, frozen=True, kw_only=True):
    """How much of a store was read, and all that is damaged. ``size_bytes`` is that of records and blobs, as stored.

    Reading it raises nothing.

    >>> from tau import StateGraph, verify
    >>> graph = StateGraph("one", store="sqlite:///tau.db")
    >>> graph.add_node("work", lambda state: {"n": state["n"] + 1})
    >>> graph.sequence("work")
    >>> for number in range(3):
    ...     _ = graph.execute({"n": number}, run_id=f"one-{number}")
    >>> verification = verify(graph.store)
    >>> verification.damage
    ()
    """

    runs: int = 0
    records: int = 0
    blobs: int = 0
    artifacts: int = 0
    size_bytes: int = 0
    damage: tuple[Damage, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged. Reading it raises nothing."""
        return not self.damage


@names_keywords
def verify(store: str | os.PathLike[str] | Store | FourVerbs, run_id: str | None = None) -> Verification:
    """Read everything that a store holds of a run, or of all its runs: summaries, records and their seals, manifests
    against what the records add up to, blobs, and the artifacts that the newest state refers to.

    Nothing is written, and the right to read is enough. Runs may be at work meanwhile. Of each a few records and
    blobs are in memory at a time. What belongs to a run that is deleted meanwhile is left out.

    Raises `CheckpointNotFoundError` for a run that the store does not hold, `StoreError` if the store fails, and what
    `open_store` raises for ``store``. Damage raises nothing: it is in `Verification.damage`.

    >>> from tau import StateGraph, verify
    >>> graph = StateGraph("one", store="sqlite:///tau.db")
    >>> graph.add_node("work", lambda state: {"n": state["n"] + 1})
    >>> graph.sequence("work")
    >>> for number in range(3):
    ...     _ = graph.execute({"n": number}, run_id=f"one-{number}")
    >>> verify("sqlite:///tau.db", "one-1").damage
    ()
    """
    place = resolve_store(store)
    if run_id is not None:
        readers = [_Reader(place, check_run_id(run_id))]
        if not readers[0].read() and not (is_listed_as_damaged(place, run_id) and readers[0].read("damaged")):
            raise not_found(run_id, place)
    else:
        readers = [one for row in place.select(Query()) if (one := _Reader(place, row.run_id)).read(row.status)]
    return Verification(
        runs=len(readers),
        records=sum(one.records for one in readers),
        blobs=sum(one.blobs for one in readers),
        artifacts=sum(one.artifacts for one in readers),
        size_bytes=sum(one.size for one in readers),
        damage=tuple(found for one in readers for found in one.damage),
    )


def is_listed_as_damaged(store: Store, run_id: str) -> bool:
    """Whether a listing shows a run as damaged, of which a look at it alone may find nothing."""
    return any(row.run_id == run_id for row in store.select(Query(status="damaged")))


class _Reader:
    """Reads one run to the position that it had at the beginning."""

    def __init__(self, store: Store, run_id: str) -> None:
        self.store = store
        self.run_id = run_id
        self.damage: list[Damage] = []
        self.records = self.blobs = self.artifacts = self.size = 0
        self._named = NamedBlobs()
        self._waiting: list[tuple[str, Part, int]] = []
        self._set_at: dict[str, int] = {}
        self._replay: Replay | None = Replay(run_id, BlobLoader(store, run_id))

    def read(self, listed: str = "") -> bool:
        """Whether there is such a run; what is wrong with it is in ``damage``. ``listed``: its status in a listing."""
        summary = self._ask("summary", lambda: self.store.summary(self.run_id))
        if summary is None and not self.damage:
            if listed != "damaged":
                return False
            self._report("summary", f"the run is listed, and {GONE}")
        if summary is not None and summary.status == "deleted":
            return False
        self._ask("lease", lambda: self.store.lease(self.run_id))
        if summary is None or summary.base:
            self._ask("log", lambda: self._read_log(summary))
        if self.damage and summary is not None:
            now = self._ask("summary", lambda: self.store.summary(self.run_id))
            if now is None or now.status == "deleted" or now.created != summary.created:
                self.damage.clear()  # as it was deleted meanwhile
        return True

    def _ask(self, what: str, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except (CorruptCheckpointError, UnsupportedFormatError) as error:
            self._report(what, str(error), position=getattr(error, "position", None))
            return None

    def _report(self, what: str, problem: str, *, key: str = "", position: int | None = None) -> None:
        found = Damage(run_id=self.run_id, what=what, problem=problem, key=key, position=position)
        if found not in self.damage:
            self.damage.append(found)

    def _read_log(self, summary: Summary | None) -> None:
        last = 0
        for position, data in self.store.scan(self.run_id):
            if summary is not None and position > summary.position:
                break  # what came since
            if last and position != last + 1:
                self._report("log", f"records {last + 1} to {position - 1} are missing", position=last + 1)
            last = position
            self.records, self.size = self.records + 1, self.size + len(data)
            record = self._sound(position, data)
            if record is not None:
                self._note_blobs(position, record)
        self._read_blobs()
        replay = self._replay
        if summary is None or replay is None:
            return
        if last < summary.position:
            self._report("log", f"records {last + 1} to {summary.position} are missing", position=last + 1)
        elif replay.progress is not None and not replay.damage:
            for problem in _differences(summary, replay):
                self._report("summary", problem, position=summary.position)
        if replay.progress is not None:
            self._read_artifacts(summary, replay)

    def _sound(self, position: int, data: bytes) -> AnyRecord | None:
        """The record, if it is one; what is wrong with it, or with the manifest in it, is reported."""
        replay = self._replay
        if replay is None:
            return self._alone(position, data)
        known = replay.progress is not None and not replay.damage
        try:
            record = replay.add(position, data)
        except CorruptCheckpointError as error:
            if self._alone(position, data) is not None and (known or self.records == 1):
                self._report("record" if known else "log", str(error), position=position)
            if known:
                self._replay = None
            return None
        except UnsupportedFormatError as error:
            self._report("record", str(error), position=position)
            self._replay = None
            return None
        if record is None:
            self._alone(position, data)
        elif known and isinstance(record, CheckpointRecord) and record.manifest is not None:
            for key, problem in _against_fold(record, replay):
                self._report("manifest", problem, key=key, position=position)
        return record

    def _alone(self, position: int, data: bytes) -> AnyRecord | None:
        """A record that nothing is known to come before."""
        record: AnyRecord | None = self._ask("record", lambda: unseal(self.run_id, position, data))
        return record

    def _note_blobs(self, position: int, record: AnyRecord) -> None:
        for key in _set_by(record):
            self._set_at[key] = position
        if not self.store.keeps_history:  # then those of replaced values need not be there
            return
        for key, part in self._named.new_in(record):
            if not is_possible(part):
                self._report("blob", f"no blob has {part.size:,} bytes under that name", key=key, position=position)
                continue
            self._waiting.append((key, part, position))
            if len(self._waiting) >= _FEW or sum(one.size for _, one, _ in self._waiting) >= _BLOCK:
                self._read_blobs()

    def _read_blobs(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            found = self.store.blobs(self.run_id, [part.digest for _, part, _ in waiting]) if waiting else {}
        except CorruptCheckpointError:  # one of them is
            found = None
        for key, part, position in waiting:
            try:
                held = found if found is not None else self.store.blobs(self.run_id, [part.digest])
                data = held.get(part.digest)
                if data is None:
                    raise CorruptCheckpointError(f"blob {part.digest.hex()} is missing")
                unpack_blob(self.run_id, part.digest, part.size, data)
                self.blobs, self.size = self.blobs + 1, self.size + len(data)
            except CorruptCheckpointError as error:
                self._report("blob", str(error), key=key, position=position)

    def _read_artifacts(self, summary: Summary, replay: Replay) -> None:
        """Of a run that is at work nothing is said: a node may take a file away that it takes out of the state."""
        wrong = []
        for key, cell in _cells(replay):
            try:
                artifact = cell.open()[0]
            except TauError as error:
                self._report("artifact", str(error), key=key, position=self._set_at.get(key))
                continue
            self.artifacts += 1
            if problem := wrong_with(artifact, thorough=True):
                wrong.append((key, f"the artifact {artifact.name!r} {problem}: {artifact.path}"))
        now = self.store.summary(self.run_id) if wrong else None
        if now is not None and now.position == summary.position and now.owner is None:
            for key, problem in wrong:
                self._report("artifact", problem, key=key, position=self._set_at.get(key))


def _cells(replay: Replay) -> Iterator[tuple[str, StoredValue]]:
    """The artifacts that are values of the state, or items of the node in flight."""
    seen = set()
    items = (("", cell) for cell in replay.items.cells())
    for key, cell in chain(replay.values.items(), items):
        if is_artifact(cell) and cell.whole not in seen:
            seen.add(cell.whole)
            yield key, cell


def _set_by(record: AnyRecord) -> Iterable[str]:
    """The keys of the state that a record sets."""
    if isinstance(record, Admitted) and record.manifest is not None:
        return record.manifest.values
    return record.changed if isinstance(record, CheckpointRecord | Answer) and not record.scope else ()


def _against_fold(record: CheckpointRecord, replay: Replay) -> Iterator[tuple[str, str]]:
    """Where a manifest says something else than the records up to it, by key."""
    assert record.manifest is not None
    assert replay.progress is not None
    progress, values = record.manifest.progress, record.manifest.values
    for name in _SAME:
        if getattr(progress, name) != getattr(replay.progress, name):
            yield "", f"the manifest in record {record.position} says something else of {name} than the records"
    now = {key: cell.whole for key, cell in replay.values.items()}
    for key in now.keys() | values.keys():
        if now.get(key) != values.get(key):
            yield key, f"the manifest in record {record.position} says something else of {key!r} than the records"
    if record.scope and _inside(progress) != _inside_of(replay.subgraphs):
        yield "", f"the manifest in record {record.position} says something else of the graphs inside the node"


def _inside(progress: Progress) -> dict[Any, Any]:
    return {one.scope: (one.changed, set(one.removed), one.progress.visits) for one in progress.inside}


def _inside_of(subgraphs: Subgraphs) -> dict[Any, Any]:
    return {
        scope: ({key: cell.whole for key, cell in one.changed.items()}, one.removed, one.progress.visits)
        for scope, one in subgraphs.items()
    }


def _differences(summary: Summary, replay: Replay) -> Iterator[str]:
    """Where a summary says something else than the log."""
    progress = replay.progress
    assert progress is not None
    expected = {
        "graph": progress.graph, "status": progress.status, "base": replay.base, "node": progress.node,
        "iterations": progress.iteration, "tags": progress.tags, "created": progress.created,
    }  # fmt: skip
    expected["pauses"], expected["deadline"] = at_a_glance(replay.pauses, progress.status)
    if summary.next is not None:  # older versions leave it out
        expected["next"] = progress.next
    for name, value in expected.items():
        found = getattr(summary, name)
        if found != value:
            yield f"the summary says {name} {found!r}, the log {value!r}"
    if (summary.owner is None) == (summary.status == "running"):
        said = "an owner" if summary.owner is not None else "no owner"
        yield f"the summary has {said} and the status {summary.status!r}"
