"""The code stays small enough to be read (docs/design.md, section 8)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from house_source import FILES, MODULES, tree


def lines(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


@pytest.mark.parametrize("path", FILES, ids=MODULES)
def test_a_file_has_fewer_than_400_lines(path: Path) -> None:
    assert lines(path) < 400


def test_95_of_100_functions_have_fewer_than_40_lines() -> None:
    sizes = {
        f"{path.name}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    long = {name: size for name, size in sizes.items() if size >= 40}
    assert len(long) <= 0.05 * len(sizes), long


def test_more_than_five_parameters_are_named_in_the_call() -> None:
    wrong = [
        f"{path.name}:{node.name}"
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and len([a for a in (*node.args.posonlyargs, *node.args.args) if a.arg not in ("self", "cls")]) > 5
    ]
    assert not wrong, f"beyond five parameters, keyword-only: {wrong}"
