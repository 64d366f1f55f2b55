"""The tables of the report, as HTML. On a narrow screen a row becomes a card, each cell with its column's name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

MONTH_NAMES = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
SOURCE_NAMES = {"co2": "Mauna Loa CO2", "temperature": "HadCRUT5", "both": "HadCRUT5 and Mauna Loa CO2"}
CASE_NAMES = {
    "independent": "independent from year to year",
    "ar1 0.5": "AR(1), 0.5 from year to year",
    "ar1 0.9": "AR(1), 0.9 from year to year (carried through)",
    "common": "one error common to all years",
    "bound": "bound for any correlation",
}


def text(raw: str) -> str:
    """Plain text as HTML, with the subscript that CO2 has in print and true minus signs."""
    return escape(raw).replace("CO2", "CO₂").replace("El Nino", "El Niño")


def number(value: float, decimals: int) -> str:
    """A number for reading: fixed decimals and a true minus sign."""
    return f"{value:.{decimals}f}".replace("-", "−")


def decimals_for(value: float) -> int:
    """Decimals that show three significant digits."""
    return max(0, 2 - math.floor(math.log10(abs(value)))) if value else 2


def interval(lower: float, upper: float, decimals: int) -> str:
    return f"{number(lower, decimals)} to {number(upper, decimals)}"


def value_cell(row: Mapping[str, Any]) -> tuple[str, str]:
    """(value, limits) as text; the limits are empty where there are none."""
    decimals = decimals_for(row["value"])
    limits = interval(row["lower"], row["upper"], decimals) if "lower" in row else ""
    return number(row["value"], decimals), limits


def probability(p: float) -> str:
    """A p value for reading."""
    return "below 0.001" if p < 0.001 else f"{p:.3f}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], numeric: Sequence[int] = ()) -> str:
    """A table of HTML cells under plain column names; the first cell of a row names it."""
    head = "".join(f"<th scope=col>{text(name)}</th>" for name in columns)
    body = []
    for first, *rest in rows:
        cells = "".join(
            f'<td data-label="{text(columns[i])}"{" class=n" if i in numeric else ""}><span>{cell}</span></td>'
            for i, cell in enumerate(rest, 1)
        )
        body.append(f"<tr><th scope=row>{first}</th>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n" + "\n".join(body) + "\n</tbody></table>"


def detail(row: Mapping[str, Any]) -> str:
    """The small print of an estimate: source, method, months of the extremes, how many values, which blocks."""
    parts = [SOURCE_NAMES[row["source"]], row["method"]]
    if "month_of_maximum" in row:
        high, low = MONTH_NAMES[row["month_of_maximum"] - 1], MONTH_NAMES[row["month_of_minimum"] - 1]
        parts.append(f"maximum in {high}, minimum in {low}")
    size = f"n = {row['n']}" + (f", b = {row['block_length']}" if "block_length" in row else "")
    return "; ".join([*parts, size])


def estimates_table(estimates: Sequence[Mapping[str, Any]], notes: list[str]) -> str:
    """The main table; notes are collected, each once, and referred to by number."""
    rows = []
    for row in estimates:
        value, limits = value_cell(row)
        mark = ""
        if row.get("note"):
            if row["note"] not in notes:
                notes.append(row["note"])
            mark = f"<sup>{notes.index(row['note']) + 1}</sup>"
        other = row["counterpart"]
        published = f"{text(other['text'])}<small>{text(other['source'])}</small>" if other else "–"
        shown = f"{limits}<small>{text(row['limits_method'])}</small>" if limits else "–"
        if "with_data_errors" in row:
            both = interval(*row["with_data_errors"], decimals_for(row["value"]))
            shown += f"<small>{both} with the data set's own errors</small>"
        rows.append(
            (
                f"{text(row['quantity'])}{mark}<small>{text(detail(row))}</small>",
                text(row["period"]),
                f"{value} <small>{text(row['unit'])}</small>",
                shown,
                published,
            )
        )
    return table(("Quantity, source, method", "Period", "Value", "95 % limits", "Published"), rows, (2,))


def limits_table(limits: Sequence[Mapping[str, Any]], unit: str, decimals: int) -> str:
    """One slope, its limits by several methods."""
    rows = [
        (
            f"{text(row['fit'])}, {text(row['limits'])}",
            number(row["value"], decimals),
            interval(row["lower"], row["upper"], decimals),
            f"± {number((row['upper'] - row['lower']) / 2, decimals)}",
            text(row["detail"]),
        )
        for row in limits
    ]
    return table((f"Slope and limits ({unit})", "Slope", "95 % limits", "Half width", "How"), rows, (1, 2, 3))


def kendall_table(trends: Sequence[Mapping[str, Any]]) -> str:
    """Mann and Kendall's test, plain and corrected."""
    rows = []
    for trend in trends:
        found = trend["kendall"]
        rows.append(
            (
                text(trend["period"]),
                str(found["n"]),
                f"{found['score']:,}",
                f"{number(found['z'], 2)} <small>p {probability(found['p'])}</small>",
                f"{number(found['factor'], 2)} <small>{found['lags']} lags</small>",
                f"{number(found['z_corrected'], 2)} <small>p {probability(found['p_corrected'])}</small>",
            )
        )
    columns = ("Period", "Years", "S", "Z, independent years", "Variance factor n/n*", "Z, Hamed and Rao")
    return table(columns, rows, (1, 2, 3, 4, 5))


def errors_table(trends: Sequence[Mapping[str, Any]]) -> str:
    """What the data set's own errors alone do to a trend, by how they hang together in time."""
    columns = ("The errors are (half width, K per decade)", *(trend["period"] for trend in trends))
    rows = [
        (text(CASE_NAMES[case]), *(f"± {number(trend['measurement'][case], 4)}" for trend in trends))
        for case in trends[0]["measurement"]
    ]
    return table(columns, rows, range(1, len(columns)))


def coverage_table(cases: Sequence[Mapping[str, Any]]) -> str:
    """How often each kind of limits held the true slope of simulated series."""
    labels = [f"{case['years']} years, r = {case['autocorrelation']}" for case in cases]
    rows = [(text(method), *(f"{100 * case['held'][method]:.0f} %" for case in cases)) for method in cases[0]["held"]]
    return table(("Limits (nominal 95 %)", *labels), rows, range(1, len(labels) + 1))
