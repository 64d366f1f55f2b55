"""Messages are plain English: no "is no", no articles that do not fit, and processes are not people."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from house_source import FILES, MODULES, tree

AVOIDED = {
    r"(?<!there )\b(is|are|was|were) no(?! longer| more)\b": "is not a ..., are not ...",
    r"\b(somebody|someone|anybody|nobody|whoever)\b": "a process, another process, nothing",
    r"\bthat one('s)?\b": "the thing itself",
    r"\b(heirs?|spared|on this road|not to be found)\b": "plainer words",
    r"\b[Aa] (text|texts)\b": "text, a string",
    r"\b[Aa] [aeio][a-z]+(?<!one)(?<!once)\b": "an",
    r"\b[Aa]n (?!npy\b)[bcdfgjklmnpqrtvwxyz][a-z]+\b": "a",
    r"\b[Aa]n? \{(type\(|kind\}|cls\.|refused\.type)": "found {type}, of type {type}: its first letter is not known",
    r"\bexists already\b": "already exists",
}


def documentation(path: Path) -> set[int]:
    return {
        id(node.value)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The literals of a file but for docstrings; what is filled in stands in braces."""
    seen = documentation(path)
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.JoinedStr):
            seen |= {id(part) for part in node.values}
            filled = (p.value if isinstance(p, ast.Constant) else f"{{{ast.unparse(p.value)}}}" for p in node.values)
            yield node.lineno, "".join(map(str, filled))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in seen:
            yield node.lineno, node.value


@pytest.mark.parametrize("path", FILES, ids=MODULES)
def test_a_message_is_plain_english(path: Path) -> None:
    found = [
        f"line {line}: {text!r}: say {better}"
        for line, text in texts(path)
        for pattern, better in AVOIDED.items()
        if " " in text and re.search(pattern, text)
    ]
    assert not found, found


@pytest.mark.parametrize(
    "text",
    [
        "'x' is no store URL",
        "so nobody can tell",
        "found a object",
        "it is an number",
        "a {type(x).__name__} is",
        "a text",
    ],
)
def test_what_is_avoided_is_found(text: str) -> None:
    assert any(re.search(pattern, text) for pattern in AVOIDED)


@pytest.mark.parametrize(
    "text", ["there is no file", "it is no longer there", "an npy file", "a URL", "an error", "a one"]
)
def test_what_is_plain_passes(text: str) -> None:
    assert not any(re.search(pattern, text) for pattern in AVOIDED)
