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
from carbon import LONG_CUTOFF_DAYS, ORIGIN, decimal_years
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from triangle import SHORTEST, periods

INK, MUTED, GREY, GRID = "#1f2933", "#66727f", "#a8b2bd", "#e3e8ee"
WARM, COOL, GREEN = "#b23a2e", "#2b6ca3", "#3d7f5c"
STYLE = {
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 11.0,
    "font.family": ["DejaVu Sans"],
    "font.size": 10.0,
    "grid.color": GRID,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "svg.fonttype": "path",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}
WIDE = ("triangle", "methods", "blocks", "season")
"""Figures of several panels, which take the whole width of the page; the others stand two in a row."""
STIPPLE = 4
"""Years between the points that mark periods whose limits include zero."""
NEIGHBOURS = 9
FILTER_YEARS = LONG_CUTOFF_DAYS / 365.25
"""So near to an end of the record the trend's filter knows one side only."""
MONTHS = ["J", "F", "M", "A", "M", "J", "J", "A", "S", "O", "N", "D"]

Results = Mapping[str, Any]


def draw(name: str, paint: Callable[..., None], size: tuple[float, float] = (5.0, 3.6), panels: int = 1) -> str:
    """One figure of one or more panels as an `<svg>` element; `name` makes its ids unique within a page."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({**STYLE, "svg.hashsalt": name})
        figure = Figure(figsize=size, layout="constrained")
        canvas = FigureCanvasSVG(figure)
        paint(*np.atleast_1d(figure.subplots(1, panels)))
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


def triangle(trend_axes: Axes, width_axes: Axes, pieces: Sequence[Mapping[str, Any]], every: int) -> None:
    """Trend of every period, stippled where its limits include zero, and the half width of the limits."""
    rows = periods(pieces)
    first, last = pieces[0]["first"], max(row[1] for row in rows)
    count = (last - first) // every + 1
    trend, half = np.full((count, count), np.nan), np.full((count, count), np.nan)
    for begin, end, value, width in rows:
        place = (count - 1 - (last - end) // every, (begin - first) // every)
        trend[place], half[place] = value, width
    apart = every * max(1, round(STIPPLE / every))
    unsure = [(row[0], row[1]) for row in rows if abs(row[2]) <= row[3] and row[0] % apart == row[1] % apart == 0]
    extent = (first - every / 2, first + (count - 0.5) * every, last - (count - 0.5) * every, last + every / 2)
    shown = {"origin": "lower", "extent": extent, "interpolation": "none", "aspect": "equal"}
    norm = TwoSlopeNorm(0.0, -0.2, 0.3)
    colours = trend_axes.imshow(trend, cmap="RdBu_r", norm=norm, **shown)
    trend_axes.plot(*np.array(unsure).reshape(-1, 2).T, "o", color=INK, markersize=1.1, markeredgewidth=0.0)
    widths = width_axes.imshow(half, cmap="viridis_r", vmin=0.0, vmax=0.3, **shown)
    for axes, image, values, label in (
        (trend_axes, colours, trend, "trend (K per decade)"),
        (width_axes, widths, half, "half width of 95 % limits (K per decade)"),
    ):
        beyond = (np.nanmin(values) < image.norm.vmin, np.nanmax(values) > image.norm.vmax)
        arrows = {(True, True): "both", (True, False): "min", (False, True): "max", (False, False): "neither"}[beyond]
        axes.set(xlabel="first year", ylabel="last year")
        axes.grid(visible=False)
        axes.figure.colorbar(image, ax=axes, label=label, location="bottom", extend=arrows, shrink=0.85)


def slices(axes: Axes, pieces: Sequence[Mapping[str, Any]]) -> None:
    """The edge of the triangle: trends to the newest year, against the first, with limits.

    Half widths are means over `NEIGHBOURS` first years: a few resamples do not know a single one well.
    """
    newest = max(piece["last"][-1] for piece in pieces)
    rows = [row for row in periods(pieces) if row[1] == newest]
    first, _, trend, known = _columns(rows)
    reach = min(NEIGHBOURS, len(known)) // 2
    half = np.array([known[max(0, i - reach) : i + reach + 1].mean() for i in range(len(known))])
    axes.fill_between(first, trend - half, trend + half, color=COOL, alpha=0.25, linewidth=0, label="95 % limits")
    axes.plot(first, trend, color=COOL, linewidth=1.6, label=f"Theil-Sen trend to {newest}")
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    axes.set(xlabel=f"first year (at least {SHORTEST} before {newest})", ylabel="trend (K per decade)")
    axes.set_xlim(first[0], first[-1])
    axes.legend(loc="upper left")


def methods(panels: Sequence[Axes], trends: Sequence[Mapping[str, Any]]) -> None:
    """The slopes of every period with limits by every method."""
    for axes, trend in zip(panels, trends, strict=True):
        limits = trend["limits"]
        places = np.arange(len(limits))[::-1]
        for place, row in zip(places, limits, strict=True):
            colour = WARM if row["fit"] == "Theil-Sen" else COOL
            axes.plot([row["lower"], row["upper"]], [place, place], color=colour, linewidth=2.0)
            axes.plot(row["value"], place, "o", color=colour, markersize=5)
        axes.set(title=trend["period"], xlabel="K per decade", ylim=(-0.6, len(limits) - 0.4))
        axes.set_yticks(places, [""] * len(limits))
        axes.locator_params(axis="x", nbins=4)
    names = [f"{row['fit']}\n{row['limits'].split(' (')[0]}" for row in trends[0]["limits"]]
    names = [name.replace(", and", ",\nand") for name in names]
    panels[0].set_yticks(np.arange(len(names))[::-1], names)


def blocks(left: Axes, right: Axes, effects: Sequence[Mapping[str, Any]]) -> None:
    """Half width of the bootstrap limits against block length, and the length that the rule takes."""
    for axes, effect in zip((left, right), effects, strict=True):
        length, bare, stretched = _columns(effect["rows"])
        axes.plot(length, stretched, "o-", color=COOL, markersize=4, label="stretched, as used")
        axes.plot(length, bare, "o--", color=MUTED, markersize=4, label="bare resamples")
        axes.axvline(effect["rule"], color=WARM, linewidth=1.2, label=f"the rule: {effect['rule']} years")
        axes.set(title=effect["period"], xlabel="block length (years)", ylabel="half width (K per decade)")
        axes.set_ylim(0.0, 1.45 * max(stretched.max(), bare.max()))
        axes.legend(loc="upper right")


def carbon(axes: Axes, weeks: Sequence[Sequence[Any]]) -> None:
    """Weekly values, the trend of the fitted curve, and the weeks that were filled from the curve."""
    when = ORIGIN.year + decimal_years([row[0] for row in weeks])
    value, trend, known = (np.array([row[i] for row in weeks]) for i in (1, 3, 4))
    axes.plot(when, np.where(known, value, np.nan), color=GREEN, linewidth=0.8, label="weekly mean")
    axes.plot(when, trend, color=INK, linewidth=1.2, label="trend of the fitted curve")
    axes.plot(when[~known], value[~known], "o", color=WARM, markersize=3, label="empty week, filled from the curve")
    axes.set(xlabel="year", ylabel="CO₂ at Mauna Loa (ppm)", xlim=(when[0], when[-1]))
    axes.legend(loc="upper left")


def growth(axes: Axes, results: Results) -> None:
    """Year-to-year growth, the slope of the trend curve, and the mean over each whole decade."""
    years, values = _columns(results["annual_growth"])
    axes.bar(years, values, color=GREEN, alpha=0.4, width=0.8, label="annual mean minus the year before")
    when, rate = _columns(results["growth_rates"])
    whole = (when > when[0] + FILTER_YEARS) & (when < when[-1] - FILTER_YEARS)
    axes.plot(when, np.where(whole, rate, np.nan), color=GREEN, linewidth=1.2, label="slope of the trend curve")
    axes.plot(
        when, np.where(whole, np.nan, rate), color=GREY, linewidth=1.2, label="the same, near an end of the record"
    )
    label = "mean of the decade"
    for first in (1960, 1970, 1980, 1990):
        level = _found(results, f"co2-growth-{first}s")["value"]
        axes.plot([first - 0.5, first + 9.5], [level, level], color=INK, linewidth=1.8, label=label)
        label = "_"
    axes.set(xlabel="year", ylabel="growth (ppm per year)", xlim=(years[0] - 1, years[-1] + 1), ylim=(0, 4.9))
    axes.legend(loc="upper left")


def season(left: Axes, right: Axes, results: Results) -> None:
    """The mean seasonal cycle through the year, and how large it was year by year."""
    phase, value, lower, upper = _columns(results["seasonal_curve"])
    month = 0.5 + 12.0 * phase
    left.fill_between(month, lower, upper, color=GREEN, alpha=0.3, linewidth=0, label="95 % limits, blocks of years")
    left.plot(month, value, color=GREEN, linewidth=1.6, label="mean cycle")
    high, low = int(value.argmax()), int(value.argmin())
    for at, shift in ((high, 6), (low, -15)):
        left.plot(month[at], value[at], "o", color=GREEN, markersize=5)
        text = f"{value[at]:.2f}".replace("-", "−")
        left.annotate(text, (month[at], value[at]), xytext=(0, shift), textcoords="offset points", ha="center")
    left.axhline(0.0, color=MUTED, linewidth=0.8)
    left.set(xlabel="month (its middle)", ylabel="CO₂ less its trend (ppm)", ylim=(-4.4, 5.8), xlim=(0.5, 12.5))
    left.set_xticks(range(1, 13), MONTHS)
    left.legend(loc="upper right")
    years, sizes = _columns(results["seasonal_sizes"])
    right.plot(years, sizes, "o", color=GREEN, markersize=4)
    right.axhline(1.0, color=MUTED, linewidth=0.8)
    right.set(xlabel="year", ylabel="size of the cycle (mean cycle = 1)")


def together(axes: Axes, aligned: Sequence[Sequence[Any]], results: Results) -> None:
    """Annual temperature against CO2 on a doubling scale, with the least-squares line."""
    years, ppm, kelvin = _columns(aligned)
    line = results["association_line"]
    axes.scatter(np.log2(ppm), kelvin, c=years, cmap="viridis", s=26)
    ends = np.log2(np.array([ppm.min(), ppm.max()]))
    slope = _found(results, "association")
    label = f"{slope['value']:.2f} K per doubling ({slope['lower']:.2f} to {slope['upper']:.2f}, 95 %)"
    axes.plot(ends, line["intercept"] + line["slope"] * ends, color=INK, linewidth=1.4, label=label)
    ticks = np.arange(320, 371, 10)
    axes.set(xlabel="CO₂ (ppm, spaced by log₂)", ylabel="anomaly from 1961-1990 (K)", ylim=(-0.4, 0.75))
    axes.set_xticks(np.log2(ticks), [str(tick) for tick in ticks])
    axes.margins(x=0.14)
    axes.legend(loc="upper left")
    halo = [withStroke(linewidth=2.5, foreground="white")]
    for index, shift in ((0, (-18, -4)), (11, (16, 9)), (21, (0, 8)), (31, (0, 8)), (len(years) - 1, (0, 8))):
        place, name = (np.log2(ppm[index]), kelvin[index]), f"{years[index]:.0f}"
        axes.annotate(
            name, place, xytext=shift, textcoords="offset points", fontsize=9, color=INK, ha="center", path_effects=halo
        )


def all_figures(state: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """(name, title, caption, svg) of every figure, in the order of the page."""
    results, prepared, annual = state["results"], state["prepared"], state["temperature_annual"]
    pieces, every = results["triangle"]["pieces"], results["parameters"]["every"]
    wide = (9.6, 4.6)
    return [
        ("temperature", "Global mean temperature",
         "Shading: the data set's own 2.5 and 97.5 % limits. Lines: trends of two periods.",
         draw("temperature", lambda axes: temperature(axes, annual, results))),
        ("slices", "Trends up to the newest year",
         "The upper edge of the triangle. Shading: 95 % limits of each period alone, their half widths averaged over "
         f"{NEIGHBOURS} neighbouring first years.",
         draw("slices", lambda axes: slices(axes, pieces))),
        ("triangle", "Every period at once",
         "Each point is a period, from its first year (across) to its last (up). Stippled: the 95 % limits include "
         "zero. Long periods lie in the upper left corner, the shortest along the diagonal.",
         draw("triangle", lambda *axes: triangle(*axes, pieces, every), (9.6, 5.5), 2)),
        ("methods", "One slope, several kinds of limits",
         "Slope and 95 % limits by each method. Red: Theil-Sen. Blue: least squares.",
         draw("methods", lambda *axes: methods(axes, results["trends"]), wide, 3)),
        ("blocks", "Limits and block length",
         "Half width of the 95 % bootstrap limits of the Theil-Sen slope. Blocks near a quarter of the period leave "
         "few to choose from, and the limits shrink.",
         draw("blocks", lambda *axes: blocks(*axes, results["block_effect"]), wide, 2)),
        ("carbon", "Carbon dioxide at Mauna Loa",
         f"Red points: the {prepared['gaps']['filled_weeks']} weeks that were filled, not measured.",
         draw("carbon", lambda axes: carbon(axes, prepared["curve"]["weeks"]))),
        ("growth", "Growth of carbon dioxide",
         "Bars: differences of successive annual means. Grey: within 667 days of an end the filter knows one side "
         "only, and what the curve does there says little.",
         draw("growth", lambda axes: growth(axes, results))),
        ("season", "Seasonal cycle",
         "Four harmonics fitted to what observed weeks are above the trend; the points are the extremes.",
         draw("season", lambda *axes: season(*axes, results), (9.6, 4.0), 2)),
        ("together", "Each year once",
         "From 1959 (dark) to 2001 (light). An association, not a climate sensitivity.",
         draw("together", lambda axes: together(axes, state["aligned"], results))),
    ]  # fmt: skip
