"""A user's own store of four verbs as a `Store`.

It keeps each run as one state, written whole at every commit. It cannot promise what those verbs do not give: two
processes that commit at the same moment are not told apart (the position is compared, but not atomically), durability
is what the user's ``save`` makes of it, leases are not renewed, history reaches back to the newest manifest only and
has lost the large values that were replaced since, and a deleted run leaves nothing behind.
"""

from __future__ import annotations

import secrets
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from msgspec.structs import replace

from tau.errors import CheckpointNotFoundError, CorruptCheckpointError, StoreError, TauError
from tau.forks import Forked, watch
from tau.signals import pass_on
from tau.state import State
from tau.stores.contract import Batch, Lease, PositionConflict, Query, Store, Summary
from tau.stores.due import Due, sifted
from tau.stores.images import Image, appended, to_state
from tau.stores.reentry import Guard
from tau.stores.summaries import unreadable


@runtime_checkable
class FourVerbs(Protocol):
    """What a user's own store needs to have. ``load`` raises `KeyError` for a run it does not know.

    Keep the `State` itself, or ``state.to_bytes()`` and ``State.from_bytes(...)``: both carry the run's bookkeeping.
    """

    def save(self, state: State) -> None: ...
    def load(self, run_id: str) -> State: ...
    def delete(self, run_id: str) -> None: ...
    def list(self) -> Any: ...


class AdaptedStore(Store, Forked):
    """See the module."""

    forgets = True
    keeps_history = False

    def __init__(self, verbs: FourVerbs) -> None:
        self.verbs = verbs
        self.location = f"{type(verbs).__name__}:"
        self._lock = threading.RLock()
        self._calls = Guard(self.location)
        self._writes = Guard(self.location)
        watch(self)
        self._name = secrets.token_hex(8)

    def identity(self) -> str:
        """Of this process only: what the four verbs keep is shown to the user."""
        return self._name

    def commit(self, batches: Sequence[Batch]) -> Sequence[int | Exception]:
        with self._lock:
            return self._writes.enter(lambda: list(map(self._append, batches)))

    def _append(self, batch: Batch) -> int | Exception:
        try:
            image = appended(self._image(batch.run_id), batch)
            self._save(image)
        except (PositionConflict, TauError) as error:
            return error
        return image.summary.position

    def read(self, run_id: str, after: int = 0) -> Sequence[tuple[int, bytes]]:
        image = self._image(run_id)
        return [row for row in image.records if row[0] > after] if image is not None else []

    def summary(self, run_id: str) -> Summary | None:
        image = self._image(run_id)
        return image.summary if image is not None else None

    def blobs(self, run_id: str, digests: Iterable[bytes]) -> Mapping[bytes, bytes]:
        image = self._image(run_id)
        held = image.blobs if image is not None else {}
        wanted = list(digests)
        if image is not None and any(name not in held for name in wanted):
            raise StoreError(
                f"{self.location} holds the newest values of run {run_id!r} only, not the older ones that were asked "
                "for; keep runs in one of tau's own stores, as in sqlite:///runs.db, where their history matters",
                location=self.location,
            )
        return {name: held[name] for name in wanted if name in held}

    def select(self, query: Query) -> Sequence[Summary]:
        run_ids = self._call("list", lambda: list(self.verbs.list()))
        found = [summary for run_id in run_ids if (summary := self._shown(run_id)) is not None]
        wanted = [
            summary
            for summary in found
            if query.graph in (None, summary.graph)
            and query.status in (None, summary.status)
            and (query.tag is None or query.tag in summary.tags)
        ]
        return sorted(wanted, key=lambda summary: -summary.updated)[: query.limit]

    def run_ids(self, prefix: str = "") -> Sequence[str]:
        run_ids = self._call("list", lambda: list(self.verbs.list()))
        return [run_id for run_id in run_ids if run_id.startswith(prefix)]

    def _shown(self, run_id: str) -> Summary | None:
        try:
            return self.summary(run_id)
        except CorruptCheckpointError:
            return unreadable(run_id)

    def delete(self, run_id: str, keep_summary: bool = False, *, expected: int | None = None) -> None:
        def work() -> None:
            try:
                image = self._image(run_id)
            except CorruptCheckpointError:
                if keep_summary or expected is not None:
                    raise
                self._call("delete", lambda: self.verbs.delete(run_id))
                return
            if image is None:
                return
            if expected not in (None, image.summary.position):
                assert expected is not None
                raise PositionConflict(run_id, expected, image.summary.position)
            self._call("delete", lambda: self.verbs.delete(run_id))

        with self._lock:
            self._writes.enter(work)

    def due(self, graph: str, limit: int, *, watched: bool = True) -> Sequence[Due]:
        return sifted(self.select(Query(graph=graph)), self, limit, watched=watched)

    def lease(self, run_id: str) -> Lease | None:
        image = self._image(run_id)
        owner = image.summary.owner if image is not None else None
        return Lease(owner.nonce, image.summary.position, None) if image is not None and owner is not None else None

    def renew(self, run_id: str, nonce: str, seconds: float) -> bool:
        lease = self.lease(run_id)
        return lease is not None and lease.nonce == nonce

    def release(self, run_id: str, nonce: str) -> None:
        def work() -> None:
            image = self._image(run_id)
            if image is not None and image.summary.owner is not None and image.summary.owner.nonce == nonce:
                self._save(Image(replace(image.summary, owner=None), image.records, image.blobs))

        with self._lock:
            self._writes.enter(work)

    def close(self) -> None:
        close = getattr(self.verbs, "close", None)
        if callable(close):
            self._call("close", close)

    def after_fork(self, in_child: bool, kept_out: bool) -> None:
        if in_child:
            self._lock = threading.RLock()  # a thread that the child does not have may have held it

    def _load(self, run_id: str) -> Any:
        try:
            return self.verbs.load(run_id)
        except KeyError as error:
            raise CheckpointNotFoundError(f"checkpoint not found: {run_id}", run_id=run_id) from error

    def _image(self, run_id: str) -> Image | None:
        try:
            state = self._call("load", lambda: self._load(run_id))
        except CheckpointNotFoundError:
            return None
        image = state._image if isinstance(state, State) else None
        if not isinstance(image, Image) or image.summary.run_id != run_id:
            raise StoreError(
                f"{self.location} load({run_id!r}) returned {_kind(state)} without the run's bookkeeping; keep the "
                "State that save was given, or the bytes of state.to_bytes(), and return that or "
                "State.from_bytes(...); raise KeyError for a run that is not there",
                location=self.location,
            )
        return image

    def _save(self, image: Image) -> None:
        state = to_state(image)
        self._call("save", lambda: self.verbs.save(state))

    def _call(self, verb: str, call: Callable[[], Any]) -> Any:
        try:
            return self._calls.enter(call)  # what it does with a call in the middle of another, only its author knows
        except TauError:
            raise
        except Exception as error:
            pass_on(error)
            raise StoreError(
                f"{self.location} {verb} failed with {type(error).__name__}: {error}; mend the store, then resume",
                location=self.location,
            ) from error


def _kind(state: Any) -> str:
    if isinstance(state, State):
        return f"a state of run {state.run_id!r}"
    return f"{type(state).__name__}"


def adapt(verbs: FourVerbs) -> Store:
    """The store for a user's object, always the same one for the same object."""
    with _LOCK:
        known = _ADAPTED.get(id(verbs))
        if known is None:
            known = _ADAPTED[id(verbs)] = AdaptedStore(verbs)
        return known


_LOCK = threading.Lock()
_ADAPTED: weakref.WeakValueDictionary[int, AdaptedStore] = weakref.WeakValueDictionary()
"""By the identity of the user's object, which lives at least as long as its adapter."""
