"""The executors by name. A new one is one file and one line in the table."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, Final

from tau.checks import refused
from tau.errors import ConfigError
from tau.executors.contract import Executor, Function
from tau.executors.processors import processors
from tau.late_imports import load_module
from tau.spelling import did_you_mean

INLINE: Final = "inline"
THREADS: Final = "threads"
PROCESSES: Final = "processes"
DASK: Final = "dask"
HERE: Final = (INLINE, THREADS)
"""Those that call the function in this process."""

MODULES: Final = {
    PROCESSES: "tau.executors.processes",
    DASK: "tau.executors.dask",
}
"""Where the others are made: modules with a function ``open_executor``."""

CLIENTS: Final = {"distributed.client.Client": DASK}
"""The classes of clients that stand for an executor."""


def checked_executor(path: str, value: Any) -> Any:
    """The name of an executor, a name with a place (``dask:ADDRESS``), or a client. Raises `ConfigError`, which lists
    those that there are."""
    names = (*HERE, *MODULES)
    name, colon, place = value.partition(":") if isinstance(value, str) else (_client(value), "", "")
    if name in names and (not colon or (name == DASK and place)):
        if not isinstance(value, str) and value.asynchronous:
            raise ConfigError(f"{path}: a Client that is asynchronous cannot be waited for; make it without that")
        return value
    hint = did_you_mean(value, names) if isinstance(value, str) else ""
    raise refused(path, value, f"one of {', '.join(map(repr, names))}, 'dask:ADDRESS' or a distributed.Client" + hint)


def is_here(executor: Any) -> bool:
    """Whether that executor calls the function in this process."""
    return isinstance(executor, str) and executor in HERE


def open_executor(executor: Any, function: Function) -> Executor:
    """The executor for one map, to be closed. Raises `ConfigError` for a function that cannot be called there, and
    `ExecutorError` where nothing can."""
    name, place = _client(executor), executor
    if isinstance(executor, str):
        name, _, place = executor.partition(":")
    load_module(MODULES[name])
    opened: Executor = import_module(MODULES[name]).open_executor(function, place)
    return opened


def usual_workers(executor: Any, cap: int) -> int:
    """How many items are worked on at a time where nothing is said."""
    if executor == INLINE:
        return 1
    return min(2 * (os.cpu_count() or 1) if is_here(executor) else processors(), cap)


def _client(value: Any) -> str:
    for kind in type(value).__mro__:
        if name := CLIENTS.get(f"{kind.__module__}.{kind.__qualname__}"):
            return name
    return ""
