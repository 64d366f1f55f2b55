"""A graph as an SVG picture for notebooks: nodes below one another, edges that skip or go back as arcs beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from tau.graph.drawing import COLOURS, NO_MARKS, label_of, shown
from tau.graph.edges import END, Edge
from tau.graph.nodes import Node

if TYPE_CHECKING:
    from tau.graph.graph import Graph

ROW, BOX, LETTER = 64, 30, 7.5
LONGEST = 40


def svg(graph: Graph, marks: Mapping[str, str] = NO_MARKS) -> str:
    """The entry point has round ends, exit points a double frame; text is escaped, nothing is loaded or run.

    ``marks`` says of nodes how they stand in a run.
    """
    edges, entry, exits = graph.edges, graph.entry_point, graph.exit_points
    order = _order(graph.nodes, edges, entry)
    place = {name: number for number, name in enumerate(order)}
    widest = max((_width(shown(name)) for name in order), default=0.0)
    middle, right = widest / 2 + 10, widest + 10
    parts = [
        _box(name, middle, row * ROW + 10, entry=name == entry, is_exit=name in (*exits, END), mark=marks.get(name, ""))
        for name, row in place.items()
    ]
    reach = right
    taken: dict[tuple[str, str], int] = {}
    for edge in (edge for leaving in edges.values() for edge in leaving):
        pair = (min(edge.source, edge.target), max(edge.source, edge.target))
        before = taken.get(pair, 0)
        taken[pair] = before + 1
        name, dashes = label_of(edge), ' stroke-dasharray="4 3"' if edge.route is not None else ""
        start, end = place[edge.source] * ROW + 10, place[edge.target] * ROW + 10
        if end - start == ROW and not before:
            parts.append(f'<path d="M{middle:.0f} {start + BOX} V{end - 7}"{dashes}/>' + _head(middle, end, down=True))
            parts.append(_label(name, middle + 8, (start + BOX + end) / 2 + 4))
            reach = max(reach, middle + 8 + _width(name))
            continue
        bend = 30 + 14 * abs(end - start) / ROW + 16 * before
        top, bottom = start + BOX * 0.35, end + BOX * 0.65
        curve = f"C{right + bend:.0f} {top:.0f} {right + bend:.0f} {bottom:.0f} {right + 7:.0f} {bottom:.0f}"
        parts.append(f'<path d="M{right:.0f} {top:.0f} {curve}"{dashes}/>' + _head(right, bottom, down=False))
        parts.append(_label(name, right + bend * 0.75 + 6, (top + bottom) / 2 + 4))
        reach = max(reach, right + bend + 6 + _width(name))
    size = f'width="{reach + 10:.0f}" height="{max(len(order), 1) * ROW - ROW + BOX + 20}"'
    style = 'fill="none" stroke="currentColor" font-family="monospace" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size} {style}>{"".join(parts)}</svg>'


def _order(nodes: Mapping[str, Node], edges: Mapping[str, Sequence[Edge]], entry: str | None) -> list[str]:
    """As a run would meet them from the entry point on; the others, added or only mentioned, after these."""
    mentioned = (name for leaving in edges.values() for edge in leaving for name in (edge.source, edge.target))
    found = dict.fromkeys([entry] if entry is not None else [])
    for name in found.copy():
        waiting = [name]
        while waiting:
            following = [edge.target for edge in edges.get(waiting.pop(0), ()) if edge.target not in found]
            found.update(dict.fromkeys(following))
            waiting += dict.fromkeys(following)
    return list(found | dict.fromkeys(nodes) | dict.fromkeys(mentioned))


def _box(name: str, middle: float, top: float, *, entry: bool, is_exit: bool, mark: str) -> str:
    fill, ink = COLOURS.get(mark, ("none", "currentColor"))
    name = shown(name)
    width = _width(name)
    left, radius = middle - width / 2, BOX / 2 if entry else 3
    look = f' fill="{fill}" stroke="{ink}"' if mark in COLOURS else ""
    frame = f'<rect x="{left:.0f}" y="{top}" width="{width:.0f}" height="{BOX}" rx="{radius}"{look}/>'
    if is_exit:
        inner = max(radius - 3, 1)
        frame += f'<rect x="{left + 3:.0f}" y="{top + 3}" width="{width - 6:.0f}" height="{BOX - 6}" rx="{inner}"/>'
    return frame + _label(name, middle, top + BOX / 2 + 4, centred=True, ink=ink)


def _head(x: float, y: float, *, down: bool) -> str:
    tip = f"M{x:.0f} {y:.0f} l-4 -8 h8 z" if down else f"M{x:.0f} {y:.0f} l8 -4 v8 z"
    return f'<path d="{tip}" fill="currentColor"/>'


def _label(text: str, x: float, y: float, *, centred: bool = False, ink: str = "currentColor") -> str:
    if not text:
        return ""
    shown = text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
    printable = "".join(char if char.isprintable() else " " for char in shown)  # XML has no control characters
    anchor = ' text-anchor="middle"' if centred else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" stroke="none" fill="{ink}"{anchor}>{escape(printable)}</text>'


def _width(text: str) -> float:
    return min(len(text), LONGEST) * LETTER + 24
