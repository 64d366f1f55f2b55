"""The fingerprint of a graph: what it was when a run was stored. ``changes.py`` compares two of them.

A node's fingerprint covers the code that is loaded: bytecode, constants, names, nested code and default values, through
partials, bound methods, wrappers and callable instances. Helpers that it calls, globals, closures and data are *not*
covered, unless they are named in ``depends_on``.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Iterable
from enum import Enum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from tau.errors import GraphError
from tau.graph import code_digest
from tau.graph.bound_fields import bound_fields, member_fields
from tau.graph.code_digest import Digest
from tau.graph.digesting import Opaque
from tau.graph.loaded_names import first_module, full_name, home

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class LaterRule(Struct, frozen=True, array_like=True):
    """What counts by a later rule beside all else: the number of that rule, and digests by name."""

    rule: int
    bound: dict[str, str] = {}


class CodeFingerprint(Struct, frozen=True, array_like=True):
    """Digests of one piece of code: ``bytecode`` compares under one Python minor version, ``ast`` under all.

    ``bytecode`` is empty where there is none (C functions; modules go by their source), ``ast`` is ``None`` for
    lambdas and where the source was not at hand. Both are by the first rule (see `code_digest`); ``rule`` is the one
    by which the rest was made: ``now``, the same two where that rule gives others, ``bound``, the digests of the
    plain fields of objects that are bound to it, and ``name``, what a dependency is called however it was loaded.
    ``later`` is what a rule after that counts beside; an older version that does not know it compares the rest.
    """

    python: str
    bytecode: str
    ast: str | None = None
    rule: int = 1
    now: tuple[str, str | None] | None = None
    bound: dict[str, str] = {}
    name: str = ""
    later: LaterRule | None = None

    @property
    def digests(self) -> tuple[str, str | None]:
        """By bytecode and by syntax tree, by the rule of its day."""
        return self.now or (self.bytecode, self.ast)


class NodeFingerprint(Struct, frozen=True, array_like=True):
    """What a node was when it was added: its code, the ``version`` given for it, and what it depends on, by name."""

    code: CodeFingerprint
    version: str | None = None
    depends: dict[str, CodeFingerprint] = {}

    @property
    def opaque(self) -> bool:
        """There is neither code nor a version to tell one from another."""
        return self.version is None and not self.code.digests[0]


class EdgeFingerprint(Struct, frozen=True, array_like=True):
    """An edge; ``predicate`` is ``None`` when it is unconditional, or one of a ``route``, whose answer is its name."""

    source: str
    target: str
    name: str = ""
    predicate: CodeFingerprint | None = None
    route: NodeFingerprint | None = None


class GraphFingerprint(Struct, frozen=True, array_like=True):
    """A whole graph, small enough to be kept in every run's log. ``edges`` are in the order in which they are tried.
    ``schema`` has a digest for each field of the schema, of what decides which values fit; ``None`` without one.
    ``inner`` are the graphs of which nodes consist, by node."""

    name: str
    nodes: dict[str, NodeFingerprint]
    edges: tuple[EdgeFingerprint, ...]
    entry: str | None
    exits: tuple[str, ...]
    python: str = PYTHON
    schema: dict[str, str] | None = None
    inner: dict[str, InnerFingerprint] = {}


class BranchFingerprint(Struct, frozen=True, array_like=True):
    """A graph inside a node, and the keys that it hands up."""

    name: str
    graph: GraphFingerprint
    outputs: tuple[str, ...] | None = None


class InnerFingerprint(Struct, frozen=True, array_like=True):
    """What a node consists of, and how what the branches set is joined."""

    branches: tuple[BranchFingerprint, ...]
    merge: dict[str, str | CodeFingerprint] = {}


_NOTHING_MORE = LaterRule(code_digest.LATER_RULE)


def of_code(function: Any, *, trees: bool = True) -> CodeFingerprint:
    """The fingerprint of a callable; with an empty ``bytecode`` where it has no code that can be looked at.

    Without ``trees`` no source is parsed, which is most of the work.
    """
    try:
        return _of_code(function, "", trees)
    except Opaque:
        return CodeFingerprint(PYTHON, "", rule=code_digest.RULE)


def of_called(function: Any) -> CodeFingerprint:
    """The fingerprint of a function that a node gives to what calls it: of its code alone, as what is bound to it may
    be made anew by every attempt."""
    while isinstance(function, functools.partial | types.MethodType):
        function = function.func if isinstance(function, functools.partial) else function.__func__
    try:
        return _made(code_digest.by_bytecode(function, {}), code_digest.by_syntax(function), "")
    except Opaque:
        return CodeFingerprint(PYTHON, "", rule=code_digest.RULE)


def _of_code(function: Any, name: str, trees: bool) -> CodeFingerprint:
    members: dict[int, Enum] = {}
    digest = functools.partial(code_digest.of_value, members=members)
    code = code_digest.by_bytecode(function, members)
    tree = code_digest.by_syntax(function) if trees else Digest(None, None)
    fields = bound_fields(function, digest)
    later = fields.third | member_fields(members, digest) if members else fields.third
    return _made(code, tree, name, fields.second, later)


def _made(
    code: Digest, tree: Digest, name: str, fields: dict[str, str] | None = None, later: dict[str, str] | None = None
) -> CodeFingerprint:
    now, first = (code.now or "", tree.now), (code.first or "", tree.first)
    return CodeFingerprint(
        PYTHON,
        *first,
        rule=code_digest.RULE,
        now=None if now == first else now,
        bound=fields or {},
        name=name,
        later=LaterRule(code_digest.LATER_RULE, later) if later else _NOTHING_MORE,
    )


def of_node(
    function: Any, version: str | None = None, depends_on: Iterable[Any] = (), *, trees: bool = True
) -> NodeFingerprint:
    """The fingerprint of a node. Raises `GraphError` for something in ``depends_on`` that cannot be looked at."""
    return NodeFingerprint(of_code(function, trees=trees), version, _dependencies([*depends_on], home(function), trees))


def as_added(function: Any, quick: NodeFingerprint, depends_on: Iterable[Any]) -> NodeFingerprint:
    """What a function was when it was added, of which ``quick`` was taken then, without syntax trees; with them now,
    unless it has changed since."""
    found = of_node(function, quick.version, depends_on)
    return found if alike_but_for_trees(found, quick) else quick


def alike_but_for_trees(one: NodeFingerprint, other: NodeFingerprint) -> bool:
    """Whether two fingerprints are equal where trees are left aside."""
    if one.version != other.version or one.depends.keys() != other.depends.keys():
        return False
    pairs = [(one.code, other.code), *((code, other.depends[name]) for name, code in one.depends.items())]
    return all(code_alike_but_for_trees(code, another) for code, another in pairs)


def code_alike_but_for_trees(one: CodeFingerprint | None, other: CodeFingerprint | None) -> bool:
    """As `alike_but_for_trees`; the tree of a module is all there is of it."""
    if one is None or other is None:
        return one is other
    return _without_tree(one) == _without_tree(other)


def _without_tree(code: CodeFingerprint) -> tuple[Any, ...]:
    bytecode, tree = code.digests
    return (
        code.python,
        code.rule,
        code.bytecode,
        bytecode,
        tree if not bytecode else None,
        code.bound,
        code.name,
        code.later,
    )


def by_later_rule(old: NodeFingerprint, new: NodeFingerprint) -> NodeFingerprint:
    """An older fingerprint with what only a later rule counts, so that what is alike needs no tree of its own."""
    depends = {
        name: code_by_later_rule(code, new.depends[name]) if name in new.depends else code
        for name, code in old.depends.items()
    }
    return replace(old, code=code_by_later_rule(old.code, new.code), depends=depends)


def code_by_later_rule(old: CodeFingerprint, new: CodeFingerprint) -> CodeFingerprint:
    """As `by_later_rule`, of one piece of code; as it is where it is not by the rule that came before."""
    return replace(old, later=new.later) if old.rule == new.rule and old.later is None else old


def _dependencies(items: list[Any], near: str, trees: bool) -> dict[str, CodeFingerprint]:
    """By the names that they were loaded under. Those that share a name are one, whatever their order."""
    once = list({id(item): item for item in items}.values())
    names = [_short_name(item) for item in once]
    found: dict[str, list[CodeFingerprint]] = {}
    for item, name in zip(once, names, strict=True):
        key, code = _dependency(item, name if names.count(name) == 1 else full_name(item, near), trees)
        found.setdefault(key, []).append(code)
    return {key: _together(codes) for key, codes in found.items()}


def _dependency(item: Any, name: str, trees: bool) -> tuple[str, CodeFingerprint]:
    try:
        if isinstance(item, types.ModuleType):
            return item.__name__, _made(Digest("", ""), code_digest.of_module(item), name)
        if callable(item):
            return f"{first_module(item)}.{_short_name(item)}", _of_code(item, name, trees)
    except Opaque as error:
        raise GraphError(f"depends_on: {error}, so a change of it could not be seen; use version= instead") from error
    raise GraphError(f"depends_on: expected functions, classes or modules, found {type(item).__name__}: {item!r:.80}")


def _short_name(item: Any) -> str:
    if isinstance(item, types.ModuleType):
        return full_name(item, "").rpartition(".")[2]
    name: str = getattr(item, "__qualname__", type(item).__qualname__)
    return name


def _together(codes: list[CodeFingerprint]) -> CodeFingerprint:
    """The last one, as the first rule has it; by the rule of now, all of them."""
    if len(codes) == 1:
        return codes[0]
    trees = [code.digests[1] for code in codes]
    now = (
        code_digest.of_value({code.digests[0] for code in codes}),
        None if None in trees else code_digest.of_value({*trees}),
    )
    fields = _numbered(code.bound for code in codes)
    later = _numbered(code.later.bound if code.later else {} for code in codes)
    return replace(codes[-1], now=now, bound=fields, later=LaterRule(code_digest.LATER_RULE, later))


def _numbered(fields: Iterable[dict[str, str]]) -> dict[str, str]:
    return {f"{path} ({number})": one for number, each in enumerate(fields) for path, one in each.items()}
