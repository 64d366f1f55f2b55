"""Unpacking the archives of the golden stores."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

SAFELY: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""Python 3.11 before 3.11.4 knows no filters."""


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    archive.extractall(folder, **SAFELY)
