"""What each stage has found, in lines of figures: for the screen, and for a model to put into words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def of_co2(state: Mapping[str, Any]) -> list[str]:
    weeks = state["co2_weekly"]
    missing = sum(value is None for _, value in weeks)
    return [f"CO2: {len(weeks)} weeks, {weeks[0][0]:%Y} to {weeks[-1][0]:%Y}, {missing} of them empty"]


def of_filling(state: Mapping[str, Any]) -> list[str]:
    gaps = state["prepared"]["gaps"]
    return [f"CO2: {gaps['dropped_weeks']} weeks of 1958 dropped, {gaps['filled_weeks']} weeks filled"]


def of_temperature(state: Mapping[str, Any]) -> list[str]:
    years = state["temperature_annual"]
    warmest, kelvin = max((row[:2] for row in years), key=lambda row: row[1])
    return [f"Temperature: {len(years)} years, {years[0][0]} to {years[-1][0]}; {warmest} {kelvin:+.2f} K"]


def of_ingest(state: Mapping[str, Any]) -> list[str]:
    return [*of_temperature(state), *of_co2(state), *of_filling(state)]


def of_preprocess(state: Mapping[str, Any]) -> list[str]:
    (first, before, _), (last, after, _) = state["aligned"][0], state["aligned"][-1]
    return [
        f"{len(state['aligned'])} years, {first} to {last}, are in both records",
        f"CO2 rose from {before:.1f} to {after:.1f} ppm in them",
    ]


def of_results(results: Mapping[str, Any]) -> list[str]:
    """Of the analysis, or of the report in JSON: an estimate with its 95 % limits a line, and the trend triangle."""
    rows = {row["id"]: row for row in results["estimates"]}

    def line(name: str, words: str) -> str:
        row = rows[name]
        return f"{words}: {row['value']:.2f} {row['unit']} ({row['lower']:.2f} to {row['upper']:.2f})"

    every = results["triangle"]["summary"]
    return [
        line("temperature-trend-1979-2020", "Warming, 1979-2020"),
        line("co2-growth-ols", "CO2, 1959-2001"),
        line("association", "Warming beside CO2"),
        f"{every['periods']:,} periods: {every['above_zero']:.0%} warm, {every['below_zero']:.0%} cool",
    ]


def of_analysis(state: Mapping[str, Any]) -> list[str]:
    return of_results(state["results"])


STAGES: dict[str, Callable[[Mapping[str, Any]], list[str]]] = {
    "ingest": of_ingest,
    "preprocess": of_preprocess,
    "analyze": of_analysis,
    "report": of_analysis,
}
"""Of the state after a stage; the report has nothing of its own to find."""
