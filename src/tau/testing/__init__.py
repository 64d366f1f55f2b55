"""For tests: graphs that crash at every point, and the suite that every store must pass.

What is here is loaded when it is first used, so that `import tau` needs no test framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Fault": "tau.testing.simulation.simulate",
    "Moment": "tau.testing.simulation.simulate",
    "SimulationError": "tau.testing.simulation.simulate",
    "SimulationResult": "tau.testing.simulation.simulate",
    "CountingStore": "tau.testing.store_wrappers",
    "FlakyStore": "tau.testing.store_wrappers",
    "RetryingStore": "tau.testing.store_wrappers",
    "SlowStore": "tau.testing.store_wrappers",
    "StoreContract": "tau.testing.store_contract.suite",
    "StoreMachine": "tau.testing.store_contract.stateful",
    "explore": "tau.testing.simulation.simulate",
    "simulate": "tau.testing.simulation.simulate",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tau.testing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
