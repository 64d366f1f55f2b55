"""`help()` of everything public shows an example, and each example does what it shows.

The examples of a class's methods go on where that of the class ends. A method that the example of its class calls needs
none of its own; nor does one of the contract that stores keep, which is called by tau.
"""

from __future__ import annotations

import doctest
import inspect
import operator
import pydoc
import re
from pathlib import Path
from typing import Any

import pytest
from test_docstrings import public

import tau
import tau.observers
import tau.testing
from tau.stores import registry
from tau.stores.contract import Store
from tau.values import registered_classes

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
HERE = {
    getattr(module, name).__qualname__
    for module in (tau, tau.observers, tau.testing)
    for name in module.__all__
    if callable(getattr(module, name))
}
SHOWN = {name: what for name, what in public() if name.partition(".")[0] in HERE}
BY_ITSELF = {"Proxy.connect", "Proxy.serve"}  # called for each connection
CONTRACT = {name for name in dir(Store) if not name.startswith("_")}


def example(what: Any) -> str:
    found = inspect.getdoc(what) or ""
    return found if ">>>" in found else ""


def has_one(name: str) -> bool:
    owner, _, method = name.partition(".")
    if not method or example(SHOWN[name]):
        return bool(example(SHOWN[name]))
    cls = SHOWN[owner]
    kept = isinstance(cls, type) and issubclass(cls, Store) and method in CONTRACT
    return kept or re.search(rf"\b{method}\(", example(cls)) is not None


def test_everything_public_has_an_example() -> None:
    assert not [name for name in SHOWN if not has_one(name) and name not in BY_ITSELF]


@pytest.mark.parametrize("name", [name for name, what in SHOWN.items() if example(what)])
def test_an_example_does_what_it_shows(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, kept in ((tau.observers, "_registry"), (registry, "_registered"), (registered_classes, "_entries")):
        monkeypatch.setattr(place, kept, dict(getattr(place, kept)))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    said: list[str] = []
    owner = name.partition(".")[0]
    for one in dict.fromkeys([owner, name]):
        test = doctest.DocTestParser().get_doctest(example(SHOWN[one]), names, one, None, 0)
        test.globs = names
        doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append, clear_globs=False)
    assert not said, "".join(said)


def test_the_help_of_tau_begins_with_a_pipeline_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = pydoc.render_doc(tau, renderer=pydoc.plaintext)
    first = "\n".join(text.splitlines()[:50])
    assert "graph.execute(" in first
    assert "tau.TauError" in first
    named = re.findall(r"`tau\.([\w.]+)`", tau.__doc__ or "")
    assert named
    assert all(operator.attrgetter(name)(tau) for name in named)
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    for _ in range(2):  # the second time nothing runs again
        test = doctest.DocTestParser().get_doctest(tau.__doc__ or "", {"__name__": "__main__"}, "tau", None, 0)
        doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append)
    assert not said, "".join(said)
