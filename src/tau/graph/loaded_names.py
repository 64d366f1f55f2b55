"""What things are called in a digest: the same however the file that they are in was loaded.

One file may be a script (``__main__``), a module of its own, one of a package, or a target of the command; and the
parts of a library may move. A file of a program goes by its path within its package, the standard library and tau go
by their own names alone.
"""

from __future__ import annotations

import functools
import os
import sys
import types
from typing import Any

# Where the first rule has what a program can bind to a node and now lies elsewhere.
_FIRST_PLACES = {
    "AdaptedStore": "tau.stores.adapter", "Artifact": "tau.values.artifacts", "Checkpoint": "tau.history",
    "Context": "tau.context", "Edge": "tau.nodes", "FileStore": "tau.stores.file", "Graph": "tau.graph",
    "Node": "tau.nodes", "ResumePlan": "tau.history", "SQLiteStore": "tau.stores.sqlite", "StateGraph": "tau.run",
    "Stop": "tau.stopping",
}  # fmt: skip


def first_module(thing: Any) -> str:
    """The module of a class, function or object by the first rule."""
    module = getattr(thing, "__module__", None) or type(thing).__module__
    name = getattr(thing, "__qualname__", "")
    return _FIRST_PLACES.get(name, module) if is_own(thing) else module


def is_own(thing: Any) -> bool:
    """Whether a function, class or module is one of tau's."""
    name = thing.__name__ if isinstance(thing, types.ModuleType) else getattr(thing, "__module__", None)
    return isinstance(name, str) and name.partition(".")[0] == "tau"


def home(function: Any) -> str:
    """The module that a callable was loaded in, whatever wraps it."""
    while isinstance(function, functools.partial):
        function = function.func
    module = getattr(function, "__module__", None) or type(function).__module__
    return module if isinstance(module, str) else ""


def full_name(thing: Any, near: str) -> str:
    """The name of a class, module or function in C; beginning with a dot where it is of the module ``near``."""
    if isinstance(thing, types.ModuleType):
        return f"tau.{thing.__name__.rpartition('.')[2]}" if is_own(thing) else place(thing.__name__)
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None) or type(thing).__qualname__
    module = getattr(thing, "__module__", None) or type(thing).__module__
    return f".{name}" if module == near else f"{place(str(module))}.{name}"


def place(module: str) -> str:
    """Where a module lies, whatever it was loaded as."""
    top = module.partition(".")[0]
    if top == "tau" or top in sys.stdlib_module_names:
        return top
    file = getattr(sys.modules.get(module), "__file__", None)
    return _path_in_package(file) if isinstance(file, str) else module


@functools.lru_cache(maxsize=256)
def _path_in_package(file: str) -> str:
    folder, name = os.path.split(os.path.abspath(file))
    parts = [name.partition(".")[0]]
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, name = os.path.split(folder)
        parts.insert(0, name)
    return ".".join(part for part in parts if part != "__init__")
