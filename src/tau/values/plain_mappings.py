"""Mappings of names to values, apart from those that hold more: data sets with attributes of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tau.errors import ConfigError


def only_items(value: Any) -> bool:
    """Whether it is a mapping and nothing but its items: a data set of xarray, h5py or zarr has attributes beside."""
    return isinstance(value, Mapping) and not hasattr(type(value), "attrs")


def check_only_items(what: str, value: Any) -> None:
    """Raises `ConfigError` where a mapping of names to values is meant and ``value`` is none, or more than one."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{what} from a mapping of names to values, not from {type(value).__name__}")
    if not only_items(value):
        kind = type(value).__name__
        raise ConfigError(
            f"{what} from a mapping, and one of type {kind} is more than its items: give it a name, {{'data': it}}"
        )
