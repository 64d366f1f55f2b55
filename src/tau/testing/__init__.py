"""For tests: graphs that crash at every point, and the suite that every store must pass.

What is here is loaded when it is first used, so that `import tau` needs no test framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tau.testing.crashes.crash_test import CrashTestError, CrashTestResult, crash_test
    from tau.testing.proxies import Proxy
    from tau.testing.servers import ServerProcess
    from tau.testing.simulation.result import SimulationError, SimulationResult
    from tau.testing.simulation.simulate import Fault, Moment, explore, simulate
    from tau.testing.store_contract.stateful import StoreMachine
    from tau.testing.store_contract.suite import StoreContract
    from tau.testing.store_wrappers import CountingStore, FlakyStore, RetryingStore, SlowStore, StoreWrapper

_HOMES = {
    "CrashTestError": "tau.testing.crashes.crash_test",
    "CrashTestResult": "tau.testing.crashes.crash_test",
    "crash_test": "tau.testing.crashes.crash_test",
    "Fault": "tau.testing.simulation.simulate",
    "Moment": "tau.testing.simulation.simulate",
    "SimulationError": "tau.testing.simulation.result",
    "SimulationResult": "tau.testing.simulation.result",
    "Proxy": "tau.testing.proxies",
    "ServerProcess": "tau.testing.servers",
    "StoreWrapper": "tau.testing.store_wrappers",
    "CountingStore": "tau.testing.store_wrappers",
    "FlakyStore": "tau.testing.store_wrappers",
    "RetryingStore": "tau.testing.store_wrappers",
    "SlowStore": "tau.testing.store_wrappers",
    "StoreContract": "tau.testing.store_contract.suite",
    "StoreMachine": "tau.testing.store_contract.stateful",
    "explore": "tau.testing.simulation.simulate",
    "simulate": "tau.testing.simulation.simulate",
}

__all__ = [
    "CountingStore",
    "CrashTestError",
    "CrashTestResult",
    "Fault",
    "FlakyStore",
    "Moment",
    "Proxy",
    "RetryingStore",
    "ServerProcess",
    "SimulationError",
    "SimulationResult",
    "SlowStore",
    "StoreContract",
    "StoreMachine",
    "StoreWrapper",
    "crash_test",
    "explore",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tau.testing' has no attribute {name!r}")
    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if error.name not in ("pytest", "hypothesis"):
            raise
        return _without(error.name, name)


def _without(framework: str, name: str) -> type:
    """What stands for a class that needs a test framework which is not there: it can be looked at, not used."""
    need = f"tau.testing.{name} needs {framework}, which is not installed; pip install {framework}"

    def refuse(*_: object, **__: object) -> Any:
        raise ModuleNotFoundError(need, name=framework)

    return type(name, (), {"__doc__": need, "__new__": refuse, "__init_subclass__": refuse})


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
