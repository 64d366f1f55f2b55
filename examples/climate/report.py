"""The report: `report.json` for programs and `report.html` for people, the same bytes for the same state.

Neither holds a time, a run id, a path or a host name. The versions of what computed it are in it, since another release
may round and draw otherwise.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import tempfile
from collections.abc import Iterable, Mapping
from html import escape
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

import tables
from figures import WIDE, all_figures
from references import WORKS
from tables import decimals_for, interval, number, text, value_cell

TITLE = "Temperature and carbon dioxide: two long records"
HIGHLIGHTS = ("temperature-trend-1979-2020", "warming", "co2-growth-ends", "seasonal-amplitude")
HERE = Path(__file__).resolve().parent
DIGITS = 6

EFFORT_TEXT = (
    "This report was computed with {resamples} resamples for each estimate, {triangle_resamples} for each period of "
    "the trend triangle and {series} simulated series for the coverage of the limits; report.json lists the seeds. "
    "{full}"
)
LESS = "The whole, scripts/demo --full, takes 10000, 1000 and 1000."
LIMITS_TEXT = (
    "Block-bootstrap limits are 95 % percentile limits of moving-block resamples (Künsch 1989). Block length: "
    "Carlstein's (1986) rule for an AR(1) series, (√6 r / (1 − r²))^(2/3) n^(1/3), with the residuals' lag-1 "
    "autocorrelation r freed of its bias, at least n^(1/3) and at most n/4; the table shows it as b. The resampled "
    "residuals are stretched, by a rule of our own that is in no publication, for what short blocks lose (correlation "
    "beyond a block, degrees of freedom, Student's t). "
    "Those of the size of the seasonal cycle resample whole years and are not stretched; from ten years they are on "
    "the narrow side. All these limits tell how far year-to-year variation moves an estimate. The coverage table says "
    "how far each kind can be trusted."
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


def lines(value: Any, depth: int = 0) -> str:
    """JSON with a line for each row: what holds no mapping or list of its own stays on one line."""
    parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if not any(isinstance(part, (dict, list)) for part in parts):
        return json.dumps(value, ensure_ascii=False)
    indent = "\n" + " " * (depth + 1)
    if isinstance(value, dict):
        inner = [f"{json.dumps(key, ensure_ascii=False)}: {lines(part, depth + 1)}" for key, part in value.items()]
        return "{" + indent + ("," + indent).join(inner) + "\n" + " " * depth + "}"
    return "[" + indent + ("," + indent).join(lines(part, depth + 1) for part in value) + "\n" + " " * depth + "]"


def as_json(state: Mapping[str, Any]) -> bytes:
    """`report.json`: parameters, sources, preparation, estimates, tables and the series behind the figures."""
    results, prepared = state["results"], state["prepared"]
    curve = prepared["curve"]
    content = {
        "title": TITLE,
        "format": 3,
        "parameters": results["parameters"],
        "effort": effort_text(results),
        "limits": LIMITS_TEXT,
        "sources": state["sources"],
        "preparation": {**prepared["gaps"], "co2_fit": {key: curve[key] for key in ("polynomial", "scatter_ppm", "n")}},
        "estimates": results["estimates"],
        "temperature_trends": results["trends"],
        "warming_data_errors": results["warming_errors"],
        "block_length_effect": results["block_effect"],
        "coverage": results["coverage"],
        "growth_coverage": results["growth_coverage"],
        "software": software(),
        "association_limits": results["association_limits"],
        "triangle": results["triangle"],
        "series": {
            "temperature_annual": state["temperature_annual"],
            "co2_annual": prepared["annual"],
            "co2_annual_growth": results["annual_growth"],
            "co2_growth_rate": results["growth_rates"],
            "seasonal_cycle": results["seasonal_cycle"],
            "seasonal_curve": results["seasonal_curve"],
            "seasonal_size": results["seasonal_sizes"],
            "co2_weeks": [[day.isoformat(), *rest] for day, *rest in curve["weeks"]],
        },
        "works": list(WORKS),
    }
    return (lines(rounded(content)) + "\n").encode()


def software() -> dict[str, str]:
    """What the numbers and figures were made with."""
    return {"Python": platform.python_version(), **{name: version(name) for name in ("numpy", "matplotlib")}}


def effort_text(results: Mapping[str, Any]) -> str:
    """How much was computed, and whether the whole would be more."""
    given = results["parameters"]
    full = "" if given["triangle_resamples"] >= 1000 else LESS
    thinned = "" if given["every"] == 1 else f" The triangle holds every {given['every']}th first and last year only."
    return EFFORT_TEXT.format(**given, full=full).strip() + thinned


def tiles(estimates: Iterable[Mapping[str, Any]]) -> str:
    """The four figures that head the page."""
    by_name = {row["id"]: row for row in estimates}
    found = []
    for row in (by_name[name] for name in HIGHLIGHTS):
        value, limits = value_cell(row)
        found.append(
            f"<div><b>{value}</b> {text(row['unit'])}<p>{text(row['quantity'])}, {text(row['period'])}</p>"
            f"<small>{limits}, {text(row['limits_method'])}</small></div>"
        )
    return "\n".join(found)


def source_items(sources: Iterable[Mapping[str, Any]]) -> str:
    """What each data set is, where it ends, its terms and the digest of the very file."""
    return "\n".join(
        f"<li><b>{text(one['title'])}</b>, {text(one['unit'])}. {one['rows']} rows, {one['missing']} empty, "
        f"from {text(one['first'])} to {text(one['last'])}, where the file ends.<br>{text(one['citation'])}<br>"
        f"Licence: {text(one['licence'])}. {escape(one['attribution'])}<br>"
        f"<code>{escape(one['file'])}</code>, SHA-256 <code>{one['sha256']}</code></li>"
        for one in sources
    )


def triangle_text(triangle: Mapping[str, Any]) -> str:
    """The triangle in words."""
    found = triangle["summary"]
    largest, smallest = found["largest"], found["smallest"]
    named = [
        f"{number(one['trend'], 2)} ± {number(one['half_width'], 2)} K per decade in {one['first']}-{one['last']}"
        for one in (largest, smallest)
    ]
    return (
        f"Of {found['periods']:,} periods with first and last year at least {found['shortest']} years apart, "
        f"{100 * found['above_zero']:.0f} % have limits wholly above zero and {100 * found['below_zero']:.0f} % wholly "
        f"below; of the {found['long_periods']:,} periods of 50 years or more "
        f"{100 * found['long_above_zero']:.0f} % lie above. Of the {found['to_newest']} periods that end in "
        f"{found['newest']}, {found['to_newest_above_zero']} lie above. The largest trend is {named[0]}, the smallest "
        f"{named[1]}; both are chosen for being extreme, which their limits do not know. Periods overlap, so the "
        "percentages describe this record and are not a test. Limits are the trend ± 1.96 bootstrap standard errors; "
        f"{found['resamples']} resamples know a half width to about ± {100 * found['spread_known_to']:.0f} %."
    )


def association_text(results: Mapping[str, Any]) -> str:
    """The caveat of the association, with its two numbers."""
    rows = {row["id"]: row for row in results["estimates"]}
    watson, changes = rows["association-durbin-watson"], rows["association-changes"]
    return (
        f"{rows['association']['note']} The Durbin-Watson statistic of the line is {number(watson['value'], 2)}; the "
        f"correlation of the first differences, free of the common rise, {number(changes['value'], 2)} "
        f"({interval(changes['lower'], changes['upper'], 2)}, 95 %, Fisher's transformation)."
    )


def figure(count: int, name: str, title: str, caption: str, svg: str) -> str:
    """A figure with its number, title and caption; one of several panels may be scrolled on a narrow screen."""
    kind = " class=wide" if name in WIDE else ""
    inner = f"<h3>Figure {count}. {text(title)}</h3>{svg}<figcaption>{text(caption)}</figcaption>"
    return f"<figure role=group{kind}>{inner}</figure>"


def as_html(state: Mapping[str, Any]) -> bytes:
    """`report.html`: one page that needs no other file."""
    results, gaps, curve = state["results"], state["prepared"]["gaps"], state["prepared"]["curve"]
    notes: list[str] = []
    estimates = tables.estimates_table(results["estimates"], notes)
    pictures = {name: figure(count, name, *rest) for count, (name, *rest) in enumerate(all_figures(state), 1)}
    by_period = "\n".join(
        f"<h3>{trend['period']}</h3>{tables.limits_table(trend['limits'], 'K per decade', 3)}"
        f"<p class=notes>Least-squares residuals: lag-1 autocorrelation {number(trend['lag1'], 2)}, Durbin-Watson "
        f"{number(trend['durbin_watson'], 2)}.</p>"
        for trend in results["trends"]
    )
    cases = results["coverage"]
    wider = [value for case in results["growth_coverage"] for value in case["wider"].values()]
    page = Template((HERE / "page.html").read_text(encoding="utf-8")).substitute(
        {f"figure_{name}": picture for name, picture in pictures.items()},
        title=escape(TITLE),
        tiles=tiles(results["estimates"]),
        effort=text(effort_text(results)),
        estimates=estimates,
        notes="\n".join(f"<li>{text(note)}</li>" for note in notes),
        by_period=by_period,
        kendall=tables.kendall_table(results["trends"]),
        errors=tables.errors_table(results["trends"]),
        coverage=tables.coverage_table(cases),
        growth_coverage=tables.coverage_table(results["growth_coverage"]),
        growth_wider=interval(min(wider), max(wider), 1),
        software=text(", ".join(f"{name} {version}" for name, version in software().items())),
        coverage_series=f"{cases[0]['series']:,}",
        coverage_error=f"{100 * cases[0]['error']:.1f}",
        triangle=text(triangle_text(results["triangle"])),
        association=text(association_text(results)),
        association_limits=tables.limits_table(
            results["association_limits"], "K per doubling", decimals_for(results["association_line"]["slope"])
        ),
        limits=text(LIMITS_TEXT),
        empty_weeks=gaps["empty_weeks"],
        filled_weeks=gaps["filled_weeks"],
        dropped_weeks=gaps["dropped_weeks"],
        longest_gap=f"{gaps['longest_gap_weeks']} weeks from {gaps['longest_gap_start']}",
        fitted_weeks=f"{curve['n']:,}",
        scatter=number(curve["scatter_ppm"], 2),
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
