"""Keys in an S3 store. A listing gives keys in ascending order, so positions are mirrored: the newest comes first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tau.stores import names

MARKER: Final = "tau-store"
INDEX: Final = "index"
LOG: Final = "log/"
LEASES: Final = "leases/"

_MIRROR: Final = str.maketrans("0123456789", "9876543210")
_BLOB: Final = re.compile(r"(?P<floor>[0-9]{16})/b-?[0-9a-f]*").fullmatch


def folder_of(run_id: str) -> str:
    """What a run is called in keys: no two run ids share one. A percent sign in a key is taken for more than that by
    some services."""
    return names.directory_of(run_id).replace("%", ".")


def run_of(folder: str) -> str | None:
    """The run that is called so, as `names.run_of` tells it."""
    return names.run_of(folder.replace(".", "%"))


def whole_ids(folders: Iterable[str]) -> Iterator[str]:
    """As `names.whole_ids`."""
    return names.whole_ids(folder.replace(".", "%") for folder in folders)


def mirrored(name: str) -> str:
    """The name of a pack as keys have it, and back again."""
    return name.translate(_MIRROR)


def log(folder: str) -> str:
    """What the keys of a run's packs begin with."""
    return f"{LOG}{folder}/"


def pack(folder: str, name: str) -> str:
    return log(folder) + mirrored(name)


def blobs(folder: str) -> str:
    """What the keys of a run's large blobs begin with."""
    return f"blobs/{folder}/"


def blob(folder: str, floor: int, digest: bytes) -> str:
    return f"{blobs(folder)}{floor:016d}/{names.blob_file(digest)}"


def floor_of(key: str, folder: str) -> int | None:
    """The deletion after which a large blob was put there; ``None`` for what is not ours."""
    found = _BLOB(key.removeprefix(blobs(folder)))
    return int(found["floor"]) if found else None


def lease(folder: str) -> str:
    return LEASES + folder
