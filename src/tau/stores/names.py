"""Names in a file store: of runs, of packs, and of files that are still being written.

All names are ASCII without capitals, so that they mean the same on a file system that ignores case or normalises text.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from tau.host import is_alive, pid_space

SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")
LONGEST = 150
TEMPORARY = "+"

_PACK = re.compile("p[0-9]{16}(-[0-9]{16})?").fullmatch
_RUN = re.compile("r-([a-z0-9_-]|%[0-9a-f]{2})+|h-[0-9a-f]{64}").fullmatch
_BLOBS = re.compile("blobs-[0-9]{16}").fullmatch

writing: set[str] = set()
"""The temporary files that threads of this process are writing now: its others are what an interrupt left."""


def directory_of(run_id: str) -> str:
    """The directory of a run: no two run ids share one, and none leads out of the store."""
    data = run_id.encode("utf-8", "surrogatepass")
    name = "r-" + "".join(chr(byte) if byte in SAFE else f"%{byte:02x}" for byte in data)
    return name if len(name) <= LONGEST else "h-" + hashlib.sha256(data).hexdigest()


def run_of(directory: str) -> str | None:
    """The run of a directory, by its name, which is all that is left of a long one; ``None`` where it is not ours."""
    if _RUN(directory) is None:
        return None
    return directory if directory[0] == "h" else unquote(directory[2:], errors="replace")


def whole_ids(directories: Iterable[str]) -> Iterator[str]:
    """The runs of the directories whose names have them in full."""
    return (run_id for name in directories if name[0] == "r" and (run_id := run_of(name)) is not None)


def slot(first: int) -> str:
    """The pack of the commit whose first record has that position. The exclusive link to this name is the commit."""
    return f"p{first:016d}"


def cover(first: int, last: int) -> str:
    """A pack that stands for all commits from ``first`` to ``last``; it sorts above every slot that it covers."""
    return f"p{last:016d}-{first:016d}"


def tombstone(last: int) -> str:
    """The cover of nothing that a deletion leaves: all up to ``last`` is gone."""
    return cover(last + 1, last)


def blob_directory(floor: int) -> str:
    return f"blobs-{floor:016d}"


def packs(names: Sequence[str]) -> list[str]:
    """The slots, covers and tombstones in a listing, ascending. Whatever else lies there is not ours."""
    return sorted(filter(_PACK, names))


def blob_directories(names: Sequence[str]) -> list[str]:
    """The directories of blobs in a listing, ascending."""
    return sorted(filter(_BLOBS, names))


def floor_of(packs: Sequence[str]) -> int:
    """The position up to which all is deleted."""
    return max((int(name[1:17]) for name in packs if len(name) == 34 and name[18:] > name[1:17]), default=0)


def blob_file(digest: bytes) -> str:
    return "b" + (digest.hex() if len(digest) <= 64 else "-" + hashlib.sha256(digest).hexdigest())


class Cover(NamedTuple):
    first: int
    last: int
    name: str


class View(NamedTuple):
    """What a listing of a run's directory means.

    All up to ``floor`` is deleted. ``chain`` are the covers to read above it, ascending; ``slots`` the commits above
    the chain, ascending. ``redundant`` are names that are not needed any more.
    """

    floor: int
    chain: tuple[Cover, ...]
    slots: tuple[str, ...]
    redundant: tuple[str, ...]
    blob_directories: tuple[str, ...]
    temporary: tuple[str, ...]

    @property
    def covered(self) -> int:
        """The last position that a cover stands for."""
        return self.chain[-1].last if self.chain else self.floor

    @property
    def top(self) -> str | None:
        """The pack with the newest summary; ``None`` for a run that never existed."""
        if self.slots:
            return self.slots[-1]
        if self.chain:
            return self.chain[-1].name
        return tombstone(self.floor) if self.floor else None


class GapError(Exception):
    """A listing in which covers are missing: taken while files were merged, or of a damaged directory."""


def view_of(names: Sequence[str]) -> View:
    """Make sense of a listing. Raises `GapError`."""
    slots: list[str] = []
    covers: list[Cover] = []
    for name in packs(names):
        if len(name) == 17:
            slots.append(name)
        else:
            covers.append(Cover(int(name[18:]), int(name[1:17]), name))
    floor = max((last for first, last, _ in covers if first > last), default=0)
    chain = _chain([found for found in covers if found.last > floor], floor)
    end = slot(chain[-1].last if chain else floor)
    redundant = [name for name in slots if name <= end]
    redundant += [found.name for found in covers if _needless(found, covers, floor)]
    return View(
        floor,
        chain,
        tuple(name for name in slots if name > end),
        tuple(redundant),
        tuple(reversed(blob_directories(names))),
        tuple(name for name in names if name[:1] == TEMPORARY),
    )


def _chain(covers: list[Cover], floor: int) -> tuple[Cover, ...]:
    chain: list[Cover] = []
    need = max((found.last for found in covers), default=floor)
    while need > floor:
        fitting = [found for found in covers if found.first <= need <= found.last]
        if not fitting:
            raise GapError(f"nothing holds position {need}")
        best = min(fitting)
        chain.append(Cover(best.first, need, best.name))
        need = best.first - 1
    return tuple(reversed(chain))


def _needless(found: Cover, covers: list[Cover], floor: int) -> bool:
    # Only what lies inside a single other cover: "inside" has no cycles, so whatever several processes remove at
    # once by listings of different age, the largest cover of every position stays.
    if found.last < floor or (found.last == floor and found.first <= found.last):
        return True
    return found.last > floor and any(
        other.first <= found.first and found.last <= other.last and other[:2] != found[:2] for other in covers
    )


def temporary(name: str = "") -> str:
    """A name that no other process or thread uses, with its maker in it, and with the ``name`` that it is to get."""
    return f"{TEMPORARY}{_machine()}-{os.getpid()}-{secrets.token_hex(6)}" + (f"-{name}" if name else "")


def is_stale(temporary: str, listing: Sequence[str]) -> bool:
    """Whether a temporary file in a directory is of no use any more: its maker is dead for sure or gave it up, or the
    name that it was to get is taken. How old it is says nothing: clocks differ."""
    machine, _, rest = temporary[1:].partition("-")
    pid, _, rest = rest.partition("-")
    if machine == _machine() and pid.isdecimal():
        return temporary not in writing if int(pid) == os.getpid() else not is_alive(int(pid))
    name = rest.partition("-")[2]
    if name[:1] == "p":  # the pack that sorts above it stands for it, or came after it
        return any(found >= name for found in packs(listing))
    return name in listing


_unknown: dict[int, str] = {}


def _machine() -> str:
    """Eight digits for where a pid means one process, or for this process alone where that cannot be told."""
    boot, _, namespace = pid_space().partition(":")
    known = f"{boot}\npid:[{namespace}]" if boot else _unknown.setdefault(os.getpid(), secrets.token_hex(8))
    return hashlib.sha256(known.encode()).hexdigest()[:8]
