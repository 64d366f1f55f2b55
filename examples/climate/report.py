"""The report: `report.json` for programs and `report.html` for people, the same bytes for the same state.

Neither holds a time, a run id, a path, a host name or a version of anything but the data.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from figures import all_figures
from references import WORKS

TITLE = "Temperature and carbon dioxide: two long records"
HIGHLIGHTS = ("temperature-trend-1979-2020", "warming", "co2-growth-ends", "seasonal-amplitude")
HERE = Path(__file__).resolve().parent
DIGITS = 6
MONTH_NAMES = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)

LIMITS_TEXT = (
    "Limits are 95 % percentile limits of {resamples} moving-block resamples (Kunsch 1989) from seed {seed}. "
    "Block length: Carlstein's (1986) rule for an AR(1) series with the residuals' lag-1 autocorrelation freed of "
    "its bias, at least n^(1/3) and at most a quarter of the series; the table shows it as b. The resampled "
    "residuals are stretched for what short blocks lose (correlation beyond a block, degrees of freedom, "
    "Student's t). In simulated AR(1) series of 42 and 172 years such limits held the true trend in 87 to 96 % of "
    "cases: read the nominal 95 % with that in mind. The limits of the size of the seasonal cycle resample whole "
    "years and are not stretched; from ten years they are on the narrow side. They tell how much year-to-year "
    "variation moves an estimate; the measurement uncertainty of the data sets is not in them."
)


def rounded(value: Any) -> Any:
    """The same structure with floats cut to six significant digits; NaN and infinities are refused with ValueError."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"a report cannot hold {value}; find the estimate that has no finite value")
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(part) for part in value]
    return value


def as_json(state: Mapping[str, Any]) -> bytes:
    """`report.json`: parameters, sources, preparation, estimates and the series behind the figures."""
    results, prepared = state["results"], state["prepared"]
    content = {
        "title": TITLE,
        "format": 1,
        "parameters": results["parameters"],
        "limits": LIMITS_TEXT.format(**results["parameters"]),
        "sources": state["sources"],
        "preparation": prepared["gaps"],
        "estimates": results["estimates"],
        "series": {
            "temperature_annual": state["temperature_annual"],
            "co2_annual": prepared["annual"],
            "co2_annual_growth": results["annual_growth"],
            "running_trends": results["running_trends"],
            "seasonal_cycle": results["seasonal_cycle"],
        },
        "works": list(WORKS),
    }
    return (json.dumps(rounded(content), indent=1, ensure_ascii=False) + "\n").encode()


def text(raw: str) -> str:
    """Plain text as HTML, with the subscript that CO2 has in print."""
    return escape(raw).replace("CO2", "CO₂")


def number(value: float, decimals: int) -> str:
    """A number for reading: fixed decimals and a true minus sign."""
    return f"{value:.{decimals}f}".replace("-", "−")


def decimals_for(value: float) -> int:
    """Decimals that show three significant digits."""
    return max(0, 2 - math.floor(math.log10(abs(value)))) if value else 2


def value_cell(row: Mapping[str, Any]) -> tuple[str, str]:
    """(value, limits) as text; the limits are empty where there are none."""
    decimals = decimals_for(row["value"])
    if "lower" not in row:
        return number(row["value"], decimals), ""
    return number(row["value"], decimals), f"{number(row['lower'], decimals)} to {number(row['upper'], decimals)}"


def detail(row: Mapping[str, Any]) -> str:
    """The small print of an estimate: months of the extremes, how many values, which blocks."""
    parts = [row["method"]]
    if "month_of_maximum" in row:
        high, low = MONTH_NAMES[row["month_of_maximum"] - 1], MONTH_NAMES[row["month_of_minimum"] - 1]
        parts.append(f"maximum in {high}, minimum in {low}")
    size = f"n = {row['n']}" + (f", b = {row['block_length']}" if "block_length" in row else "")
    return "; ".join([*parts, size])


def table_rows(estimates: Sequence[Mapping[str, Any]], notes: list[str]) -> str:
    """The rows of the table; notes are collected, each once, and referred to by number."""
    rows = []
    for row in estimates:
        value, interval = value_cell(row)
        mark = ""
        if row.get("note"):
            if row["note"] not in notes:
                notes.append(row["note"])
            mark = f"<sup>{notes.index(row['note']) + 1}</sup>"
        other = row["counterpart"]
        published = f"{escape(other['text'])}<small>{escape(other['source'])}</small>" if other else "–"
        rows.append(
            f"<tr><th scope=row>{text(row['quantity'])}{mark}<small>{text(detail(row))}</small></th>"
            f"<td>{escape(row['period'])}</td><td class=n>{value}<small>{escape(row['unit'])}</small></td>"
            f"<td class=n>{interval or '–'}</td><td>{published}</td></tr>"
        )
    return "\n".join(rows)


def tiles(estimates: Iterable[Mapping[str, Any]]) -> str:
    """The four figures that head the page."""
    by_name = {row["id"]: row for row in estimates}
    found = []
    for row in (by_name[name] for name in HIGHLIGHTS):
        value, interval = value_cell(row)
        below = f"{interval} (95 %)" if interval else "no limits from annual data"
        found.append(
            f"<div><b>{value}</b> {escape(row['unit'])}<p>{text(row['quantity'])}, {escape(row['period'])}</p>"
            f"<small>{below}</small></div>"
        )
    return "\n".join(found)


def source_items(sources: Iterable[Mapping[str, Any]]) -> str:
    """What each data set is, where it ends, its terms and the digest of the very file."""
    return "\n".join(
        f"<li><b>{text(one['title'])}</b>, {escape(one['unit'])}. {one['rows']} rows, {one['missing']} empty, "
        f"from {escape(one['first'])} to {escape(one['last'])}.<br>{text(one['citation'])}<br>"
        f"Licence: {escape(one['licence'])}. {escape(one['attribution'])}<br>"
        f"<code>{escape(one['file'])}</code>, SHA-256 <code>{one['sha256']}</code></li>"
        for one in sources
    )


def as_html(state: Mapping[str, Any]) -> bytes:
    """`report.html`: one page that needs no other file."""
    results, gaps = state["results"], state["prepared"]["gaps"]
    notes: list[str] = []
    rows = table_rows(results["estimates"], notes)
    pictures = "\n".join(
        f"<figure role=group><h3>{text(title)}</h3>{svg}<figcaption>{text(caption)}</figcaption></figure>"
        for title, caption, svg in all_figures(state)
    )
    page = Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(TITLE),
        tiles=tiles(results["estimates"]),
        figures=pictures,
        rows=rows,
        notes="\n".join(f"<li>{text(note)}</li>" for note in notes),
        limits=text(LIMITS_TEXT.format(**results["parameters"])),
        empty_weeks=gaps["empty_weeks"],
        longest_gap=f"{gaps['longest_gap_weeks']} weeks from {gaps['longest_gap_start']}",
        filled=escape(", ".join(gaps["filled_months"])),
        first_year=gaps["first_year_used"],
        sources=source_items(state["sources"]),
        works="\n".join(f"<li>{text(work)}</li>" for work in WORKS),
    )
    return page.encode()


def write(folder: Path, name: str, content: bytes) -> dict[str, Any]:
    """Put a file in place in one step: a reader, or a kill, meets the old file or the whole new one."""
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, folder / name)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return {"file": name, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
