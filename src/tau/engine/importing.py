"""While the command imports the file that defines a graph, no graph is run: to look at a file must not do its work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tau.errors import ConfigError

_importing: list[str] = []  # of the whole process: what is imported may start threads


class RunRefusedError(ConfigError):
    """What is being imported runs a graph."""


@contextmanager
def importing(what: str) -> Iterator[None]:
    """While the block runs, every run that begins in this process raises `RunRefusedError`, which names ``what``."""
    _importing.append(what)
    try:
        yield
    finally:
        _importing.pop()


def check_not_importing(graph: str) -> None:
    """Raises `RunRefusedError` inside a block of `importing`."""
    if _importing:
        raise RunRefusedError(
            f"{_importing[-1]} would run graph {graph!r}, and the command runs only what it is told to; put that call "
            'under if __name__ == "__main__":, so that the file can be imported without running it'
        )
