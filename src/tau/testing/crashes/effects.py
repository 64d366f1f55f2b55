"""Effects outside of the state, as a graph tells them: lines of an append-only file, each with the key of its visit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tau.testing.crashes.finished import Finished, Piece, Visit
from tau.testing.crashes.work import RUN_ID


def size_of(name: str) -> int:
    """How much is there; 0 where there is no such file."""
    try:
        with open(name, "rb") as file:
            return file.seek(0, 2)
    except FileNotFoundError:
        return 0


def lines_of(name: str, after: int = 0) -> list[str]:
    """The lines behind that many bytes."""
    try:
        with open(name, "rb") as file:
            file.seek(after)
            return file.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []


def doubled(lines: Iterable[str], before: Finished) -> Iterator[str]:
    """What is wrong with lines that a resumed process appended, where ``before`` was finished when it began.

    Any line of a finished visit is, and one of a finished item of a visit that was in flight.
    """
    visits = {visit.key(RUN_ID): visit for visit in before.visits}
    pieces: dict[str, dict[str, Piece]] = {}
    for piece in before.pieces:
        if piece.label:
            pieces.setdefault(piece.visit_key(RUN_ID), {})[piece.label] = piece
    for line in lines:
        yield from _of_visits(line, visits)
        for key, named in pieces.items():
            at = line.find(f"{key}/")
            if at >= 0 and key not in visits:
                yield from _of_pieces(line, line[at + len(key) + 1 :], named)


def _of_visits(line: str, visits: dict[str, Visit]) -> Iterator[str]:
    for key, visit in visits.items():
        if key in line:
            yield f"an effect of node {visit.path}, visit {visit.visit}, which was finished, came again: {line[:200]!r}"


def _of_pieces(line: str, rest: str, named: dict[str, Piece]) -> Iterator[str]:
    for label, piece in named.items():
        if rest == label or rest.startswith((f"{label} ", f"{label}\t", f"{label},", f"{label};")):
            node = piece.scope[-1][0]
            yield f"an effect of item {label} of node {node}, which was finished, came again: {line[:200]!r}"
            return
