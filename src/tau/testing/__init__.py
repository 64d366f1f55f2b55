"""For tests: graphs that crash at every point, and the suite that every store must pass.

What is here is loaded when it is first used, so that `import tau` needs no test framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Fault": "tau.testing.simulation",
    "Moment": "tau.testing.simulation",
    "SimulationError": "tau.testing.simulation",
    "SimulationResult": "tau.testing.simulation",
    "CountingStore": "tau.testing.wrappers",
    "FlakyStore": "tau.testing.wrappers",
    "RetryingStore": "tau.testing.wrappers",
    "SlowStore": "tau.testing.wrappers",
    "StoreContract": "tau.testing.stores",
    "StoreMachine": "tau.testing.stateful",
    "explore": "tau.testing.simulation",
    "simulate": "tau.testing.simulation",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tau.testing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
