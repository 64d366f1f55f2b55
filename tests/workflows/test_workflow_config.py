"""Configurations of the workflows: from Python and from JSON, every wrong value refused where it is given."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tau import ChainConfig, ConfigError
from tau.observers import Recorder

KINDS = [ChainConfig]


def test_the_defaults() -> None:
    """C5: alone, "inherit" is "slog"."""
    assert ChainConfig() == ChainConfig(capture_intermediate=False, observer="inherit")


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_comes_back_from_json(kind: Any) -> None:
    config = kind(observer=["slog", "mine"])
    assert kind.from_json(config.to_json()) == config
    assert kind.from_dict(config.to_dict()) == config
    assert kind.from_dict({}) == kind()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"observr": "slog"}, "observr: unknown key, did you mean observer?"),
        ({"observer": 5}, "observer: expected the name of an observer"),
        ({"observer": ""}, "observer cannot be empty"),
        ([], "the configuration: expected an object with keys"),
    ],
)
def test_a_wrong_configuration_is_named_by_its_key(kind: Any, values: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        kind.from_json(json.dumps(values))


@pytest.mark.parametrize("kind", KINDS)
def test_text_that_is_not_json_and_observers_that_have_no_name_are_refused(kind: Any) -> None:
    with pytest.raises(ConfigError, match="not JSON"):
        kind.from_json("{")
    with pytest.raises(ConfigError, match="observer: expected a name"):
        kind(observer=Recorder()).to_json()


@pytest.mark.parametrize(("key", "value"), [("capture_intermediate", 1), ("capture_intermediate", "yes")])
def test_a_wrong_value_of_a_chain_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{key}: expected"):
        ChainConfig(**{key: value})


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_cannot_be_changed(kind: Any) -> None:
    with pytest.raises(AttributeError):
        kind().observer = None
