"""The values of a state for an event, without secrets."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tau.redaction import is_secret, without_secrets
from tau.signals import pass_on
from tau.state import State
from tau.values.stored import StoredValue


def snapshot(values: Mapping[str, Any]) -> dict[str, Any]:
    """Copies of the values for an event, without secrets. What cannot be read or copied is told, never raised."""
    try:
        items = list((values._data if isinstance(values, State) else values).items())
    except Exception as error:  # a mapping of the user's own
        pass_on(error)
        return {}
    return {key: without_secrets(key, _copied(key, value)) for key, value in items}


def _copied(key: str, value: Any) -> Any:
    if is_secret(key):
        return None  # `without_secrets` replaces it
    try:
        return value.open()[0] if type(value) is StoredValue else copy.deepcopy(value)
    except Exception as error:
        pass_on(error)
        return f"[cannot be copied: {type(error).__name__}]"
