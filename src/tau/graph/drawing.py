"""Drawing a graph: as Mermaid, as text and in Graphviz's language, on request with where each node of a run stands."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from tau.graph.edges import END, Edge
from tau.graph.nodes import Node

if TYPE_CHECKING:
    from tau.graph.graph import Graph

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


def mermaid(graph: Graph, marks: Mapping[str, str] = NO_MARKS) -> str:
    """A Mermaid flowchart: the entry point rounded, exit points with double sides, predicates on the edges, those of
    routes dotted; a node that consists of graphs is drawn around these.

    ``marks`` says of nodes how they stand in a run; those that are coloured get a class of that name.
    """
    ids = _ids(graph)
    lines = ["flowchart TD", *_mermaid_lines(graph, ids)]
    for mark, (fill, ink) in COLOURS.items():
        marked = [ids[name] for name in ids if marks.get(name) == mark]
        if marked:
            lines.append(f"    classDef {mark} fill:{fill},stroke:{ink},color:#1a1a1a")
            lines.append(f"    class {','.join(marked)} {mark}")
    return "\n".join(lines) + "\n"


def _mermaid_lines(graph: Graph, ids: Mapping[str, str], *, bare: bool = False) -> Iterator[str]:
    nodes, edges, entry, exits = _about(graph, bare)
    for name, at in ids.items():
        graphs = _inside(nodes.get(name), at)
        if graphs:
            yield f'    subgraph {at}["{_label(name)}"]'
            for where, title, inner, is_bare in graphs:
                lines = _mermaid_lines(inner, _ids(inner, where), bare=is_bare)
                around = [f'    subgraph {where}["{_label(title)}"]', *lines, "    end"] if title else lines
                yield from (f"    {line}" for line in around)
            yield "    end"
            continue
        left, right = ("[[", "]]") if name in (*exits, END) else ("([", "])") if name == entry else ("[", "]")
        yield f'    {at}{left}"{_label(shown(name))}"{right}'
    for leaving in edges.values():
        for edge in leaving:
            name, arrow = label_of(edge), "-->" if edge.route is None else "-.->"
            label = f'|"{_label(name)}"|' if name else ""
            yield f"    {ids[edge.source]} {arrow}{label} {ids[edge.target]}"


def dot(graph: Graph, marks: Mapping[str, str] = NO_MARKS) -> str:
    """The graph in Graphviz's language: the entry point rounded, exit points with a double border; a node that consists
    of graphs is drawn around these."""
    lines = [
        "digraph {",
        "    compound=true",
        '    node [shape=box, style=filled, fillcolor=white, color="#444444", fontname="Helvetica,sans-serif"]',
        '    edge [color="#444444", fontname="Helvetica,sans-serif", fontsize=11]',
        *_dot_lines(graph, _ids(graph), marks),
    ]
    return "\n".join([*lines, "}"]) + "\n"


def _dot_lines(
    graph: Graph, ids: Mapping[str, str], marks: Mapping[str, str] = NO_MARKS, *, bare: bool = False
) -> Iterator[str]:
    nodes, edges, entry, exits = _about(graph, bare)
    for name, at in ids.items():
        fill, ink = COLOURS.get(marks.get(name, ""), ("white", "#444444"))
        graphs = _inside(nodes.get(name), at)
        if graphs:
            yield f'    subgraph cluster_{at} {{ label={_quoted(name)}; color="{ink}"; fontname="Helvetica,sans-serif"'
            yield f'    {at} [label="", shape=point, style=invis]'
            for where, title, inner, is_bare in graphs:
                yield f"    subgraph cluster_{where} {{ label={_quoted(title)}" if title else "    {"
                yield from _dot_lines(inner, _ids(inner, where), bare=is_bare)
                yield "    }"
            yield "    }"
            continue
        style = "filled,rounded" if name == entry else "filled"
        tip = _quoted(marks.get(name, shown(name)))
        look = f'style="{style}", fillcolor="{fill}", color="{ink}", peripheries={2 if name in (*exits, END) else 1}'
        yield f"    {at} [label={_quoted(shown(name))}, tooltip={tip}, {look}]"
    for leaving in edges.values():
        for edge in leaving:
            name = label_of(edge)
            looks = [f"label={_quoted(name)}"] * bool(name) + ["style=dashed"] * (edge.route is not None)
            for end, what in ((edge.source, "ltail"), (edge.target, "lhead")):
                looks += [f"{what}=cluster_{ids[end]}"] * bool(_inside(nodes.get(end), ids[end]))
            how = f" [{', '.join(looks)}]" if looks else ""
            yield f"    {ids[edge.source]} -> {ids[edge.target]}{how}"


def text(graph: Graph, marks: Mapping[str, str] = NO_MARKS) -> str:
    """One line a node, in the order added, its edges below it in the order tried; what a node consists of is indented
    below its name."""
    lines = _text_lines(graph, marks)
    return "".join(f"{line}\n" for line in lines)


def _text_lines(graph: Graph, marks: Mapping[str, str] = NO_MARKS, *, bare: bool = False) -> Iterator[str]:
    nodes, edges, entry, exits = _about(graph, bare)
    for name in _names(graph):
        if name == END:
            continue
        roles = [role for role, holds in (("entry", name == entry), ("exit", name in exits)) if holds]
        roles += [marks[name]] if name in marks else []
        yield _plain(name) + (f"  [{', '.join(roles)}]" if roles else "")
        for _, title, inner, is_bare in _inside(nodes.get(name), ""):
            if title:
                yield f"  | {_plain(title)}:"
            yield from (f"  | {'  ' if title else ''}{line}" for line in _text_lines(inner, bare=is_bare))
        for edge in edges.get(name, ()):
            condition = f"  if {_plain(edge.name)}" if edge.name else ""
            if edge.route is not None:
                condition = f"  if {_plain(edge.route.name)} answers {_plain(edge.name)}"
            yield f"  -> {_plain(shown(edge.target))}{condition}"


def _inside(node: Node | None, at: str) -> list[tuple[str, str, Graph, bool]]:
    """The graphs that a node consists of: where each is drawn, what it is called, the graph, and whether that is only
    one function, which is drawn bare: its branch has its name, and it is entry and exit at once."""
    found = []
    for number, one in enumerate(node.inside.branches if node is not None and node.inside is not None else ()):
        is_bare = [*one.graph.nodes] == [one.name]
        found.append((f"{at}_{number}", "" if is_bare else one.name, one.graph, is_bare))
    return found


def _about(
    graph: Graph, bare: bool
) -> tuple[Mapping[str, Node], Mapping[str, Sequence[Edge]], str | None, Collection[str]]:
    """What is drawn of a graph: its nodes, edges, entry and exits."""
    if bare:
        return graph.nodes, graph.edges, None, ()
    return graph.nodes, graph.edges, graph.entry_point, graph.exit_points


def shown(name: str) -> str:
    """The name of a node, or END."""
    return "END" if name == END else name


def label_of(edge: Edge) -> str:
    """What decides that an edge is taken, in a few words; nothing where that is the name of its target."""
    return "" if edge.route is not None and edge.route.targets is None else edge.name


def _names(graph: Graph) -> list[str]:
    """The nodes in the order added, then those that only edges mention."""
    mentioned = [name for leaving in graph.edges.values() for edge in leaving for name in (edge.source, edge.target)]
    return list(dict.fromkeys([*graph.nodes, *mentioned]))


def _ids(graph: Graph, where: str = "") -> dict[str, str]:
    return {name: f"{where}n{number}" for number, name in enumerate(_names(graph))}


def _label(name: str) -> str:
    return name.translate(_ESCAPES)


def _quoted(name: str) -> str:
    """As a text of Graphviz's language, which reads backslashes and entities; what cannot be shown as an escape."""
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in name)
    return '"' + shown.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"') + '"'


def _plain(name: str) -> str:
    return name if name.isprintable() and name.strip() == name else repr(name)
