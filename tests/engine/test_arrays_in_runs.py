"""Arrays in real runs: views of what is stored, apart from what the nodes hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_steps import elsewhere, run

from tau import ExecutionError, State
from tau.observers import Recorder
from tau.stores.contract import Store
from tau.values import stored as cells_module

LARGE = np.random.default_rng(7).normal(size=(300, 200))


def test_what_a_node_does_to_its_own_array_after_it_returned_changes_nothing(store: Store) -> None:
    kept: list[Any] = []

    def make(state: State) -> dict[str, Any]:
        kept.append(LARGE.copy())
        return {"a": kept[0], "nested": {"a": [kept[0]]}}

    def later(state: State) -> None:
        kept[0][:] = 0
        assert np.array_equal(state["a"], LARGE)
        assert not np.shares_memory(state["a"], kept[0])

    final = run(store, make, later)
    kept[0][:] = 1
    assert np.array_equal(final["a"], LARGE)
    assert np.array_equal(store.load("r")["nested"]["a"][0], LARGE)


def test_writing_to_an_array_that_was_read_raises_and_changes_nothing(store: Store) -> None:
    def write(state: State) -> None:
        with pytest.raises(ValueError, match="read-only"):
            state["a"][0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            state["a"].flags.writeable = True
        raise KeyError("on purpose")

    with pytest.raises(ExecutionError):
        run(store, write, given={"a": LARGE})
    with elsewhere(store) as fresh:
        assert np.array_equal(fresh.load("r")["a"], LARGE)


def test_an_array_that_was_read_is_not_encoded_again_also_when_it_is_returned(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[Any] = []
    encode = cells_module.encode
    recorder = Recorder()

    def start(state: State) -> None:
        monkeypatch.setattr(cells_module, "encode", lambda value: encoded.append(value) or encode(value))

    def read(state: State) -> dict[str, Any]:
        return {"a": state["a"], "sum": float(state["a"].sum() + state["b"].sum())}

    run(store, start, read, read, given={"a": LARGE, "b": LARGE.T}, observer=recorder)
    assert encoded == [LARGE.sum() * 2] * 2
    saved = [event.data["changed"] for event in recorder.events if event.type == "checkpoint.save"]
    assert saved == [[], ["sum"], []]


def test_the_shape_of_an_array_changed_in_place_is_a_change_like_any_other(store: Store) -> None:
    def reshape(state: State) -> None:
        state["a"].dtype = "<i8"

    def look(state: State) -> None:
        assert state["a"].dtype == np.dtype("<i8")

    final = run(store, reshape, look, given={"a": LARGE})
    assert np.array_equal(final["a"].view("<f8"), LARGE)
    with elsewhere(store) as fresh:
        assert fresh.load("r")["a"].dtype == np.dtype("<i8")


def test_an_array_read_from_the_store_is_one_view_of_what_was_fetched(store: Store) -> None:
    run(store, lambda state: None, given={"a": LARGE})
    with elsewhere(store) as fresh:
        state = fresh.load("r")
        value = state["a"]
        assert value is state["a"]
        assert not value.flags.owndata
        assert value.flags.aligned
        base = value.base
        while isinstance(base, np.ndarray):
            base = base.base
        assert len(memoryview(base)) < LARGE.nbytes + 400
