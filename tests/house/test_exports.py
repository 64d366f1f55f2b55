"""The public names are a list that is tested (docs/design.md, section 9)."""

from __future__ import annotations

import inspect

import pytest

import tau
import tau.errors

CORE = {"State", "StateGraph", "Context", "GraphConfig", "CheckpointConfig", "Retry", "Stop", "Artifact"}
PREDICATES = {"always", "key_exists", "key_equals", "not_", "and_", "or_"}
FUNCTIONS = {"stop_on", "current", "open_store", "register_store", "register_observer", "register_type", "Event"}
MODULES = {"observers", "testing"}
ERRORS = {
    name
    for name, value in vars(tau.errors).items()
    if inspect.isclass(value) and issubclass(value, tau.errors.TauError)
}
EXPECTED = CORE | PREDICATES | FUNCTIONS | MODULES | ERRORS


def test_the_public_names_are_exactly_these() -> None:
    assert set(tau.__all__) == EXPECTED


def test_the_public_names_are_in_order_and_named_once() -> None:
    assert len(tau.__all__) == len(set(tau.__all__))


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_public_name_is_there_and_has_a_docstring(name: str) -> None:
    assert inspect.getdoc(getattr(tau, name)), name


def test_a_public_name_is_listed_by_dir() -> None:
    assert set(dir(tau)) >= EXPECTED


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        tau.no_such_name
