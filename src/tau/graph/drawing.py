"""Drawing a graph: as Mermaid, as text and in Graphviz's language, on request with where each node of a run stands."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from tau.graph.edges import END, Edge
from tau.graph.nodes import Node

NO_MARKS: Mapping[str, str] = MappingProxyType({})

# Dark text keeps a contrast of 7:1 or more on each of these; one that is not here is drawn as it would be unmarked.
COLOURS = {
    "finished": ("#d5f0d8", "#1b5e20"),
    "running": ("#cfe8fc", "#0d47a1"),
    "next": ("#fff3c4", "#7a5c00"),
    "failed": ("#fbd5d5", "#8b1a1a"),
}

_ESCAPES = str.maketrans(
    {ord(char): f"#{ord(char)};" for char in '#"`<>&;'} | dict.fromkeys(map(ord, "\r\n\t\x0b\x0c"), " ")
)


def mermaid(
    nodes: Mapping[str, Node],
    edges: Mapping[str, Sequence[Edge]],
    entry: str | None,
    exits: Collection[str],
    marks: Mapping[str, str] = NO_MARKS,
) -> str:
    """A Mermaid flowchart: the entry point rounded, exit points with double sides, predicates on the edges, those of
    routes dotted.

    ``marks`` says of nodes how they stand in a run; those that are coloured get a class of that name.
    """
    ids = _ids(nodes, edges)
    lines = ["flowchart TD"]
    for name in ids:
        left, right = ("[[", "]]") if name in (*exits, END) else ("([", "])") if name == entry else ("[", "]")
        lines.append(f'    {ids[name]}{left}"{_label(shown(name))}"{right}')
    for leaving in edges.values():
        for edge in leaving:
            name, arrow = label_of(edge), "-->" if edge.route is None else "-.->"
            label = f'|"{_label(name)}"|' if name else ""
            lines.append(f"    {ids[edge.source]} {arrow}{label} {ids[edge.target]}")
    for mark, (fill, ink) in COLOURS.items():
        marked = [ids[name] for name in ids if marks.get(name) == mark]
        if marked:
            lines.append(f"    classDef {mark} fill:{fill},stroke:{ink},color:#1a1a1a")
            lines.append(f"    class {','.join(marked)} {mark}")
    return "\n".join(lines) + "\n"


def dot(
    nodes: Mapping[str, Node],
    edges: Mapping[str, Sequence[Edge]],
    entry: str | None,
    exits: Collection[str],
    marks: Mapping[str, str] = NO_MARKS,
) -> str:
    """The graph in Graphviz's language: the entry point rounded, exit points with a double border."""
    ids = _ids(nodes, edges)
    lines = [
        "digraph {",
        '    node [shape=box, style=filled, fillcolor=white, color="#444444", fontname="Helvetica,sans-serif"]',
        '    edge [color="#444444", fontname="Helvetica,sans-serif", fontsize=11]',
    ]
    for name in ids:
        fill, ink = COLOURS.get(marks.get(name, ""), ("white", "#444444"))
        style = "filled,rounded" if name == entry else "filled"
        tip = _quoted(marks.get(name, shown(name)))
        look = f'style="{style}", fillcolor="{fill}", color="{ink}", peripheries={2 if name in (*exits, END) else 1}'
        lines.append(f"    {ids[name]} [label={_quoted(shown(name))}, tooltip={tip}, {look}]")
    for leaving in edges.values():
        for edge in leaving:
            name = label_of(edge)
            looks = [f"label={_quoted(name)}"] * bool(name) + ["style=dashed"] * (edge.route is not None)
            how = f" [{', '.join(looks)}]" if looks else ""
            lines.append(f"    {ids[edge.source]} -> {ids[edge.target]}{how}")
    return "\n".join([*lines, "}"]) + "\n"


def text(
    nodes: Mapping[str, Node],
    edges: Mapping[str, Sequence[Edge]],
    entry: str | None,
    exits: Collection[str],
    marks: Mapping[str, str] = NO_MARKS,
) -> str:
    """One line a node, in the order added, its edges below it in the order tried."""
    lines = []
    for name in _names(nodes, edges):
        if name == END:
            continue
        roles = [role for role, holds in (("entry", name == entry), ("exit", name in exits)) if holds]
        roles += [marks[name]] if name in marks else []
        lines.append(_plain(name) + (f"  [{', '.join(roles)}]" if roles else ""))
        for edge in edges.get(name, ()):
            condition = f"  if {_plain(edge.name)}" if edge.name else ""
            if edge.route is not None:
                condition = f"  if {_plain(edge.route.name)} answers {_plain(edge.name)}"
            lines.append(f"  -> {_plain(shown(edge.target))}{condition}")
    return "\n".join(lines) + ("\n" if lines else "")


def shown(name: str) -> str:
    """The name of a node, or END."""
    return "END" if name == END else name


def label_of(edge: Edge) -> str:
    """What decides that an edge is taken, in a few words; nothing where that is the name of its target."""
    return "" if edge.route is not None and edge.route.targets is None else edge.name


def _names(nodes: Mapping[str, Node], edges: Mapping[str, Sequence[Edge]]) -> list[str]:
    """The nodes in the order added, then those that only edges mention."""
    mentioned = [name for leaving in edges.values() for edge in leaving for name in (edge.source, edge.target)]
    return list(dict.fromkeys([*nodes, *mentioned]))


def _ids(nodes: Mapping[str, Node], edges: Mapping[str, Sequence[Edge]]) -> dict[str, str]:
    return {name: f"n{number}" for number, name in enumerate(_names(nodes, edges))}


def _label(name: str) -> str:
    return name.translate(_ESCAPES)


def _quoted(name: str) -> str:
    """As a text of Graphviz's language, which reads backslashes and entities; what cannot be shown as an escape."""
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in name)
    return '"' + shown.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"') + '"'


def _plain(name: str) -> str:
    return name if name.isprintable() and name.strip() == name else repr(name)
