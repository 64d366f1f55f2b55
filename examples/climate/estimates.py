"""The shape of one computed figure, shared by the parts of the analysis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from references import COUNTERPARTS

RESIDUAL_BLOCKS = "95 % percentile limits, moving-block bootstrap of the residuals (Kunsch 1989)"
YEAR_BLOCKS = "95 % percentile limits, moving-block bootstrap of whole years (Kunsch 1989)"


def estimate(name: str, quantity: str, period: str, unit: str, method: str, **found: Any) -> dict[str, Any]:
    """One computed figure; `found` holds `value`, and where they exist `lower upper limits_method n note`."""
    row = {"id": name, "quantity": quantity, "period": period, "unit": unit, "method": method, **found}
    row["counterpart"] = COUNTERPARTS.get(name)
    return row


def scaled(found: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """The same estimate in another unit: value and limits times `factor`."""
    return {key: value * factor if key in ("value", "lower", "upper") else value for key, value in found.items()}
