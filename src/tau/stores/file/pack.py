"""A pack that is a file."""

from __future__ import annotations

import os
from typing import Self

from tau.stores.disk import READ, Descriptor
from tau.stores.packs import Pack


class FilePack(Pack):
    """One pack, open for reading; a context manager. ``FileNotFoundError`` where there is none of that name."""

    def __init__(self, directory: int, name: str, where: str, run_id: str | None = None) -> None:
        self._open = Descriptor(name, READ, dir_fd=directory)
        super().__init__(name, os.path.join(where, name), run_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _part(self, size: int, offset: int) -> bytes:
        return os.pread(self._open.number, size, offset)

    def _length(self) -> int:
        return os.fstat(self._open.number).st_size
