"""Configuration: every wrong value is refused where it is given, with the path of its key."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tau.config import CheckpointConfig, GraphConfig, Retry
from tau.errors import ConfigError
from tau.events import Event


def test_the_defaults_are_those_of_the_seed() -> None:
    config = GraphConfig("data-pipeline")
    assert (config.observer, config.max_iterations, config.snapshots) == ("slog", 1000, False)
    checkpoint = config.checkpoint
    assert (checkpoint.store, checkpoint.interval, checkpoint.preserve) == ("memory", 0, False)
    assert (checkpoint.lease, checkpoint.max_crashes) == (60.0, 10)


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        GraphConfig("g").max_iterations = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("store", None),
        ("store", ""),
        ("store", 7),
        ("store", True),
        ("interval", -1),
        ("interval", 1.0),
        ("interval", True),
        ("interval", "1"),
        ("interval", None),
        ("interval", 2**63),
        ("preserve", 1),
        ("preserve", None),
        ("preserve", "yes"),
        ("lease", 0),
        ("lease", -1.0),
        ("lease", math.nan),
        ("lease", math.inf),
        ("lease", True),
        ("lease", "60"),
        ("lease", 10**400),
        ("max_crashes", 0),
        ("max_crashes", 1.5),
    ],
)
def test_a_bad_checkpoint_value_is_refused_by_the_path_of_its_key(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^checkpoint\.{key}: expected .*, found "):
        CheckpointConfig(**{key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", ""),
        ("name", 3),
        ("name", None),
        ("name", "a\0b"),
        ("name", "\ud800"),
        ("name", "x" * 257),
        ("observer", 5),
        ("observer", ""),
        ("observer", [None]),
        ("observer", {"slog": 1}),
        ("max_iterations", 0),
        ("max_iterations", -1),
        ("max_iterations", True),
        ("max_iterations", 10.0),
        ("checkpoint", {"interval": 1}),
        ("checkpoint", None),
        ("snapshots", 0),
    ],
)
def test_a_bad_graph_value_is_refused_by_its_key(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{key}\b"):
        GraphConfig(**{"name": "g", key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("attempts", 0),
        ("attempts", 2.0),
        ("delay", -0.1),
        ("delay", math.inf),
        ("backoff", 0.5),
        ("backoff", math.nan),
        ("max_delay", -1),
        ("jitter", 1.1),
        ("jitter", -0.1),
        ("on", ()),
        ("on", "ValueError"),
        ("on", (KeyboardInterrupt,)),
        ("on", (ValueError, 3)),
    ],
)
def test_a_bad_retry_value_is_refused_by_the_path_of_its_key(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^retry\.{key}: expected .*, found "):
        Retry(**{key: value})


def test_numbers_of_other_types_become_plain_ones() -> None:
    config = CheckpointConfig(interval=np.int64(2), lease=Fraction(1, 2))  # type: ignore[arg-type]
    assert type(config.interval) is int
    assert (config.interval, config.lease) == (2, 0.5)
    assert type(CheckpointConfig(lease=60).lease) is float


def test_json_comes_back_as_it_was() -> None:
    config = GraphConfig(
        "héllo",
        observer=["noop", "slog"],
        max_iterations=7,
        checkpoint=CheckpointConfig("sqlite:///r.db", 3, True, 5, 2),
    )
    assert GraphConfig.from_json(config.to_json()) == config
    assert GraphConfig.from_json(config.to_json().encode()) == config
    assert GraphConfig.from_dict(config.to_dict()) == config


def test_missing_keys_get_their_defaults() -> None:
    assert GraphConfig.from_json('{"name": "g", "checkpoint": {"interval": 1}}') == GraphConfig(
        "g", checkpoint=CheckpointConfig(interval=1)
    )


def test_a_switch_can_be_turned_off_again() -> None:
    config = GraphConfig.from_dict({"name": "g", "observer": None, "checkpoint": {"interval": 0, "preserve": False}})
    assert (config.observer, config.checkpoint.interval, config.checkpoint.preserve) == (None, 0, False)


def test_a_configuration_without_a_name_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^name: missing"):
        GraphConfig.from_json("{}")


def test_unknown_keys_are_refused_all_at_once_with_what_was_meant() -> None:
    with pytest.raises(ConfigError) as caught:
        GraphConfig.from_json('{"name": "g", "checkpoint": {"intervall": 1, "zzz": 2}}')
    text = str(caught.value)
    assert "checkpoint.intervall: unknown key (did you mean 'checkpoint.interval'?)" in text
    assert "checkpoint.zzz: unknown key" in text
    with pytest.raises(ConfigError, match=r"max_iteration: unknown key \(did you mean 'max_iterations'\?\)"):
        GraphConfig.from_dict({"name": "g", "max_iteration": 5})


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", b"\xff\xfe\xfa", "[" * 100_000, '{"name": "g",}'])
def test_what_is_no_json_object_is_refused(text: Any) -> None:
    with pytest.raises(ConfigError):
        GraphConfig.from_json(text)


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="interval: given more than once"):
        GraphConfig.from_json('{"name": "g", "checkpoint": {"interval": 1, "interval": 0}}')


@pytest.mark.parametrize("value", [1, "x", None, []])
def test_a_checkpoint_section_that_is_no_object_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^checkpoint: expected an object"):
        GraphConfig.from_json(json.dumps({"name": "g", "checkpoint": value}))


def test_objects_are_for_python_and_refused_by_json() -> None:
    def observer(event: Event) -> None:
        pass

    config = GraphConfig("g", observer=observer, checkpoint=CheckpointConfig(store=object()))
    with pytest.raises(ConfigError, match=r"^checkpoint\.store: expected a name"):
        config.to_json()
    with pytest.raises(ConfigError, match=r"^observer: expected a name"):
        GraphConfig("g", observer=["slog", observer]).to_json()


def test_waits_grow_to_the_limit_and_jitter_shortens_them() -> None:
    retry = Retry(attempts=9, delay=1.0, backoff=2.0, max_delay=5.0, jitter=0.5)
    assert [retry.wait(n, 0.0) for n in (1, 2, 3, 4, 5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert retry.wait(2, 0.5) == 1.5
    assert Retry(jitter=0.0).wait(1, 0.99) == 1.0


@given(
    attempt=st.integers(1, 10**6),
    delay=st.floats(0, 1e6),
    backoff=st.floats(1, 1e300),
    jitter=st.floats(0, 1),
    random01=st.floats(0, 1, exclude_max=True),
)
def test_a_wait_is_never_negative_nor_above_the_limit(
    attempt: int, delay: float, backoff: float, jitter: float, random01: float
) -> None:
    retry = Retry(delay=delay, backoff=backoff, max_delay=60.0, jitter=jitter)
    assert 0.0 <= retry.wait(attempt, random01) <= 60.0


def test_one_exception_class_or_several_decide_what_is_tried_again() -> None:
    assert Retry(on=OSError).matches(ConnectionError())
    assert not Retry(on=OSError).matches(ValueError())
    assert Retry(on=[OSError, ValueError]).matches(ValueError())  # type: ignore[arg-type]
    assert not Retry().matches(KeyboardInterrupt())
