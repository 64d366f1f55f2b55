"""Objects in a bucket: created if there is none, replaced if it is the known one, read, listed, removed."""

from __future__ import annotations

import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import RLock
from typing import Any, Final, NamedTuple, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import S3Store as Bucket

from tau import forks
from tau.errors import StoreUnavailableError
from tau.stores.s3.failures import lacks_bucket
from tau.stores.s3.place import Place

A = TypeVar("A")
T = TypeVar("T")

FIRST: Final = 64 * 1024  # so much of an object is asked for at first
WIDTH: Final = 16  # requests at a time
PAGE: Final = 1000  # keys that one listing gives
_KEPT: Final = 16 << 20  # bytes of objects that are kept at hand
_CONFLICTS: Final = 6  # how often a request is repeated that another one was in the way of
_PAUSE: Final = 0.02  # seconds before the first repetition, doubled each time

_begun: list[object] = []  # the process in which the driver's threads live: a child of fork has none of them


class Meta(NamedTuple):
    """What a listing tells of an object."""

    key: str
    size: int
    e_tag: str


def side_by_side(work: Callable[[A], T], several: Sequence[A]) -> list[T]:
    """The results of ``work`` for each of them, in their order, `WIDTH` at a time. Raises what the first one raises."""
    if len(several) < 2:
        return [work(each) for each in several]
    with ThreadPoolExecutor(min(WIDTH, len(several)), "tau-s3") as pool:
        return list(pool.map(work, several))


class Objects:
    """The objects below a place. It raises what the driver raises; `tau.stores.s3.failures` has the words for it.

    Each call is one request, repeated by the driver where the service is busy. An interrupt waits for its end.
    """

    def __init__(self, place: Place, timeout: float) -> None:
        self.location = place.location
        self._place = place
        self._timeout = timeout
        self._bucket: Bucket | None = None
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._size = 0
        self._lock = RLock()  # a signal handler may read, too

    def close(self) -> None:
        """Forget connections and what was kept."""
        with self._lock:
            self._bucket = None
            self._kept.clear()
            self._size = 0

    def where(self, key: str) -> str:
        """The URL of an object, for messages."""
        return f"s3://{self._place.bucket}/{self._place.root}{key}"

    def _at(self) -> Bucket:
        if _begun and _begun[0] is not forks.process:
            raise StoreUnavailableError(
                f"process {os.getpid()} cannot use {self.location}: it was forked off a process that had used S3 "
                "already, and the threads of the client do not live on in a child; start workers by spawn, or fork "
                "before the first use of the store",
                location=self.location,
                transient=False,
            )
        bucket = self._bucket
        if bucket is None:
            bucket = self._bucket = self._place.bucket_of(self._timeout)
        _begun[:] = [forks.process]
        return bucket

    def create(self, key: str, data: bytes) -> str | None:
        """Put an object where there is none; ``None`` where there is another one. What is there by an earlier try, the
        answer to which was lost, is ours: ``data`` is unlike all others."""
        pause = _PAUSE
        for left in reversed(range(_CONFLICTS)):
            try:
                return self._put(key, data, "create")
            except AlreadyExistsError:
                found = self.get(key)
                if found is not None:
                    return found[1] if found[0] == data else None
                if not left:
                    raise
            time.sleep(pause)  # the service was about to do something else with this key (409)
            pause *= 2
        raise AssertionError

    def put(self, key: str, data: bytes) -> str:
        """Put an object there, whatever is there."""
        return self._put(key, data, "overwrite")

    def exchange(self, key: str, data: bytes, e_tag: str | None) -> str | None:
        """Put an object in the place of the one with that tag, of none if ``None``; ``None`` if there is another one.
        If that says the same, it is taken for ours, the answer to which was lost."""
        try:
            return self._put(key, data, "create" if e_tag is None else {"e_tag": e_tag})
        except (AlreadyExistsError, PreconditionError):
            found = self.get(key)
            return found[1] if found is not None and found[0] == data else None

    def _put(self, key: str, data: bytes, mode: Any) -> str:
        done = obstore.put(self._at(), self._place.root + key, data, mode=mode, use_multipart=False)
        e_tag = done["e_tag"] or ""
        self._keep(key, e_tag, data)
        return e_tag

    def get(self, key: str) -> tuple[bytes, str] | None:
        """An object and its tag; ``None`` where there is none."""
        try:
            found = obstore.get(self._at(), self._place.root + key)
            return bytes(found.bytes()), found.meta["e_tag"] or ""
        except FileNotFoundError as error:
            if lacks_bucket(error):
                raise
            return None

    def begin(self, found: Meta) -> bytes | None:
        """The first `FIRST` bytes of a listed object, or all of it; ``None`` where it is not there any more."""
        known = (found.key, found.e_tag)
        with self._lock:
            data = self._kept.get(known)
            if data is not None:
                self._kept.move_to_end(known)
                return data
        data = self.part(found, 0, min(found.size, FIRST))
        if data is not None:
            self._keep(*known, data)
        return data

    def part(self, found: Meta, offset: int, size: int) -> bytes | None:
        """So many bytes of a listed object; ``None`` where it is not there any more."""
        try:
            options: Any = {"range": (offset, offset + size), "if_match": found.e_tag}
            return bytes(obstore.get(self._at(), self._place.root + found.key, options=options).bytes())
        except PreconditionError:
            return None
        except FileNotFoundError as error:
            if lacks_bucket(error):
                raise
            return None

    def tag(self, key: str) -> str | None:
        """The tag of an object; ``None`` where there is none."""
        try:
            return obstore.head(self._at(), self._place.root + key)["e_tag"]
        except FileNotFoundError:
            return None

    def list(self, prefix: str) -> list[Meta]:
        """All objects whose keys begin with ``prefix``, which ends in a slash, or is empty, in the order of keys."""
        root = self._place.root
        return [
            Meta(found["path"][len(root) :], found["size"], found["e_tag"] or "")
            for page in obstore.list(self._at(), root + prefix, chunk_size=PAGE)
            for found in page
        ]

    def remove(self, key: str) -> None:
        """Remove an object, if there is one."""
        bucket = self._at()
        try:
            obstore.delete(bucket, self._place.root + key)
        except FileNotFoundError as error:
            if lacks_bucket(error):
                raise

    def _keep(self, key: str, e_tag: str, data: bytes) -> None:
        if len(data) > FIRST:
            return
        with self._lock:
            old = self._kept.pop((key, e_tag), b"")
            self._kept[key, e_tag] = data
            self._size += len(data) - len(old)
            while self._size > _KEPT:
                _, oldest = self._kept.popitem(last=False)
                self._size -= len(oldest)

    def check(self) -> None:
        """Raises `StoreUnavailableError` where the service does not heed conditions, or lists what is not so."""
        key = f"probe/{secrets.token_hex(8)}"
        first = self.create(key, secrets.token_bytes(8))
        try:
            if self.exchange(key, b"another", None) is not None:
                raise self._ignores("If-None-Match: two writers would both be told that they have won")
            second = self.exchange(key, b"the next", first)
            if second is None or self.exchange(key, b"too late", first) is not None:
                raise self._ignores("If-Match: an owner could renew a lease that it has lost")
            if [found.e_tag for found in self.list("probe/") if found.key == key] != [second]:
                raise self._ignores(
                    "what it has acknowledged when it lists objects, so that no process sees the newest commit"
                )
        finally:
            self.remove(key)

    def _ignores(self, what: str) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"cannot write to {self.location}: the service ignores {what}; use one that heeds conditions, as S3 "
            "itself does, or another kind of store",
            location=self.location,
            transient=False,
        )
