"""The shape of one computed figure, shared by the parts of the analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from references import COUNTERPARTS
from slopes import Array

RESIDUAL_BLOCKS = "95 % percentile limits, moving blocks of residuals (Künsch 1989), stretched by our own rule"
YEAR_BLOCKS = "95 % percentile limits, moving blocks of whole years (Künsch 1989)"


def estimate(name: str, quantity: str, period: str, unit: str, method: str, **found: Any) -> dict[str, Any]:
    """One computed figure; `found` holds `value source`, and where they exist `lower upper limits_method n note`."""
    row = {"id": name, "quantity": quantity, "period": period, "unit": unit, "method": method, **found}
    row["counterpart"] = COUNTERPARTS.get(name)
    return row


def scaled(found: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """The same estimate in another unit: value and limits times `factor`."""
    return {key: value * factor if key in ("value", "lower", "upper") else value for key, value in found.items()}


def between(series: Sequence[Sequence[Any]], first: int, last: int) -> tuple[Array, Array]:
    """The first two columns of the rows from the year `first` to `last`."""
    rows = [row for row in series if first <= row[0] <= last]
    return np.array([row[0] for row in rows], dtype=np.float64), np.array([row[1] for row in rows], dtype=np.float64)
