"""The executors by name. A new one is one file and one line in the table."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, Final

from tau.checks import refused
from tau.executors.contract import Executor, Function
from tau.executors.processors import processors
from tau.late_imports import load_module
from tau.spelling import did_you_mean

INLINE: Final = "inline"
THREADS: Final = "threads"
HERE: Final = (INLINE, THREADS)
"""Those that call the function in this process."""

MODULES: Final = {
    "processes": "tau.executors.processes",
}
"""Where the others are made: modules with a function ``open_executor``."""


def checked_executor(path: str, value: Any) -> str:
    """The name of an executor. Raises `ConfigError`, which lists those that there are."""
    names = (*HERE, *MODULES)
    if isinstance(value, str) and value in names:
        return value
    raise refused(path, value, "one of " + ", ".join(map(repr, names)) + did_you_mean(value, names))


def open_executor(name: str, function: Function) -> Executor:
    """The executor for one map, to be closed. Raises `ConfigError` for a function that cannot be called there."""
    load_module(MODULES[name])
    opened: Executor = import_module(MODULES[name]).open_executor(function)
    return opened


def usual_workers(name: str, cap: int) -> int:
    """How many items are worked on at a time where nothing is said."""
    if name == INLINE:
        return 1
    return min(processors() if name in MODULES else 2 * (os.cpu_count() or 1), cap)
