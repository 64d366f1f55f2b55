"""Digests of code and of the data bound to it, equal in every process that has loaded the same code.

Two roads lead to a digest. By *bytecode*: what the interpreter runs, exact, but another under each Python minor
version. By *syntax tree*: the same under all of them, but it needs the source, and the source must be that of the code
that is loaded, which is checked by compiling it and comparing. Neither depends on line numbers, file names, comments,
docstrings, the name of the function itself, or the seed of Python's hashing. Formatting never shows in a tree; in the
bytecode it can, rarely, since where a line ends decides how the compiler lays out its jumps.
"""

from __future__ import annotations
import __future__

import ast
import dataclasses
import dis
import functools
import hashlib
import inspect
import linecache
import types
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from tau.predicates import Predicate


class Opaque(Exception):
    """There is no code to look at on this road; its text says of what."""


def by_bytecode(function: Any) -> str:
    """The digest of what the interpreter runs. Raises `Opaque` for functions written in C."""
    return _Walk(_code_digest).callable(function).hex()


def by_syntax(function: Any) -> str | None:
    """The digest of the syntax tree; ``None`` for lambdas and wherever the source is not at hand or not the same."""
    try:
        return _Walk(_syntax_digest).callable(function).hex()
    except Opaque:
        return None


def of_module(module: types.ModuleType) -> str:
    """The digest of a module's source, of a package's all Python files below it. Raises `Opaque` without any."""
    found = getattr(module, "__file__", None)
    if found is None:
        raise Opaque(f"module {module.__name__} has no file")
    path = Path(found)
    files = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
    try:
        return _hash("module", *(_file_digest(file, path.parent) for file in files)).hex()
    except OSError as error:
        raise Opaque(f"module {module.__name__} cannot be read: {error}") from error


def _file_digest(file: Path, root: Path) -> bytes:
    name = file.relative_to(root).as_posix()
    data = file.read_bytes()
    if file.suffix == ".py":
        try:
            return _hash(name, _tree(_without_docstring(ast.parse(data))))
        except (SyntaxError, ValueError):
            pass  # a template, say, that is no Python yet: its bytes then
    return _hash(name, data)


def _hash(tag: str, *parts: bytes) -> bytes:
    state = hashlib.blake2b(tag.encode(errors="surrogatepass"), digest_size=16)
    for part in parts:
        state.update(len(part).to_bytes(8, "big") + part)
    return state.digest()


# Callables and the data bound to them

_EXACT_REPR = (Decimal, Fraction, UUID, PurePath, date, datetime, time, timedelta, range, complex)
_MAX_DEPTH = 100


class _Walk:
    """One walk over a callable and everything bound to it; ``code`` digests the functions met."""

    def __init__(self, code: Callable[[types.FunctionType], bytes]) -> None:
        self.code = code
        self.open: set[int] = set()

    def callable(self, function: Any) -> bytes:
        """The digest of a callable. Raises `Opaque` where there is no code."""
        if id(function) in self.open or len(self.open) > _MAX_DEPTH:
            return _hash("recursion")
        self.open.add(id(function))
        try:
            return self._callable(function)
        finally:
            self.open.discard(id(function))

    def _callable(self, function: Any) -> bytes:  # noqa: PLR0911
        if isinstance(function, Predicate):
            return _hash("predicate", *map(self.value, function.describe()))
        if isinstance(function, functools.partial):
            bound = (function.args, sorted(function.keywords.items()))
            return _hash("partial", self.callable(function.func), self.value(bound))
        if isinstance(function, types.MethodType):
            return _hash("method", self.callable(function.__func__), self._instance(function.__self__))
        if isinstance(function, types.FunctionType):
            return self._function(function)
        if isinstance(function, type):
            return self._class(function)
        if callable(getattr(function, "__wrapped__", None)):  # lru_cache, staticmethod and their like
            return _hash("wrapper", self.callable(function.__wrapped__))
        call = getattr(type(function), "__call__", None)  # noqa: B004
        if isinstance(call, types.FunctionType):
            return _hash("instance", self.callable(call), self._instance(function))
        raise Opaque(f"{getattr(function, '__qualname__', type(function).__qualname__)} is not written in Python")

    def _function(self, function: types.FunctionType) -> bytes:
        keywords = sorted((function.__kwdefaults__ or {}).items())
        parts = [self.code(function), self.value(function.__defaults__), self.value(keywords)]
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is not None:
            parts.append(self.value(wrapped))
        return _hash("function", *parts)

    def _class(self, cls: type) -> bytes:
        """A class by its own body: methods, and attributes that are plain data. Its bases are not covered."""
        body = {name: item for name, item in vars(cls).items() if not name.startswith("__") or _is_method(item)}
        if not any(map(_is_method, body.values())):
            raise Opaque(f"class {cls.__qualname__} has no methods of its own that are written in Python")
        parts = []
        for name in sorted(body.keys() - {"__annotate__", "__annotate_func__"}):
            item = body[name]
            parts.append(
                self.value([name, item.fget, item.fset, item.fdel] if isinstance(item, property) else [name, item])
            )
        return _hash("class", *parts)

    def _instance(self, instance: Any) -> bytes:
        """The data of a callable object counts only where it cannot change: in a frozen dataclass."""
        params = getattr(type(instance), "__dataclass_params__", None)
        if params is None or not params.frozen or isinstance(instance, type):
            return b""
        return self.value([getattr(instance, one.name) for one in dataclasses.fields(instance)])

    def value(self, value: Any) -> bytes:
        """The digest of a value bound to code. Of objects that are neither plain data nor code, their type."""
        if id(value) in self.open or len(self.open) > _MAX_DEPTH:
            return _hash("recursion")
        if isinstance(value, types.CodeType):
            return _bytecode(value)
        kind = type(value)
        if value is None or value is Ellipsis or kind in (bool, int, str, bytes, float) or kind in _EXACT_REPR:
            return _hash(kind.__name__, _scalar(value))
        if isinstance(value, PurePath):
            return _hash("path", str(value).encode(errors="surrogatepass"))
        if isinstance(value, Enum):
            return _hash("enum", f"{kind.__qualname__}.{value.name}".encode())
        self.open.add(id(value))
        try:
            return self._compound(value)
        finally:
            self.open.discard(id(value))

    def _compound(self, value: Any) -> bytes:  # noqa: PLR0911
        kind = type(value)
        if isinstance(value, (list, tuple)):
            return _hash(kind.__name__, *map(self.value, value))
        if isinstance(value, (set, frozenset)):
            return _hash(kind.__name__, *sorted(map(self.value, value)))
        if isinstance(value, Mapping):
            return _hash("mapping", *sorted(self.value(key) + self.value(item) for key, item in value.items()))
        if isinstance(value, slice):
            return _hash("slice", *map(self.value, (value.start, value.stop, value.step)))
        if isinstance(value, (type, types.ModuleType)):
            return _hash("named", f"{getattr(value, '__module__', '')}.{value.__name__}".encode())
        if callable(value) or isinstance(value, (staticmethod, classmethod)):
            self.open.discard(id(value))
            try:
                return self.callable(value)
            except Opaque:
                if self.code is _syntax_digest and _has_code(value):
                    raise
                return _hash("opaque", getattr(value, "__qualname__", kind.__qualname__).encode())
        if hasattr(value, "dtype") and hasattr(value, "tobytes") and not getattr(value.dtype, "hasobject", True):
            return _hash("array", f"{value.dtype}{getattr(value, 'shape', '')}".encode(), value.tobytes())
        return _hash("object", f"{kind.__module__}.{kind.__qualname__}".encode(), self._instance(value))


def _is_method(item: Any) -> bool:
    return isinstance(item, (types.FunctionType, property, staticmethod, classmethod))


def _has_code(function: Any) -> bool:
    try:
        by_bytecode(function)
    except Opaque:
        return False
    return True


def _scalar(value: Any) -> bytes:
    if isinstance(value, int):  # repr() refuses integers of more than 4,300 digits
        return hex(value).encode()
    return repr(value).encode()


# By bytecode

_digests: WeakKeyDictionary[types.CodeType, bytes] = WeakKeyDictionary()
_SKIPPED = frozenset({"NOP", "CACHE", "EXTENDED_ARG"})
# What the body of a nested class stores under these names depends on where it stands, not on what it does.
_PLACE_NAMES = frozenset({"__qualname__", "__firstlineno__", "__static_attributes__", "__doc__"})
_JUMPS = frozenset(dis.hasjabs) | frozenset(dis.hasjrel)
_FLAGS = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE


def _code_digest(function: types.FunctionType) -> bytes:
    return _bytecode(function.__code__)


def _bytecode(code: types.CodeType) -> bytes:
    known = _digests.get(code)
    if known is None:
        known = _digests[code] = _hash("code", *_code_parts(code))
    return known


def _code_parts(code: types.CodeType) -> Iterator[bytes]:
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & _FLAGS)
    yield repr((counts, code.co_varnames[: sum(counts[:3:2])], code.co_freevars)).encode()
    kept = _meant(code)
    offsets = [one.offset for one in kept]
    walk = _Walk(_code_digest)
    for one in kept:
        yield one.opname.encode()
        yield _argument(one, offsets, walk)
    for start, end, target, depth in _handlers(code.co_exceptiontable):
        yield repr((_index(offsets, start), _index(offsets, end), _index(offsets, target), depth)).encode()


def _meant(code: types.CodeType) -> list[dis.Instruction]:
    """The instructions without those that formatting, docstrings or the place of the code put in.

    They shift offsets, which is why jumps are counted in the instructions kept.
    """
    kept: list[dis.Instruction] = []
    for one in dis.get_instructions(code):
        if one.opname == "STORE_NAME" and one.argval in _PLACE_NAMES and kept:
            kept.pop()
        elif one.opname not in _SKIPPED:
            kept.append(one)
    return kept


def _argument(one: dis.Instruction, offsets: list[int], walk: _Walk) -> bytes:
    if one.opcode in _JUMPS:
        return str(_index(offsets, one.argval)).encode()
    if one.opcode in dis.hasconst:
        return walk.value(one.argval)
    if isinstance(one.argval, (str, tuple)):
        return repr(one.argval).encode()
    return repr(one.arg).encode()


def _index(offsets: list[int], offset: int) -> int:
    return bisect_left(offsets, offset)


def _handlers(table: bytes) -> Iterator[tuple[int, int, int, int]]:
    """The entries (start, end, target, depth and lasti) of a code object's exception table, in bytes.

    The encoding is described in CPython's ``Objects/exception_handling_notes.txt``.
    """
    numbers = _varints(table)
    for start in numbers:
        length, target, depth = next(numbers), next(numbers), next(numbers)
        yield start * 2, (start + length) * 2, target * 2, depth


def _varints(table: bytes) -> Iterator[int]:
    number = 0
    for byte in table:
        number = (number << 6) | (byte & 63)
        if not byte & 64:
            yield number
            number = 0


# By syntax tree

_trees: WeakKeyDictionary[types.CodeType, bytes] = WeakKeyDictionary()
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _syntax_digest(function: types.FunctionType) -> bytes:
    code = function.__code__
    known = _trees.get(code)  # once a source was seen to compile to this code, later edits of the file do not matter
    if known is None:
        known = _trees[code] = _find_tree(function, code)
    return known


def _find_tree(function: types.FunctionType, code: types.CodeType) -> bytes:
    if code.co_name == "<lambda>":
        raise Opaque("lambdas go by bytecode")
    linecache.checkcache(code.co_filename)
    source = "".join(linecache.getlines(code.co_filename, function.__globals__))
    if not source:
        raise Opaque(f"the source of {function.__qualname__} is not at hand")
    flags = code.co_flags & _FUTURE_FLAGS
    compiled, nodes = _functions(code.co_filename, source, flags)
    place = (code.co_name, code.co_firstlineno)
    for candidate in compiled.get(place, ()):
        # The file may have been edited since the code was loaded: only a source that compiles to this code will do.
        if place in nodes and _bytecode(candidate) == _bytecode(code):
            return _hash("tree", _tree(_bare(nodes[place])))
    raise Opaque(f"the source of {function.__qualname__} is not the code that is loaded")


_FUTURE_FLAGS = __future__.annotations.compiler_flag

_Places = tuple[dict[tuple[str, int], list[types.CodeType]], dict[tuple[str, int], _Function]]


@functools.lru_cache(maxsize=8)
def _functions(filename: str, source: str, flags: int) -> _Places:
    """The code objects and the syntax trees of all functions of a source, by name and first line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
            module = compile(source, filename, "exec", flags=flags, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return {}, {}
    compiled: dict[tuple[str, int], list[types.CodeType]] = {}
    for code in _nested(module):
        compiled.setdefault((code.co_name, code.co_firstlineno), []).append(code)
    nodes = {
        (node.name, min([node.lineno, *(one.lineno for one in node.decorator_list)])): node
        for node in ast.walk(tree)
        if isinstance(node, _Function)
    }
    return compiled, nodes


def _nested(code: types.CodeType) -> Iterable[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _nested(constant)


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
        return _hash(type(node).__name__, *parts)
    if isinstance(node, list):
        return _hash("list", *map(_tree, node))
    return _Walk(_code_digest).value(node)
