"""Imports go one way (docs/design.md, section 8), and `import tau` stays light."""

from __future__ import annotations

import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest
from house_source import MODULES, imports

# From the ground up. A name stands for the module and all below it; the longest name that fits decides.
# A module may import its own layer and those above it in this list.
LAYERS = (
    ("errors", "version", "redaction"),
    ("values",),
    (
        "values.stored",
        "events",
        "html",
        "observers.notify",
        "stores.contract",
        "stores.disk",
        "stores.failures",
        "stores.names",
    ),
    ("stores.artifact_files",),
    ("state", "host", "engine.provenance"),
    ("predicates", "config", "graph.code_digest", "graph.fingerprint", "graph.redefinition"),
    (
        "log.records",
        "graph.graph",
        "graph.validation",
        "graph.nodes",
        "graph.drawing",
        "graph.svg",
        "node.calls",
        "node.async_calls",
        "node.artifacts",
        "log.encoding",
        "engine.choosing",
    ),
    ("engine.effects", "node.context", "log.replay"),
    ("engine.admission", "log.loading"),
    ("engine.engine",),
    (
        "log.journal",
        "node.step_commits",
        "node.steps",
        "engine.sync_driver",
        "engine.async_driver",
        "log.lease_renewal",
        "engine.stop",
        "log.history",
        "log.cancellation",
    ),
    ("stores", "observers", "stores.user_store", "log.committer", "stores.images", "engine.saved_state"),
    ("state_graph",),
    ("testing", "cli"),
    ("", "__main__", "cli.demo_pipeline"),
)

# The one file, or family of files, that may import a driver. Anything else of the standard library is free.
DRIVERS = {
    "msgspec": ("",),
    "backports": ("log.encoding",),
    "compression": ("log.encoding",),
    "apsw": ("stores.sqlite",),
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
    "click": ("cli",),
    "rich": ("cli",),
    "pytest": ("testing",),
    "hypothesis": ("testing",),
}

# Part of newer standard libraries than the oldest that we run on.
NEWER = {"annotationlib", "compression"}

# One way to keep a store is one file; none of them knows another.
KINDS = {"stores": ("memory", "sqlite", "file"), "observers": ("slog", "recorder")}

# Imports against the order, each with its reason. They are made inside a function, at the first use of something that
# most programs never use or that needs its own contract to exist first.
AGAINST_THE_ORDER = {
    ("tau.stores.contract", "tau.log.committer"): "a store makes the committer that its runs share",
    ("tau.stores.contract", "tau.engine.saved_state"): "every store has the seed's verbs, which stand on the journal",
    ("tau.values.types.artifact", "tau.stores.artifact_files"): "Artifact.check reads files, which no other value does",
    ("tau.state", "tau.stores.images"): "State.to_bytes writes what a four-method store keeps",
}


def relative(module: str) -> str:
    return module.removeprefix("tau").removeprefix(".")


def below(module: str, name: str) -> bool:
    return module == name or module.startswith(f"{name}.") or (name.startswith("stores.") and module.startswith(name))


def layer(module: str) -> int:
    name = relative(module)
    if MODULES[module].name == "__init__.py" and name and not any(imports(module)):
        return 0  # a package that holds nothing but its name
    fits = [(len(entry), number) for number, entries in enumerate(LAYERS) for entry in entries if below(name, entry)]
    assert fits, f"{module} has no place in LAYERS: put it where its imports allow"
    return max(fits)[1]


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


def test_no_two_modules_need_each_other_at_import() -> None:
    """A registry may load its families later, at the first sight of one of their values."""
    needs = {module: {name for name, now in imports(module) if now and name in MODULES} for module in MODULES}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other: {' -> '.join(error.args[1])}")


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


def test_import_tau_brings_no_driver_along() -> None:
    """Each is imported where it is first used."""
    heavy = (
        "numpy",
        "pandas",
        "pyarrow",
        "polars",
        "xarray",
        "click",
        "rich",
        "apsw",
        "pytest",
        "hypothesis",
        "matplotlib",
        "sqlite3",
    )
    program = f"import sys, tau; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
