"""While the command imports the file that defines a graph, or a worker process the script of its parent, no graph is
run: to look at a file must not do its work."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tau.errors import ConfigError

_importing: list[tuple[str, str]] = []  # of the whole process: what is imported may start threads

_DASK_WORKER: Final = "Dask Worker process"
"""With this the name of a worker process begins that dask starts, as multiprocessing knows it."""


class RunRefusedError(ConfigError):
    """What is being imported runs a graph."""


@contextmanager
def importing(what: str, why: str) -> Iterator[None]:
    """While the block runs, every run that begins in this process raises `RunRefusedError`, which says both."""
    _importing.append((what, why))
    try:
        yield
    finally:
        _importing.pop()


def check_not_importing(graph: str) -> None:
    """Raises `RunRefusedError` inside a block of `importing`, and in a worker of dask that imports the script of the
    process that started it."""
    what, why = _importing[-1] if _importing else _dask_imports()
    if what:
        raise RunRefusedError(
            f"{what} would run graph {graph!r}, {why}; put that call "
            'under if __name__ == "__main__":, so that the file can be imported without running it'
        )


def _dask_imports() -> tuple[str, str]:
    processes: Any = sys.modules.get("multiprocessing.process")
    me: Any = processes.current_process() if processes is not None else None
    if me is None or not getattr(me, "_inheriting", False) or not me.name.startswith(_DASK_WORKER):
        return "", ""
    return "a dask worker that imports this script", "which is the work of the process that started it"
