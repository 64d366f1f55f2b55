"""What the libraries' own operations leave behind comes back as it was: indexes, dtypes, codes, attributes."""

from __future__ import annotations

import pandas as pd
import pytest
import xarray as xr

import tau
from exactness import same
from library_values import FEW, GRID, GROUPS, MANY, TEXT, made
from tau.values import decode, encode

MADE = made()


@pytest.mark.parametrize("group", list(GROUPS))
def test_what_an_operation_gives_comes_back_and_is_no_change(group: str) -> None:
    different, changed = [], []
    for name, value in MADE.items():
        if not name.startswith(group):
            continue
        data = encode(value)
        read = decode(data)
        if not same(value, read):
            different.append(name)
        if encode(read) != data:
            changed.append(name)
    assert (different, changed) == ([], [])


def test_there_are_enough_operations() -> None:
    assert len(MADE) > 240


# Of `pd.Categorical(MANY)[:2].set_categories(["a"], rename=True)`, when what was written so could not be read again:
# codes of two bytes, where pandas itself would take one.
STORED = bytes.fromhex(
    "c801423b9393a163c7143a9600c093a173a770796172726f77c291a161c0c0c2c79130000b0000000000000000000000934e554d50590100"
    "76007b276465736372273a20273c6932272c2027666f727472616e5f6f72646572273a2046616c73652c20277368617065273a2028322c29"
    "2c207d2020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020"
    "202020202020200a0000ffffc78f30000b0000000000000000000000934e554d5059010076007b276465736372273a20277c6231272c2027"
    "666f727472616e5f6f72646572273a2046616c73652c20277368617065273a2028322c292c207d2020202020202020202020202020202020"
    "202020202020202020202020202020202020202020202020202020202020202020202020202020202020200a0001"
)


def test_categories_that_were_stored_and_could_not_be_read_are_rescued() -> None:
    kept = pd.Categorical(MANY)[:2].set_categories(["a"], rename=True)
    assert kept.codes.dtype == "int16"
    assert same(decode(STORED), kept)
    assert encode(kept) == STORED


def test_a_run_with_renamed_categories_is_read_by_its_next_node_and_after_a_resume(tmp_path: object) -> None:
    graph = tau.StateGraph("survey", store=f"sqlite:///{tmp_path}/runs.db")
    seen = []

    @graph.node
    def recode(state: tau.State) -> dict[str, object]:
        return {"t": FEW.cat.set_categories(MANY, rename=True)}

    @graph.node
    def count(state: tau.State) -> dict[str, object]:
        seen.append(state["t"])
        if len(seen) == 1:
            raise ValueError("not yet")
        return {"n": len(state["t"].cat.categories)}

    graph.sequence(recode, count)
    with pytest.raises(tau.ExecutionError, match="not yet"):
        graph.execute({}, run_id="r")
    assert graph.resume("r")["n"] == 300
    assert all(same(one, FEW.cat.set_categories(MANY, rename=True)) for one in seen)


def test_labels_cut_short_by_their_dtype_are_whole_in_the_index() -> None:
    """An index may hold longer text than the dtype that xarray keeps beside it says."""
    value = xr.DataArray([1.5], {"site": ["a"]}).reindex(site=["a", "longer"])
    read = decode(encode(value))
    assert same(read, value)
    assert list(read.indexes["site"]) == ["a", "longer"]


def test_an_ensemble_goes_on_after_it_was_read() -> None:
    """Members are appended and picked as with one that was never stored."""
    members = xr.concat([GRID, GRID], TEXT)
    read = decode(encode(members))
    more = xr.concat([GRID], pd.Index(["r3"], name="member"))
    assert same(xr.concat([read, more], "member"), xr.concat([members, more], "member"))
    assert same(read.sel(member="r2"), members.sel(member="r2"))
    pd.testing.assert_frame_equal(read.to_dataframe(), members.to_dataframe())
