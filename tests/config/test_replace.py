"""A configuration is changed by making another one."""

from __future__ import annotations

from typing import Any

import pytest

from tau import (
    ChainConfig,
    CheckpointConfig,
    ConditionalConfig,
    ConfigError,
    GraphConfig,
    ParallelConfig,
    Retention,
    Retry,
)

CHANGED: dict[str, tuple[Any, str, Any]] = {
    "graph": (GraphConfig("climate"), "max_iterations", 7),
    "checkpoint": (CheckpointConfig(interval=1), "store", "sqlite:///tau.db"),
    "retry": (Retry(on=OSError), "attempts", 5),
    "retention": (Retention(keep_last=3), "max_age", 60.0),
    "chain": (ChainConfig(), "capture_intermediate", True),
    "parallel": (ParallelConfig(), "max_workers", 4),
    "conditional": (ConditionalConfig(), "observer", "noop"),
}


@pytest.mark.parametrize("kind", CHANGED)
def test_one_field_is_changed_in_a_copy(kind: str) -> None:
    config, name, value = CHANGED[kind]
    before = {one: getattr(config, one) for one in config.__dataclass_fields__}
    changed = config.replace(**{name: value})
    assert type(changed) is type(config)
    assert {one: getattr(changed, one) for one in before} == {**before, name: value}
    assert {one: getattr(config, one) for one in before} == before


def test_what_is_inside_is_changed_the_same_way() -> None:
    config = GraphConfig("data-pipeline")
    changed = config.replace(checkpoint=config.checkpoint.replace(interval=1, preserve=True))
    assert changed == GraphConfig("data-pipeline", checkpoint=CheckpointConfig(interval=1, preserve=True))


def test_the_defaults_are_those_of_the_origin() -> None:
    """`GraphConfig(name)` is the origin's DefaultGraphConfig."""
    config = GraphConfig("data-pipeline")
    assert (config.observer, config.max_iterations) == ("slog", 1000)
    assert (config.checkpoint.store, config.checkpoint.interval, config.checkpoint.preserve) == ("memory", 0, False)


def test_a_change_is_checked_as_the_field_is() -> None:
    with pytest.raises(ConfigError, match="max_iterations: expected an integer of 1 or more, found int: 0"):
        GraphConfig("climate").replace(max_iterations=0)
    with pytest.raises(TypeError, match="'chekpoint'; did you mean 'checkpoint'"):
        GraphConfig("climate").replace(chekpoint=CheckpointConfig())
