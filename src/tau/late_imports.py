"""`load_module`: imports modules at their first use, in the middle of a running program.

Two things can go wrong at such a moment. A signal handler may raise in the middle of the import, and some modules (apsw
is one) cannot be imported a second time; or the handler needs the same module, and finds it half imported. Or another
thread forks, and the child waits for ever for the lock that Python holds on the module. So the import runs in a thread,
where no signal handler is called, and forks wait until it is over.
"""

from __future__ import annotations

import atexit
import importlib
import sys
import threading
from _thread import get_ident, start_new_thread
from types import ModuleType
from typing import Any, Final

from tau import forks
from tau.signals import pass_on
from tau.waiting import LOOK, Flag

_PATIENCE: Final = 5.0
"""The seconds that a fork waits for an import; an import waits twice as long for a fork or for another import."""

_NEEDED: Final = sys.stdlib_module_names | {
    "apsw", "backports", "cftime", "msgspec", "numpy", "pandas", "polars", "psycopg", "pyarrow",
    "tau", "xarray",
}  # fmt: skip

_gate: Any = threading.RLock()  # implemented in C; held during an import and during a fork


def load_module(name: str) -> ModuleType:
    """The module of that name, completely imported.

    Call it before the import inside a function. If a signal handler raises in the meantime, its error is raised here,
    and the import still runs to its end. Raises what the module raises.
    """
    try:
        module = sys.modules[name]
        spec: Any = module.__spec__
        if not spec._initializing:
            return module
    except (KeyError, AttributeError) as error:
        pass_on(error)
    return _load(name)


class LateModule:
    """Stands for a module until something of it is used: that is the module's."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(load_module(self._name), name)


def _load(name: str) -> ModuleType:
    if _is_in_the_way():
        return importlib.import_module(name)
    if get_ident() != threading.main_thread().ident:  # handlers are called in the main thread only
        return _import(name)
    process = forks.process
    late = _Import(name)
    try:
        start_new_thread(late.run, ())
    except (RuntimeError, MemoryError) as error:
        pass_on(error)
        return importlib.import_module(name)  # no more threads, or the end of the interpreter
    while not late.over.wait(LOOK):
        if forks.process is not process:
            return _load(name)  # a handler has forked, and the thread is the parent's
    return late.result()


class _Import:
    def __init__(self, name: str) -> None:
        self._name = name
        self._module: ModuleType | None = None
        self._error: BaseException | None = None
        self.over = Flag()

    def run(self) -> None:
        try:
            self._module = _import(self._name)
        except BaseException as error:
            self._error = error
        finally:
            self.over.set()

    def result(self) -> ModuleType:
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # no cycle through its own traceback
        assert self._module is not None
        return self._module


def _import(name: str) -> ModuleType:
    gate = _gate
    is_open = gate.acquire(timeout=2 * _PATIENCE)
    try:
        return importlib.import_module(name)
    finally:
        if is_open:
            gate.release()


def _is_in_the_way() -> bool:
    """Whether another thread could not do the import because it would wait for this thread, which is forking, or is in
    the middle of importing something that the other one needs."""
    locks = getattr(importlib._bootstrap, "_module_locks", None)
    if locks is None or _gate._is_owned():
        return True
    here = get_ident()
    held = [name for name, lock in locks.copy().items() if getattr(lock(), "owner", None) == here]
    return any(name.partition(".")[0] in _NEEDED for name in held)


class _Imports(forks.Forked):
    """No fork in the middle of an import."""

    is_last = True  # the importing thread may hold what the others wait for

    def is_inside(self) -> bool:
        return bool(_gate._is_owned())

    def before_fork(self, patience: bool) -> None:
        _gate.acquire(timeout=_PATIENCE)

    def after_fork(self, in_child: bool, kept_out: bool) -> None:
        global _gate  # noqa: PLW0603
        if in_child:
            _gate = threading.RLock()
        elif kept_out:
            _gate.release()  # raises if it was not acquired, which the caller drops


def _let_end() -> None:
    """At exit, wait for an interrupted import to end: torn down in the middle, it may abort the process."""
    if _gate.acquire(timeout=_PATIENCE):
        _gate.release()


_imports = _Imports()
forks.watch(_imports)
atexit.register(_let_end)
