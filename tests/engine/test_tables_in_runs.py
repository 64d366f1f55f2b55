"""Tables: Arrow streams that other readers take, copies of a node's own, and streams that are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from engine_steps import elsewhere, run
from msgspec import msgpack

from exactness import same
from table_values import EVERY, TABLE
from tau import CorruptCheckpointError, State
from tau.observers import Recorder
from tau.stores.contract import Store
from tau.values import decode, encode
from tau.values.tags import ARROW_TABLE


def test_a_table_changed_in_place_is_stored_and_one_that_was_read_is_not(store: Store) -> None:
    recorder = Recorder()

    def look(state: State) -> None:
        state["frame"].describe()
        state["frame"].isna().sum()

    def change(state: State) -> None:
        state["frame"].loc[0, "x"] = 9.0
        state["frame"]["new"] = ["a", None]

    frame = pd.DataFrame({"x": [1.0, 2.0], "s": ["a", "b"]})
    final = run(store, look, change, look, given={"frame": frame}, observer=recorder)
    saved = [event.data["changed"] for event in recorder.events if event.type == "checkpoint.save"]
    assert saved == [[], ["frame"], []]
    expected = pd.DataFrame({"x": [9.0, 2.0], "s": ["a", "b"], "new": ["a", None]})
    with elsewhere(store) as fresh:
        for found in (final["frame"], fresh.load("r")["frame"]):
            pd.testing.assert_frame_equal(found, expected)
    assert frame.loc[0, "x"] == 1.0


def test_what_a_node_does_to_its_own_table_after_it_returned_changes_nothing(store: Store) -> None:
    kept: list[Any] = []

    def make(state: State) -> dict[str, Any]:
        numbers = np.arange(3.0)
        kept.extend([numbers, pd.DataFrame({"x": numbers}, copy=False), pa.array(numbers)])
        return {"frame": kept[1], "array": kept[2]}

    def later(state: State) -> None:
        kept[0][:] = -1
        kept[1].loc[:, "x"] = -2
        assert state["frame"]["x"].tolist() == [0.0, 1.0, 2.0]
        assert state["array"].to_pylist() == [0.0, 1.0, 2.0]

    final = run(store, make, later)
    assert final["frame"]["x"].tolist() == [0.0, 1.0, 2.0]


def test_the_stream_of_a_table_is_read_by_arrow_alone() -> None:
    frame = pd.DataFrame({"x": [1.5, np.nan], "s": ["a", None], "n": pd.array([1, None], "Int64")})
    data = encode(frame)
    read = pa.ipc.open_stream(data[data.index(b"\xff\xff\xff\xff") :]).read_all()
    assert read.column_names == ["x", "s", "n"]
    assert read["s"].to_pylist() == ["a", None]
    assert read["n"].to_pylist() == [1, None]
    assert read["x"].to_pylist()[0] == 1.5


def stream(compression: str | None = None) -> bytes:
    table = pa.table({"x": [0.0] * 10_000, "d": pa.array(["a"] * 10_000).dictionary_encode()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def test_a_stream_that_is_compressed_inside_is_refused_before_it_is_expanded() -> None:
    assert decode(msgpack.encode(msgpack.Ext(ARROW_TABLE, stream()))).num_rows == 10_000
    for compression in ("zstd", "lz4"):
        with pytest.raises(CorruptCheckpointError, match="compressed inside"):
            decode(msgpack.encode(msgpack.Ext(ARROW_TABLE, stream(compression))))


def test_a_stream_whose_offsets_or_text_are_damaged_is_corrupt() -> None:
    data = encode(pa.table({"s": ["\u20ac" * 3, "b"]}))
    with pytest.raises(CorruptCheckpointError):
        decode(data.replace("\u20ac\u20ac\u20ac".encode(), b"\xff" * 9))
    for length in range(len(data)):
        with pytest.raises(CorruptCheckpointError):
            decode(data[:length])


def test_values_read_are_written_again_as_the_same_bytes() -> None:
    for value in (EVERY, TABLE):
        assert encode(decode(encode(value))) == encode(value)
        assert same(decode(encode(value)), value)
