"""The figures of the report, as SVG text whose bytes depend on the numbers alone.

Figures are drawn without pyplot, under matplotlib's own defaults and a fixed salt for ids, without a date; glyphs are
paths, so that the page looks the same wherever it is opened.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, MUTED, GRID = "#1f2933", "#66727f", "#e3e8ee"
WARM, COOL, GREEN = "#b23a2e", "#2b6ca3", "#3d7f5c"
STYLE = {
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "font.family": ["DejaVu Sans"],
    "font.size": 10.0,
    "grid.color": GRID,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "svg.fonttype": "path",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}
MONTHS = ["J", "F", "M", "A", "M", "J", "J", "A", "S", "O", "N", "D"]

Results = Mapping[str, Any]


def draw(name: str, paint: Callable[[Axes], None], size: tuple[float, float] = (6.6, 3.9)) -> str:
    """One figure as an `<svg>` element; `name` makes its ids unique within a page."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({**STYLE, "svg.hashsalt": name})
        figure = Figure(figsize=size, layout="constrained")
        canvas = FigureCanvasSVG(figure)
        paint(figure.subplots())
        buffer = io.BytesIO()
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        canvas.print_svg(buffer, metadata=metadata)
    text = buffer.getvalue().decode()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', "", text, count=1)


def _columns(rows: Sequence[Sequence[Any]]) -> list[np.ndarray]:
    return [np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)]


def _found(results: Results, name: str) -> Mapping[str, Any]:
    return next(row for row in results["estimates"] if row["id"] == name)


def temperature(axes: Axes, annual: Sequence[Sequence[Any]], results: Results) -> None:
    """The anomalies with the data set's limits, and the trends of two periods."""
    years, values, lower, upper = _columns(annual)
    axes.fill_between(
        years, lower, upper, color=WARM, alpha=0.2, linewidth=0, label="2.5-97.5 % limits of the data set"
    )
    axes.plot(years, values, color=WARM, linewidth=1.2, label="annual mean, HadCRUT5")
    for name, style in (("temperature-trend-1850-2021", "--"), ("temperature-trend-1979-2020", "-")):
        row = _found(results, name)
        first, last = (int(year) for year in row["period"].split("-"))
        part = (years >= first) & (years <= last)
        slope = row["value"] / 10.0
        start = float(np.median(values[part] - slope * years[part]))
        label = f"Theil-Sen {first}-{last}: {row['value']:.3f} K per decade"
        axes.plot([first, last], [start + slope * first, start + slope * last], style, color=INK, lw=1.6, label=label)
    axes.set(xlabel="year", ylabel="anomaly from 1961-1990 (K)", xlim=(years[0], years[-1] + 1))
    axes.legend(loc="upper left")


def running(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """Trends of every 30-year window against its middle."""
    middle = np.array([(row["first"] + row["last"]) / 2 for row in rows])
    value, lower, upper = (np.array([row[key] for row in rows]) for key in ("value", "lower", "upper"))
    axes.fill_between(middle, lower, upper, color=COOL, alpha=0.2, linewidth=0, label="95 % block-bootstrap limits")
    axes.plot(middle, value, color=COOL, linewidth=1.6, label="Theil-Sen trend of 30 years")
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    axes.set(xlabel="middle of the 30 years", ylabel="trend (K per decade)", xlim=(middle[0], middle[-1]))
    axes.legend(loc="upper left")


def carbon(axes: Axes, months: Sequence[Sequence[Any]]) -> None:
    """Monthly means, the trend through them, and the months that were filled."""
    when, value, trend, known = (np.array([row[i] for row in months]) for i in (2, 3, 4, 5))
    axes.plot(when, value, color=GREEN, linewidth=0.9, label="monthly mean")
    axes.plot(when, trend, color=INK, linewidth=1.2, label="centred 12-month mean")
    axes.plot(when[~known], value[~known], "o", color=WARM, markersize=4, label="filled month")
    axes.set(xlabel="year", ylabel="CO₂ at Mauna Loa (ppm)", xlim=(when[0], when[-1]))
    axes.legend(loc="upper left")


def growth(axes: Axes, results: Results) -> None:
    """Year-to-year growth and its mean over each whole decade."""
    years, values = _columns(results["annual_growth"])
    axes.bar(years, values, color=GREEN, alpha=0.45, width=0.8, label="annual mean minus the year before")
    label = "mean of the decade"
    for first in (1960, 1970, 1980, 1990):
        level = _found(results, f"co2-growth-{first}s")["value"]
        axes.plot([first - 0.5, first + 9.5], [level, level], color=INK, linewidth=1.8, label=label)
        label = "_"
    axes.set(xlabel="year", ylabel="growth (ppm per year)", xlim=(years[0] - 1, years[-1] + 1))
    axes.legend(loc="upper left")


def season(axes: Axes, cycle: Sequence[Sequence[Any]]) -> None:
    """The mean seasonal cycle at the middle of each month."""
    month, value, lower, upper = _columns(cycle)
    axes.fill_between(month, lower, upper, color=GREEN, alpha=0.3, linewidth=0, label="95 % limits, blocks of years")
    axes.plot(month, value, "o-", color=GREEN, markersize=4, linewidth=1.4, label="mean cycle, middle of the month")
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    axes.set(xlabel="month", ylabel="CO₂ less its trend (ppm)", xticks=month, xticklabels=MONTHS)
    axes.legend(loc="upper right")


def together(axes: Axes, aligned: Sequence[Sequence[Any]], results: Results) -> None:
    """Annual temperature against CO2 on a doubling scale, with the least-squares line."""
    years, ppm, kelvin = _columns(aligned)
    line = results["association_line"]
    axes.scatter(np.log2(ppm), kelvin, c=years, cmap="viridis", s=26)
    ends = np.log2(np.array([ppm.min(), ppm.max()]))
    slope = _found(results, "association")
    label = f"{slope['value']:.2f} K per doubling ({slope['lower']:.2f} to {slope['upper']:.2f})"
    axes.plot(ends, line["intercept"] + line["slope"] * ends, color=INK, linewidth=1.4, label=label)
    ticks = np.arange(320, 371, 10)
    axes.set(xlabel="CO₂ (ppm, spaced by log₂)", ylabel="anomaly from 1961-1990 (K)", xticks=np.log2(ticks))
    axes.set_xticklabels([str(tick) for tick in ticks])
    axes.legend(loc="upper left")
    for index in (0, 11, 21, 31, len(years) - 1):
        place = (np.log2(ppm[index]), kelvin[index])
        axes.annotate(f"{years[index]:.0f}", place, xytext=(5, -10), textcoords="offset points", fontsize=8, color=INK)


def all_figures(state: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(title, caption, svg) of every figure, in the order of the page."""
    results, prepared, annual = state["results"], state["prepared"], state["temperature_annual"]
    filled = len(prepared["gaps"]["filled_months"])
    return [
        ("Global mean temperature", "Shading: the data set's own 2.5 and 97.5 % limits. Lines: trends of two periods.",
         draw("temperature", lambda axes: temperature(axes, annual, results))),
        ("Trends of thirty years", "One trend for each window of 30 years; shading: 95 % limits of each alone.",
         draw("running", lambda axes: running(axes, results["running_trends"]))),
        ("Carbon dioxide at Mauna Loa", f"Red points: the {filled} months that were filled, not measured.",
         draw("carbon", lambda axes: carbon(axes, prepared["months"]))),
        ("Growth of carbon dioxide", "Differences of successive annual means; lines: means of whole decades.",
         draw("growth", lambda axes: growth(axes, results))),
        ("Seasonal cycle", "Four harmonics fitted to weekly values about their trend.",
         draw("season", lambda axes: season(axes, results["seasonal_cycle"]))),
        ("Temperature and carbon dioxide together", "Each point is a year. An association, not a climate sensitivity.",
         draw("together", lambda axes: together(axes, prepared["aligned"], results))),
    ]  # fmt: skip
