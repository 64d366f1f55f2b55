"""From what the user names to a graph: ``FILE.py:graph``, ``package.module:graph``, or a name from pyproject.toml.

What is imported here is named by the user, on the command line or in the pyproject.toml of the working directory.
Nothing that a store holds ever decides what is imported.
"""

from __future__ import annotations

import inspect
import os
import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from msgspec import Struct

from tau.cli.output.frames import where
from tau.errors import ConfigError
from tau.importing import RunRefusedError, importing
from tau.spelling import did_you_mean
from tau.state_graph import StateGraph

T = TypeVar("T")

FORMS = "FILE.py:GRAPH, package.module:GRAPH, or a name from [tool.tau.graphs] in pyproject.toml"


class Project(Struct, frozen=True):
    """What the pyproject.toml of the working directory says: named graphs, and the store."""

    graphs: dict[str, str] = {}
    store: str = ""


def read_project() -> Project:
    """See `Project`; empty where there is no such file or table. Raises `ConfigError`."""
    try:
        with open("pyproject.toml", "rb") as file:
            found = tomllib.load(file)
    except FileNotFoundError:
        return Project()
    except (OSError, ValueError) as error:
        raise ConfigError(f"pyproject.toml cannot be read: {error}; correct it") from error
    tool = found.get("tool", {})
    table = tool.get("tau", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise ConfigError("pyproject.toml: tool.tau is not a table; write [tool.tau]")
    unknown = table.keys() - {"graphs", "store"}
    if unknown:
        near = did_you_mean(min(unknown), ("graphs", "store"))
        raise ConfigError(
            f"pyproject.toml: tool.tau.{min(unknown)} is unknown{near}; there are tool.tau.graphs and .store"
        )
    graphs, store = table.get("graphs", {}), table.get("store", "")
    if not isinstance(store, str):
        raise ConfigError(f"pyproject.toml: tool.tau.store must be a string, a store URL, found {type(store).__name__}")
    if not isinstance(graphs, dict) or not all(isinstance(target, str) for target in graphs.values()):
        raise ConfigError('pyproject.toml: tool.tau.graphs maps names to strings: climate = "pipeline.py:graph"')
    return Project(graphs, store)


def load_graph(target: str, project: Project) -> StateGraph:
    """The graph that is meant. Raises `ConfigError` saying what was found and how to name it."""
    target = project.graphs.get(target, target)
    place, colon, attribute = target.rpartition(":")
    if not colon or not place or not attribute:
        raise ConfigError(_no_target(target, place or attribute, project))
    is_file = place.endswith(".py") or os.sep in place
    module = _import_file(place) if is_file else _import_module(place)
    return _graph_in(module, place, attribute)


def _no_target(target: str, place: str, project: Project) -> str:
    if place.endswith(".py") and os.path.isfile(place):
        return f"{target!r} names a file but not a graph; write {_suggestion(place)}"
    named = f"; pyproject.toml names {', '.join(sorted(project.graphs))}" if project.graphs else ""
    return f"{target!r} names no graph{did_you_mean(target, project.graphs)}; the forms are {FORMS}{named}"


def _suggestion(place: str) -> str:
    graphs = _graphs_in(_import_file(place))
    return " or ".join(f"{place}:{name}" for name in graphs) if graphs else f"{place}:GRAPH"


def _import_file(place: str) -> ModuleType:
    path = Path(place).absolute()
    if path.suffix != ".py":
        raise ConfigError(f"{place!r} does not end in .py; the forms are {FORMS}")
    if not path.is_file():
        raise ConfigError(f"no such file: {place} (from {os.getcwd()}); check the path")
    sys.path.insert(0, str(path.parent))
    # Not the name of a module that is in use already, as a file called click.py would have.
    name = path.stem if path.stem not in sys.modules else f"{path.stem}__target"
    loader = _FromSource(name, str(path))
    spec = spec_from_file_location(name, path, loader=loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    _guarded(f"importing {place}", lambda: loader.exec_module(module))
    return module


class _FromSource(SourceFileLoader):
    """Reads the file itself, as ``python FILE`` does: a cache that is judged by second and size misses a quick edit."""

    def path_stats(self, path: Any) -> Any:
        raise OSError(f"no compiled copy of {path} is asked for")


def _import_module(place: str) -> ModuleType:
    if not all(part.isidentifier() for part in place.split(".")):
        raise ConfigError(
            f"{place!r} is neither a file that ends in .py nor the name of a module; the forms are {FORMS}"
        )
    sys.path.insert(0, os.getcwd())
    module: ModuleType = _guarded(f"importing {place}", lambda: import_module(place), missing=place)
    return module


def _guarded(doing: str, call: Callable[[], T], missing: str = "") -> T:
    """What ``call`` gives; whatever it raises becomes a `ConfigError` that says where."""
    try:
        with importing(doing, "and the command runs only what it is told to"):
            return call()
    except RunRefusedError as error:
        raise ConfigError(f"{error} (at {where(error)})") from None
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and missing and f"{missing}.".startswith(f"{error.name}."):
            raise ConfigError(
                f"no such module: {missing} (no {error.name!r} in {os.getcwd()} nor among the installed packages); "
                "check the name, or name a file: FILE.py:GRAPH"
            ) from None
        hint = ""
        if isinstance(error, ImportError) and "relative import" in str(error):
            hint = "; a file of a package is named by its module: package.module:GRAPH"
        place = where(error)
        raise ConfigError(f"{doing} raised {_named(error)}" + (f", at {place}" if place else "") + hint) from error


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _graph_in(module: ModuleType, place: str, attribute: str) -> StateGraph:
    found: Any = module
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            graphs = _graphs_in(module)
            named = f"it has the graph{'s' * (len(graphs) > 1)} {', '.join(graphs)}"
            have = named if graphs else "there is no StateGraph in it"
            raise ConfigError(f"{place} has no {attribute!r}{did_you_mean(attribute, graphs)}; {have}") from None
    if isinstance(found, StateGraph):
        return found
    if callable(found):
        _check_needs_nothing(found, f"{place}:{attribute}")
        made = _guarded(f"calling {place}:{attribute}()", found)
        if isinstance(made, StateGraph):
            return made
        raise ConfigError(f"{place}:{attribute}() returned {type(made).__name__}; it must return a StateGraph")
    raise ConfigError(
        f"{place}:{attribute} is of type {type(found).__name__}; name a StateGraph, or a function without "
        "parameters that returns one"
    )


def _check_needs_nothing(function: Callable[..., Any], name: str) -> None:
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise ConfigError(
            f"{name}() cannot be called without arguments: {error}; name a function without parameters that returns a "
            "StateGraph"
        ) from None
    except ValueError:  # no signature to be seen
        return


def _graphs_in(module: ModuleType) -> list[str]:
    return sorted(name for name, value in vars(module).items() if isinstance(value, StateGraph))
