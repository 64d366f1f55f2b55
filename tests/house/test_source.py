"""What the source never holds, and always does."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from house_source import FILES, MODULES, imports, tree

FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "ctypes"}
# What goes over a pipe between a process and workers that it started itself; see docs/security.md.
MAY_PICKLE = {"tau.executors.wire": {"pickle", "cloudpickle"}}
# Where a module is imported by a name that the source does not spell out, and where that name comes from.
NAMED_ELSEWHERE = {
    "tau": "the two modules that are loaded at first use, checked against their names in the line above",
    "tau.late_imports": "the callers of load_module, each of whom gives it a name that stands in the source",
    "tau.cli.targets": "the user, who names the graph to run on the command line; never a store",
}
FORBIDDEN_CALLS = {"eval", "exec", "__import__"}


@pytest.mark.parametrize("path", FILES, ids=MODULES)
def test_a_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(tree(path)), "no docstring"


@pytest.mark.parametrize("module", MODULES)
def test_nothing_that_could_run_stored_code_is_imported(module: str) -> None:
    forbidden = FORBIDDEN_MODULES - MAY_PICKLE.get(module, set())
    assert not {name.split(".")[0] for name, _ in imports(module)} & forbidden


@pytest.mark.parametrize("path", FILES, ids=MODULES)
def test_no_text_is_run(path: Path) -> None:
    called = {n.func.id for n in ast.walk(tree(path)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    assert not called & FORBIDDEN_CALLS


@pytest.mark.parametrize("module", sorted(MODULES.keys() - NAMED_ELSEWHERE.keys()))
def test_a_module_is_imported_by_a_name_that_stands_in_the_source(module: str) -> None:
    """`import_module` and `load_module` may look a name up in a constant table; they never compute one."""
    for node in ast.walk(tree(MODULES[module])):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "load_module")):
            argument = node.args[0]
            written = isinstance(argument, ast.Constant) or (
                isinstance(argument, ast.Subscript) and ast.unparse(argument.value).isupper()
            )
            assert written, f"line {node.lineno}: a module is named by a literal, or TABLE[key] of a constant table"


@pytest.mark.parametrize("path", FILES, ids=MODULES)
def test_no_plans_are_left_in_the_code(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not [word for word in ("TODO", "FIXME", "XXX") if word in text]


@pytest.mark.parametrize("path", FILES, ids=MODULES)
def test_an_error_that_is_ignored_is_named(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert not [n for n, line in enumerate(lines, 1) if re.search(r"(type: ignore|noqa)(?!\[|: )", line)]
