"""Drawing a graph: as Mermaid and as text."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from tau.nodes import Edge, Node

_ESCAPES = str.maketrans(
    {ord(char): f"#{ord(char)};" for char in '#"`<>&;'} | dict.fromkeys(map(ord, "\r\n\t\x0b\x0c"), " ")
)


def mermaid(
    nodes: Mapping[str, Node], edges: Mapping[str, Sequence[Edge]], entry: str | None, exits: Collection[str]
) -> str:
    """A Mermaid flowchart: the entry point rounded, exit points with double sides, predicates on the edges."""
    names = [*nodes, *(name for name in _mentioned(edges) if name not in nodes)]
    ids = {name: f"n{number}" for number, name in enumerate(names)}
    lines = ["flowchart TD"]
    for name in names:
        left, right = ("[[", "]]") if name in exits else ("([", "])") if name == entry else ("[", "]")
        lines.append(f'    {ids[name]}{left}"{_label(name)}"{right}')
    for leaving in edges.values():
        for edge in leaving:
            label = f'|"{_label(edge.name)}"|' if edge.name else ""
            lines.append(f"    {ids[edge.source]} -->{label} {ids[edge.target]}")
    return "\n".join(lines) + "\n"


def text(
    nodes: Mapping[str, Node], edges: Mapping[str, Sequence[Edge]], entry: str | None, exits: Collection[str]
) -> str:
    """One line a node, in the order added, its edges below it in the order tried."""
    lines = []
    for name in [*nodes, *(name for name in _mentioned(edges) if name not in nodes)]:
        marks = [mark for mark, holds in (("entry", name == entry), ("exit", name in exits)) if holds]
        lines.append(_plain(name) + (f"  [{', '.join(marks)}]" if marks else ""))
        for edge in edges.get(name, ()):
            condition = f"  if {_plain(edge.name)}" if edge.name else ""
            lines.append(f"  -> {_plain(edge.target)}{condition}")
    return "\n".join(lines) + ("\n" if lines else "")


def _mentioned(edges: Mapping[str, Sequence[Edge]]) -> dict[str, None]:
    return {name: None for leaving in edges.values() for edge in leaving for name in (edge.source, edge.target)}


def _label(name: str) -> str:
    return name.translate(_ESCAPES)


def _plain(name: str) -> str:
    return name if name.isprintable() and name.strip() == name else repr(name)
