"""Which files of tau are struck line by line: those that keep a run."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import tau

ENGINE = Path(tau.__file__).parent
BEFORE = {"values", "testing", "cli", "observers", "graph", "config", "predicates", "events", "errors", "__init__"}
BEFORE |= {"checks", "html", "redaction", "spelling", "version"}
"""Parts of the library that describe a run and take no part in keeping it."""


@cache
def is_engine(name: str) -> bool:
    path = Path(name)
    return ENGINE in path.parents and path.relative_to(ENGINE).parts[0].removesuffix(".py") not in BEFORE
