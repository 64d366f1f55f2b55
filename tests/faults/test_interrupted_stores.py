"""Ctrl-C at every place where Python looks for signals, the first and the last time, leaves no lock of a store
behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from injection import InterruptFault
from sweep import first_and_last

import tau
from tau.stores import open_store
from tau.stores.contract import Query, Store
from tau.stores.memory import MemoryStore
from tau.testing.store_contract.batches import batch, one, owner

STORES = Path(tau.__file__).parent / "stores"

MAKE: dict[str, Callable[[Path], Store]] = {
    "memory": lambda path: MemoryStore(),
    "sqlite": lambda path: open_store(f"sqlite:///{path}/runs.db"),
    "file": lambda path: open_store(f"file:{path}/runs"),
}


def use_all(store: Store) -> None:
    store.select(Query())
    store.summary("r")
    store.read("r")
    store.blobs("r", [b"x"])
    store.lease("r")
    store.renew("r", "nobody", 1.0)
    store.release("r", "nobody")
    store.commit([batch("r", store.summary("r").position)])  # type: ignore[union-attr]
    store.close()


@pytest.mark.parametrize("kind", MAKE)
def test_another_thread_can_go_on_after_an_interrupt_anywhere(tmp_path: Path, kind: str) -> None:
    store = MAKE[kind](tmp_path)
    one(store, batch("r", 0, owner=owner("somebody")))
    use_all(store)  # what is made at first use
    place: Any = None  # the fault looks at no directory

    def struck(at: int, trace: Path | None) -> None:
        fault = InterruptFault(lambda name: Path(name).is_relative_to(STORES))
        fault.arm(place, at, trace)
        try:
            use_all(store)
        except KeyboardInterrupt:
            pass
        finally:
            fault.disarm()

    def interrupted(at: int, trace: Path | None = None) -> None:
        with ThreadPoolExecutor(1) as pool:  # an error that is being handled at a strike stays with its thread
            pool.submit(struck, at, trace).result()

    trace = tmp_path / "trace"
    interrupted(0, trace)
    met = {int(number): line for number, _, line in (said.partition(" ") for said in trace.read_text().splitlines())}
    points = first_and_last(met)
    assert len(points) > 20
    for at in points:
        interrupted(at)
        other = threading.Thread(target=use_all, args=(store,), daemon=True)
        other.start()
        other.join(30)
        assert not other.is_alive(), f"point {at}"
        use_all(store)
