"""`Artifact`: a reference to a file or directory that belongs to the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from tau.late_imports import LateModule, load_module

if TYPE_CHECKING:
    import pathlib
else:
    pathlib = LateModule("pathlib")  # for those who read the annotation, as pydantic does


class Artifact(Struct, frozen=True, kw_only=True):
    """A file, or a directory of files, that a node made with ``ctx.artifact(name)``; it can be opened like a path.

    ``size_bytes`` is that of all its files together and ``digest`` a SHA-256 of what they hold, in hexadecimal digits.
    ``node``, ``visit`` and ``run_id`` say what made it. ``modified`` is the time of the newest change to a file, in
    nanoseconds: where it and the size are as before, the content is not read. Using one as a path raises nothing; what
    `open` says of a missing file it says here, too.

    >>> from tau import StateGraph
    >>> graph = StateGraph("files", store="sqlite:///tau.db")
    >>> @graph.node
    ... def write(state, ctx):
    ...     with ctx.artifact("clean.txt") as path:
    ...         path.write_text("421 ppm")
    >>> graph.sequence(write)
    >>> artifact = graph.execute({})["clean.txt"]
    >>> open(artifact).read(), artifact.size_bytes, artifact.node
    ('421 ppm', 7, 'write')
    >>> artifact.check()
    """

    name: str
    path: pathlib.Path
    size_bytes: int
    digest: str
    directory: bool
    modified: int
    run_id: str
    node: str
    visit: int

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def check(self) -> None:
        """Read it all and compare. Raises `ArtifactError` for one that is missing, altered or cannot be
        read."""
        load_module("tau.stores.artifact_content")
        from tau.stores.artifact_content import check

        check(self, thorough=True)
