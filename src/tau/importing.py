"""While the command imports the file that defines a graph, or a worker process the script of its parent, no graph is
run: to look at a file must not do its work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tau.errors import ConfigError

_importing: list[tuple[str, str]] = []  # of the whole process: what is imported may start threads


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
    """Raises `RunRefusedError` inside a block of `importing`."""
    if _importing:
        what, why = _importing[-1]
        raise RunRefusedError(
            f"{what} would run graph {graph!r}, {why}; put that call "
            'under if __name__ == "__main__":, so that the file can be imported without running it'
        )
