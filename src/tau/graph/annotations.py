"""Whether an annotation means tau's `Context`: as an object, or as text whose names need not exist when it is asked.

Of an annotation that is text only names, attributes, ``|``, ``Optional``, ``Union`` and ``Annotated`` are evaluated.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import types
import typing
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tau.errors import GraphError
from tau.graph.loaded_names import is_own

_WELL_KNOWN = frozenset({"Context", "tau.Context", "tau.context.Context", "tau.node.context.Context"})
_UNIONS = frozenset({"Optional", "Union", "Annotated"})
_MISSING: Final = object()
_MAX_DEPTH = 20


def means_context(annotation: Any, function: Any) -> bool:
    """Whether it is tau's `Context`, a union with it, or either with notes. Raises `GraphError` where a name that is
    not to be found may be tau's."""
    return _Reader(function).object(annotation)


class _Reader:
    def __init__(self, function: Any) -> None:
        self.function = function
        self.names = names_of(function)

    def object(self, annotation: Any, depth: int = 0) -> bool:
        text = getattr(annotation, "__forward_arg__", annotation)
        if isinstance(text, str):
            return depth <= _MAX_DEPTH and self.text(text, depth)
        if isinstance(annotation, type):
            return annotation.__name__ == "Context" and is_own(annotation)
        if type(annotation).__name__ == "TypeAliasType":
            return depth <= _MAX_DEPTH and self.object(annotation.__value__, depth + 1)
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        meant = {typing.Annotated: arguments[:1], typing.Union: arguments, types.UnionType: arguments}.get(origin, ())
        return any(self.object(one, depth + 1) for one in meant)

    def text(self, text: str, depth: int) -> bool:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                parsed = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError):
            return False
        return self.tree(parsed.body, depth)

    def tree(self, node: ast.expr, depth: int) -> bool:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return self.tree(node.left, depth) or self.tree(node.right, depth)
        if isinstance(node, ast.Constant):
            return isinstance(node.value, str) and self.text(node.value, depth + 1)
        if isinstance(node, ast.Subscript):
            return any(self.tree(one, depth) for one in self.alternatives(node))
        if not isinstance(node, (ast.Name, ast.Attribute)) or not (dotted := _dotted(node)):
            return False
        found = self.find(dotted)
        return self.object(found, depth + 1) if found is not _MISSING else self.unknown(dotted)

    def alternatives(self, node: ast.Subscript) -> list[ast.expr]:
        """What is inside ``Optional[...]``, ``Union[...]`` and ``Annotated[...]``; nothing of other types."""
        dotted = _dotted(node.value)
        found = self.find(dotted) if dotted else None
        name = (
            dotted.rpartition(".")[2] if found is _MISSING else getattr(found, "__name__", getattr(found, "_name", ""))
        )
        if name not in _UNIONS or not (found is _MISSING or found in (typing.Optional, typing.Union, typing.Annotated)):
            return []
        inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return inside[:1] if name == "Annotated" else inside

    def find(self, dotted: str) -> Any:
        first, *rest = dotted.split(".")
        found: Any = self.names.get(first, getattr(builtins, first, _MISSING))
        for part in rest:
            found = getattr(found, part, _MISSING)
        return found

    def unknown(self, dotted: str) -> bool:
        """Of a name that does not exist, as when it is imported for a type checker only."""
        origin = _imported(self.function).get(dotted.partition(".")[0])
        rest = dotted.partition(".")[2]
        full = ".".join(filter(None, (origin, rest))) if origin else dotted
        if full in _WELL_KNOWN:
            if origin and dotted not in _WELL_KNOWN:
                raise GraphError(self.told(dotted, f"stands for {full} but is not there when the program runs"))
            return True
        if origin is None and dotted.endswith("Context"):
            raise GraphError(self.told(dotted, "cannot be found"))
        return False

    def told(self, dotted: str, what: str) -> str:
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return (
            f"{name} has a parameter annotated {dotted!r}, which {what}, so that it is impossible to tell whether it "
            "takes a Context; import it where the program runs, as in: from tau import Context"
        )


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def names_of(function: Any) -> Mapping[str, Any]:
    """What the names in a function's annotations may mean: its globals, and what it is made over."""
    found: dict[str, Any] = dict(getattr(function, "__globals__", {}))
    code = getattr(function, "__code__", None)
    for name, cell in zip(getattr(code, "co_freevars", ()), getattr(function, "__closure__", None) or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
    return found


def _imported(function: Any) -> dict[str, str]:
    """What the names that are imported anywhere in the file of a function stand for, as far as its source tells."""
    try:
        tree = ast.parse("".join(inspect.findsource(function)[0]))
    except (OSError, TypeError, SyntaxError, ValueError, IndexError):
        return {}
    return dict(_imports(tree))


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                yield (one.asname, one.name) if one.asname else (one.name.partition(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom):
            for one in node.names:
                yield one.asname or one.name, f"{'.' * node.level}{node.module or ''}.{one.name}"
