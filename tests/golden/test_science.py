"""Arrays and tables as format 1 first wrote them are read, exactly; the file is added to and never made again.

``python tests/golden/test_science.py`` prints what it would hold now.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from exactness import same
from tau.values import decode, encode

DTYPE = np.dtype([("id", "<i4"), ("at", "<M8[s]"), ("y", ">f4", (2,))])
VALUES: dict[str, Any] = {
    "numbers": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
    "structured": np.array([(1, "2024-01-01", (0.5, 1.5))], DTYPE),
    "text": np.array(["a", "\u20ac"]),
    "scalars": [np.float32(1.5), np.datetime64("2024-02-29", "D"), np.bool_(True), np.longlong(3), np.str_("x")],
    "masked": np.ma.array([1, 2], mask=[True, False]),
    "dtype": DTYPE,
    "frame": pd.DataFrame(
        {
            "x": [1.5, np.nan],
            "n": pd.array([1, None], "Int64"),
            "s": pd.array(["a", None], "string"),
            "t": pd.to_datetime(["2024-01-01", None]).as_unit("s"),
            "c": pd.Categorical(["b", None], categories=["a", "b"]),
        },
        index=pd.date_range("2024-01-01", periods=2, freq="D", tz="Europe/Berlin", unit="s", name="day"),
    ),
    "series": pd.Series([True, False], index=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]), name=("n", 1)),
    "indexes": [pd.RangeIndex(3, 9, 2), pd.period_range("2024", periods=2, freq="M"), pd.interval_range(0, 2)],
    "instants": [pd.Timestamp("2024-01-01", tz="Europe/Berlin"), pd.Timedelta("1s"), pd.Period("2024-03", "M"), pd.NaT],
}
STORED = Path(__file__).parent / "v1" / "science.json"


@pytest.mark.parametrize("name", VALUES)
def test_what_was_written_is_read_exactly(name: str) -> None:
    stored = bytes.fromhex(json.loads(STORED.read_text())[name])
    assert same(decode(stored), VALUES[name])


if __name__ == "__main__":
    print(json.dumps({name: encode(value).hex() for name, value in VALUES.items()}, indent=1))
