"""Configurations of the workflows: from Python and from JSON, every wrong value refused where it is given."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tau import ChainConfig, ConditionalConfig, ConfigError, ParallelConfig, Retry
from tau.observers import Recorder

KINDS = [ChainConfig, ParallelConfig, ConditionalConfig]


def test_the_defaults() -> None:
    """C5: alone, "inherit" is "slog"."""
    assert ChainConfig() == ChainConfig(capture_intermediate=False, observer="inherit")
    parallel = ParallelConfig()
    assert (parallel.max_workers, parallel.worker_cap, parallel.fail_fast) == (0, 16, True)
    assert parallel.executor == "threads"
    assert (parallel.timeout, parallel.retry, parallel.rate, parallel.idempotent) == (None, None, None, False)


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
        ({"observr": "slog"}, r"observr: unknown key \(did you mean 'observer'\?\)"),
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


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("executor", "thread"),
        ("executor", None),
        ("max_workers", -1),
        ("max_workers", 1.5),
        ("max_workers", True),
        ("worker_cap", 0),
        ("worker_cap", None),
        ("fail_fast", None),
        ("fail_fast", 1),
        ("timeout", 0),
        ("timeout", -1.0),
        ("timeout", "60"),
        ("rate", 0),
        ("rate", float("inf")),
        ("rate", True),
        ("retry", 3),
        ("retry", {"attempts": 3}),
        ("idempotent", "no"),
    ],
)
def test_a_wrong_value_of_a_map_is_refused(key: str, value: Any) -> None:
    """W46"""
    with pytest.raises(ConfigError, match=f"{key}: expected"):
        ParallelConfig(**{key: value})


def test_the_retry_of_a_map_comes_back_from_json() -> None:
    config = ParallelConfig(retry=Retry(attempts=5, delay=0.5), timeout=60, rate=2, fail_fast=False)
    assert ParallelConfig.from_json(config.to_json()) == config
    assert ParallelConfig.from_dict(config.to_dict()) == config
    assert ParallelConfig.from_json('{"retry": {"attempts": 4}}').retry == Retry(attempts=4)
    own = ParallelConfig(retry=Retry(on=OSError))
    assert ParallelConfig.from_dict(own.to_dict()) == own
    with pytest.raises(ConfigError, match=r"retry\.on: expected every Exception"):
        own.to_json()
    with pytest.raises(ConfigError, match=r"retry\.attemps: unknown key \(did you mean 'retry\.attempts'\?\)"):
        ParallelConfig.from_dict({"retry": {"attemps": 4}})
