"""The digest of a syntax tree: the same under all Python versions, but it needs the source.

The source must be that of the code that is loaded, which is checked by compiling it and comparing.
"""

from __future__ import annotations
import __future__

import ast
import functools
import linecache
import sys
import types
import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from tau.graph.bytecode_digest import bytecode_digest, unit_free_digest
from tau.graph.digesting import Opaque, constant, hashed

_trees: WeakKeyDictionary[types.CodeType, bytes] = WeakKeyDictionary()
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def syntax_digest(function: types.FunctionType, code: types.CodeType) -> bytes:
    """Of the function's ``code`` as `loaded_source` gives it. Raises `Opaque` without a source that compiles to it."""
    known = _trees.get(code)  # once a source was seen to compile to this code, later edits of the file do not matter
    if known is None:
        known = _trees[code] = _find_tree(function, code)
    return known


def _find_tree(function: types.FunctionType, code: types.CodeType) -> bytes:
    if code.co_name == "<lambda>":
        raise Opaque("lambdas go by bytecode")
    source = _source(function)
    if not source:
        raise Opaque(f"the source of {function.__qualname__} is not at hand")
    compiled, nodes = _functions(code.co_filename, source, code.co_flags & _FUTURE_FLAGS)
    place = (code.co_name, code.co_firstlineno)
    for candidate in compiled.get(place, ()):
        # The file may have been edited since the code was loaded: only a source that compiles to this code will do.
        if place in nodes and _same(candidate, code):
            return hashed("tree", _tree(_bare(nodes[place])))
    raise Opaque(f"the source of {function.__qualname__} is not the code that is loaded")


def _same(candidate: types.CodeType, code: types.CodeType) -> bool:
    return bytecode_digest(candidate) == bytecode_digest(code) or unit_free_digest(candidate) == unit_free_digest(code)


def _source(function: types.FunctionType) -> str:
    name = function.__code__.co_filename
    linecache.checkcache(name)
    return "".join(linecache.getlines(name, function.__globals__))


def loaded_source(function: types.FunctionType) -> types.CodeType:
    """The code of a function as its source says, also where pytest has put its own into the assertions."""
    code = function.__code__
    rewrite = sys.modules.get("_pytest.assertion.rewrite")
    loader = function.__globals__.get("__loader__")
    if rewrite is None or not isinstance(loader, rewrite.AssertionRewritingHook):
        return code
    plain, _ = _functions(code.co_filename, source := _source(function), code.co_flags & _FUTURE_FLAGS)
    place = (code.co_name, code.co_firstlineno)
    written = _rewritten(code.co_filename, source, loader)
    for as_written, as_loaded in zip(plain.get(place, ()), written.get(place, ()), strict=False):
        if bytecode_digest(as_loaded) == bytecode_digest(code) != bytecode_digest(as_written):
            return as_written
    return code


_Codes = dict[tuple[str, int], list[types.CodeType]]


@functools.lru_cache(maxsize=8)
def _rewritten(filename: str, source: str, loader: Any) -> _Codes:
    """The code objects of all functions of a test file, with its assertions as pytest has rewritten them."""
    rewrite: Any = sys.modules["_pytest.assertion.rewrite"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = _parsed(source)
            rewrite.rewrite_asserts(tree, source.encode(), filename, loader.config)
            return _by_place(compile(tree, filename, "exec", dont_inherit=True))
    except Exception:  # another version of pytest may do it in another way
        return {}


_FUTURE_FLAGS = __future__.annotations.compiler_flag

_Places = tuple[_Codes, dict[tuple[str, int], _Function]]


@functools.lru_cache(maxsize=8)
def _functions(filename: str, source: str, flags: int) -> _Places:
    """The code objects and the syntax trees of all functions of a source, by name and first line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = _parsed(source)
            module = compile(source, filename, "exec", flags=flags, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return {}, {}
    nodes = {
        (node.name, min([node.lineno, *(one.lineno for one in node.decorator_list)])): node
        for node in ast.walk(tree)
        if isinstance(node, _Function)
    }
    return _by_place(module), nodes


def _by_place(module: types.CodeType) -> _Codes:
    found: _Codes = {}
    for code in _nested(module):
        found.setdefault((code.co_name, code.co_firstlineno), []).append(code)
    return found


def _nested(code: types.CodeType) -> Iterable[types.CodeType]:
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield inner
            yield from _nested(inner)


def _bare(function: _Function) -> ast.AST:
    """The function without what its code does not hold: name, decorators, defaults and annotations.

    Default values are counted as values, decorators by the wrappers that they leave behind.
    """
    arguments = function.args
    plain = [arguments.posonlyargs, arguments.args, arguments.kwonlyargs]
    names = [ast.List([ast.Constant(one.arg) for one in group]) for group in plain]
    names += [ast.List([ast.Constant(one.arg if one else None)]) for one in (arguments.vararg, arguments.kwarg)]
    kind = ast.Constant(type(function).__name__)
    return ast.List([kind, *names, ast.List(_without_docstring(function).body)])


def _without_docstring(node: Any) -> Any:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return type(node)(**{**dict(ast.iter_fields(node)), "body": node.body[1:]})
    return node


_IGNORED_FIELDS = frozenset({"ctx", "type_comment", "kind", "type_ignores"})


def _tree(node: Any) -> bytes:
    """The digest of a tree: only fields that hold something, so that fields new in later Pythons do not show."""
    if isinstance(node, ast.AST):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            node = _without_docstring(node)
        parts = []
        for name, value in sorted(ast.iter_fields(node)):
            if name not in _IGNORED_FIELDS and value is not None and value != []:
                parts += [name.encode(), _tree(value)]
        return hashed(type(node).__name__, *parts)
    if isinstance(node, list):
        return hashed("list", *map(_tree, node))
    return constant(node, bytecode_digest)


def module_digest(module: types.ModuleType) -> str:
    """The digest of a module's source, of a package's all Python files below it. Raises `Opaque` without any."""
    found = getattr(module, "__file__", None)
    if found is None:
        raise Opaque(f"module {module.__name__} has no file")
    path = Path(found)
    files = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
    try:
        return hashed("module", *(_file_digest(file, path.parent) for file in files)).hex()
    except OSError as error:
        raise Opaque(f"module {module.__name__} cannot be read: {error}") from error


def _parsed(source: str | bytes) -> ast.Module:
    """As `ast.parse`, which CPython 3.11 lets fail now and then while another thread parses, too."""
    for _ in range(3):
        with suppress(SystemError):
            return ast.parse(source)
    return ast.parse(source)


def _file_digest(file: Path, root: Path) -> bytes:
    name = file.relative_to(root).as_posix()
    data = file.read_bytes()
    if file.suffix == ".py":
        try:
            return hashed(name, _tree(_without_docstring(_parsed(data))))
        except (SyntaxError, ValueError):
            pass  # a template, say, that is no Python yet: its bytes then
    return hashed(name, data)
