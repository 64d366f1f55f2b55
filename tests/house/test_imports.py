"""Imports go one way (docs/design.md, section 8), and `import tau` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

import pytest
from house_source import MODULES, imports, tree, walk

# From the ground up. A name stands for a file, or for a package and all below it; the longest name that fits decides.
# A module may import its own layer and those before it in this list, at import or later.
LAYERS = (
    "version",
    "platforms",
    "other_words",
    "errors",
    "importing",
    "signals",
    "forks",
    "waiting",
    "late_imports",
    "spelling",
    "redaction",
    "events",
    "values",
    "schema",
    "html",
    "stores.summaries",
    "stores.due",
    "stores.contract",
    "host",
    "stores",
    "state_names",
    "state",
    "snapshots",
    "state_changes",
    "predicates",
    "checks",
    "replaceable",
    "config",
    "graph",
    "log",
    "node",
    "executors",
    "observers",
    "workflows",
    "agents",
    "engine",
    "stores.images",
    "stores.user_store",
    "stored_graph",
    "verbs",
    "state_graph",
    "hub",
    "operations",
    "testing",
    "cli",
    "",
    "cli.demo_pipeline",
    "__main__",
)

# The one file, or family of files, that may import a driver. Anything else of the standard library is free.
DRIVERS = {
    "msgspec": ("",),
    "backports": ("log.encoding",),
    "compression": ("log.encoding",),
    "apsw": ("stores.sqlite", "testing.crashes.calls"),
    "psycopg": ("stores.postgres",),
    "redis": ("stores.redis",),
    "obstore": ("stores.s3",),
    "numpy": (
        "values.types.numpy",
        "values.types.npy_header",
        "values.types.pandas_columns",
        "values.types.pandas",
        "values.types.xarray",
    ),
    "pandas": ("values.types.pandas_columns", "values.types.pandas", "values.types.xarray"),
    "pyarrow": ("values.types.arrow", "values.types.pandas_columns", "values.types.pandas", "values.types.polars"),
    "polars": ("values.types.polars",),
    "xarray": ("values.types.xarray",),
    "cftime": ("values.types.cftime",),
    "cloudpickle": ("executors.wire",),
    "pydantic_core": ("schema.models",),
    "typing_extensions": ("state", "verbs.running"),
    "ollama": ("agents.providers.ollama",),
    "openai": ("agents.providers.openai",),
    "click": ("cli",),
    "rich": ("cli",),
    "pytest": ("testing",),
    "hypothesis": ("testing",),
}

# Part of newer standard libraries than the oldest that we run on.
NEWER = {"annotationlib", "compression"}

# One way to keep a store is one file; none of them knows another.
KINDS = {
    "stores": ("memory", "sqlite", "file", "postgres", "redis", "s3"),
    "observers": ("slog", "recorder"),
    "agents.providers": ("ollama", "openai", "scripted"),
}

# Imports against the order, each with its reason. They are made inside a function, at the first use of something that
# most programs never use or that needs its own contract to exist first.
AGAINST_THE_ORDER = {
    ("tau.stores.contract", "tau.log.committer"): "a store makes the committer that its runs share",
    ("tau.stores.contract", "tau.engine.saved_state"): "every store has the origin's verbs, which stand on the journal",
    ("tau.stores.registry", "tau.stores.user_store"): "a four-method store keeps states, which stand on the log",
    (
        "tau.values.types.artifact",
        "tau.stores.artifact_content",
    ): "Artifact.check reads files, which no other value does",
    ("tau.state", "tau.stores.images"): "State.to_bytes writes what a four-method store keeps",
    ("tau.node.context", "tau.workflows.mapping"): "Context.map is a workflow",
}

# Families of values are loaded by their registry at the first sight of one of them, and enter themselves there.
FAMILIES = "tau.values.registry"


def relative(module: str) -> str:
    return module.removeprefix("tau").removeprefix(".")


def layer(module: str) -> int:
    name = relative(module)
    fits = [entry for entry in LAYERS if entry and (name == entry or name.startswith(f"{entry}."))]
    if not fits:
        assert not name, f"{module} has no place in LAYERS: put it where its imports allow"
        return LAYERS.index("")
    return LAYERS.index(max(fits, key=len))


def own_imports(module: str) -> list[str]:
    needed = {name for name, _ in imports(module) if name in MODULES and name != module}
    return sorted(name for name in needed if (module, name) not in AGAINST_THE_ORDER)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_its_own_layer_and_those_below(module: str) -> None:
    wrong = [name for name in own_imports(module) if layer(name) > layer(module)]
    assert not wrong, f"{module} imports what stands above it: {wrong}"


@pytest.mark.parametrize(("module", "name"), AGAINST_THE_ORDER)
def test_an_import_against_the_order_is_made_at_first_use_and_still_needed(module: str, name: str) -> None:
    assert {at_import for found, at_import in imports(module) if found == name} == {False}


def test_no_file_needs_one_that_needs_it() -> None:
    """Neither at import nor later, but for what stands against the order; the parts of a simulation know each other."""
    needs: dict[str, set[str]] = {}
    for module in MODULES:
        if not relative(module).startswith("testing.simulation"):
            late = module == FAMILIES
            needs[module] = {
                name
                for name in own_imports(module)
                if not (late and name.startswith(("tau.values.types.", "tau.values.registered_classes")))
            }
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        pytest.fail(f"modules need each other: {' -> '.join(error.args[1])}")


# What is not part of a running program, or is imported before there is any.
NOT_LATE = ("cli", "testing")
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


@pytest.mark.parametrize("module", MODULES)
def test_an_import_inside_a_function_is_made_by_load_module(module: str) -> None:
    """Signals and forks come in the middle of it: see tau.late_imports. What is loaded is in the statement before."""
    if relative(module).startswith(NOT_LATE):
        return
    for before, statement in late_imports(module):
        names = [name for name, _ in walk(module, ast.Module([statement], []), False)]
        loaded = [ast.unparse(before) if before is not None else ""]
        assert loaded == [f"load_module({name!r})" for name in names], f"{module}, line {statement.lineno}"


def late_imports(module: str) -> Iterator[tuple[ast.stmt | None, ast.stmt]]:
    """The imports inside functions, each with the statement before it."""
    functions = [node for node in ast.walk(tree(MODULES[module])) if isinstance(node, FUNCTION)]
    for node in [inside for function in functions for inside in ast.walk(function)]:
        for block in (getattr(node, field, ()) for field in ("body", "orelse", "finalbody")):
            for before, statement in pairwise([None, *block] if isinstance(block, list) else []):
                if isinstance(statement, ast.Import | ast.ImportFrom):
                    yield before, statement


@pytest.mark.parametrize("module", MODULES)
def test_a_driver_is_imported_in_its_own_place_only(module: str) -> None:
    for name, _ in imports(module):
        root = name.split(".")[0]
        if root in {"tau", "__future__", *sys.stdlib_module_names, *NEWER} - DRIVERS.keys():
            continue
        assert root in DRIVERS, f"{module} imports {root}: add it to DRIVERS with the file that needs it"
        places = DRIVERS[root]
        assert "" in places or any(relative(module).startswith(place) for place in places), f"{module} imports {root}"


@pytest.mark.parametrize("package", KINDS)
def test_one_kind_does_not_know_another(package: str) -> None:
    def kind(module: str) -> str | None:
        last = relative(module).removeprefix(f"{package}.")
        return next((k for k in KINDS[package] if last.startswith(k)), None) if last != relative(module) else None

    for module in MODULES:
        if kind(module):
            others = {kind(name) for name in own_imports(module)} - {None, kind(module)}
            assert not others, f"{module} imports {others}"


def loaded(program: str, *modules: str) -> list[str]:
    """Which of these modules, or of what is in them, a fresh interpreter has loaded after that program."""
    shown = f"{program}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    found = done.stdout.splitlines()[-1].split()
    return [name for name in found if any(name == one or name.startswith(f"{one}.") for one in modules)]


# What most programs have no use for, or not before they run something. Each is imported where it is first used.
HEAVY = (
    "numpy",
    "pandas",
    "pyarrow",
    "polars",
    "xarray",
    "click",
    "rich",
    "apsw",
    "psycopg",
    "obstore",
    "pytest",
    "hypothesis",
    "matplotlib",
    "sqlite3",
    "asyncio",
    "difflib",
    "hashlib",
    "json",
    "pathlib",
    "urllib",
    "ipaddress",
    "zlib",
    "tau.engine.engine",
    "tau.graph.fingerprint",
    "tau.log.journal",
    "tau.node.context",
    "tau.node.steps",
    "tau.workflows",
    "tau.agents",
    "tau.stores",
)


def test_import_tau_brings_along_no_driver_and_nothing_that_most_runs_do_not_use() -> None:
    assert not loaded("import tau", *HEAVY)


def test_the_help_of_the_command_loads_no_command_and_nothing_that_it_does_not_show() -> None:
    own = ("tau.cli.commands", "tau.cli.outcome", "tau.engine.choosing", "sysconfig")
    used = {"click", "zlib"}  # click looks for the width of the terminal in shutil, which loads zlib
    assert not loaded("from tau.cli import main; main(['--help'])", *own, *(one for one in HEAVY if one not in used))


def test_an_error_that_no_terminal_shows_loads_no_styles() -> None:
    assert not loaded("from tau.cli import main; main(['cancel', 'r', '--store', 'memory:'])", "rich")
