"""The trend triangle: the Theil-Sen trend of every period whose first and last year are `SHORTEST` or more years apart.

A chosen period can be made to say much; the triangle shows what all the others say. It is the long part of the
analysis, some 12,500 periods, and falls into one piece for each first year. A piece is a function of the data, its year
and its seed alone, so that several can be computed at once, and those that a kill left unfinished once more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bootstrap import block_length, residuals_about, stretched_noise
from distributions import Z
from slopes import Array, theil_sen

SHORTEST = 15
"""Least distance of last and first year; shorter periods tell weather and El Nino more than climate."""

DECADE = 10.0

Annual = Sequence[Sequence[Any]]
Piece = dict[str, Any]


def first_years(annual: Annual, every: int) -> list[int]:
    """The first years of the pieces, oldest first; `every` of more than 1 thins the triangle, for trying things out."""
    return list(range(annual[0][0], annual[-1][0] - SHORTEST + 1, every))


def last_years(annual: Annual, first: int, every: int) -> list[int]:
    """The last years that go with a first one: counted back from the newest, so that a thinned triangle keeps it."""
    return list(range(annual[-1][0], first + SHORTEST - 1, -every))[::-1]


def standard_error(x: Array, y: Array, value: float, resamples: int, sequence: np.random.SeedSequence) -> float:
    """Standard deviation of the Theil-Sen slope over moving-block resamples of the residuals, stretched."""
    residuals = residuals_about(x, y, value)
    noise = stretched_noise(residuals, block_length(residuals), resamples, np.random.default_rng(sequence))
    return float(np.std(theil_sen(x, noise), ddof=1))


def piece(annual: Annual, first: int, every: int, resamples: int, seed: int) -> Piece:
    """All periods that begin in `first`: `first`, and for each last year `last trend half_width` in K per decade.

    Limits are the trend -+ half_width, 1.96 standard errors: a few resamples tell a spread better than its percentiles.
    Random numbers: `seed` is this piece's own, and spawns a child for each last year.
    """
    begin = annual[0][0]
    years = np.array([row[0] for row in annual], dtype=np.float64)
    values = np.array([row[1] for row in annual], dtype=np.float64)
    children = np.random.SeedSequence(seed).spawn(annual[-1][0] - first + 1)
    found: Piece = {"first": first, "last": [], "trend": [], "half_width": []}
    for last in last_years(annual, first, every):
        part = slice(first - begin, last - begin + 1)
        value = theil_sen(years[part], values[part])
        error = standard_error(years[part], values[part], value, resamples, children[last - first])
        found["last"].append(last)
        found["trend"].append(DECADE * value)
        found["half_width"].append(DECADE * Z * error)
    return found


def periods(pieces: Sequence[Piece]) -> list[tuple[int, int, float, float]]:
    """(first, last, trend, half width) of every period, in the order of first and last year."""
    return [
        (piece["first"], last, trend, half)
        for piece in pieces
        for last, trend, half in zip(piece["last"], piece["trend"], piece["half_width"], strict=True)
    ]


def summary(pieces: Sequence[Piece], resamples: int, every: int) -> dict[str, Any]:
    """What the whole triangle says in a few numbers; fractions are of the periods, which overlap and are no sample.

    `spread_known_to`: relative standard error of a half width that the number of resamples brings.
    """
    rows = periods(pieces)
    newest = max(row[1] for row in rows)
    above = [row for row in rows if row[2] - row[3] > 0.0]
    below = [row for row in rows if row[2] + row[3] < 0.0]
    to_now = [row for row in rows if row[1] == newest]
    long = [row for row in rows if row[1] - row[0] >= 50]
    open_starts = [row[0] for row in to_now if row[2] - row[3] <= 0.0]
    return {
        "periods": len(rows), "pieces": len(pieces), "resamples": resamples, "every": every, "shortest": SHORTEST,
        "newest": newest, "above_zero": len(above) / len(rows), "below_zero": len(below) / len(rows),
        "long_periods": len(long), "long_above_zero": sum(row[2] > row[3] for row in long) / len(long),
        "to_newest": len(to_now), "to_newest_above_zero": sum(row[2] > row[3] for row in to_now),
        "first_years_to_newest_that_include_zero": open_starts,
        "largest": _named(max(rows, key=lambda row: row[2])), "smallest": _named(min(rows, key=lambda row: row[2])),
        "spread_known_to": 1.0 / math.sqrt(2.0 * (resamples - 1)),
    }  # fmt: skip


def _named(row: tuple[int, int, float, float]) -> Mapping[str, Any]:
    return dict(zip(("first", "last", "trend", "half_width"), row, strict=True))
