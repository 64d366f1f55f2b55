"""Ingest -> preprocess -> analyze -> report, on two real climate records, as a tau graph.

The nodes are functions of the state. Inputs, all with defaults: `data_dir`, `out_dir`, `seed`, `resamples`,
`triangle_resamples`, `series`, `every`. Results depend on the data files and these numbers alone: no clock, no
environment, no run id.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import analysis
import association
import bootstrap
import carbon
import coverage
import data
import distributions
import estimates
import figures
import growth
import kendall
import measurement
import references
import report as reporting
import seasonal
import slopes
import tables
import trends
import triangle

from tau import CheckpointConfig, Context, GraphConfig, StateGraph

HERE = Path(__file__).resolve().parent
RUN_ID = "climate"
SEED = 1958
QUICK = analysis.Effort(resamples=2000, triangle_resamples=40, series=60)
FULL = analysis.Effort(resamples=10_000, triangle_resamples=1000, series=1000)
LEAST = analysis.Effort(resamples=100, triangle_resamples=20, series=20)
EFFORT = {
    "resamples": "bootstrap resamples of each estimate",
    "triangle_resamples": "bootstrap resamples of each period of the trend triangle",
    "series": "simulated series for the coverage of the limits",
    "every": "years between the triangle's first years, and its last years; 1 is the whole triangle",
}

log = logging.getLogger("climate")
"""Progress, one message for each finished piece of work, with the stage as `stage` in `extra`."""


def whole_number(state: Mapping[str, Any], key: str, default: int, least: int) -> int:
    """An input that must be a whole number of at least `least`. ValueError with the remedy otherwise."""
    found = state.get(key, default)
    if isinstance(found, bool) or not isinstance(found, int) or found < least:
        raise ValueError(f"{key} is {found!r}; give a whole number of at least {least}")
    return found


def say(stage: str, message: str) -> None:
    log.info(message, extra={"stage": stage})


def ingest(state: Mapping[str, Any]) -> dict[str, Any]:
    """Read both files, check every line, and note what they are."""
    folder = Path(state.get("data_dir") or HERE / "data")
    co2, weeks = data.read_co2(folder)
    missing = sum(value is None for _, value in weeks)
    say("ingest", f"{co2.name}: {len(weeks)} weeks, {missing} of them empty")
    temperature, years = data.read_temperature(folder)
    say("ingest", f"{temperature.name}: {len(years)} years")
    sources = [
        data.describe("co2", co2, weeks[0][0], weeks[-1][0], missing),
        data.describe("temperature", temperature, years[0][0], years[-1][0], 0),
    ]
    return {"sources": sources, "co2_weekly": weeks, "temperature_annual": years}


def preprocess(state: Mapping[str, Any]) -> dict[str, Any]:
    """Fit the CO2 curve, fill the gaps from it, and put both records on one calendar."""
    prepared = carbon.prepare(state["co2_weekly"], state["temperature_annual"])
    gaps = prepared["gaps"]
    say("preprocess", f"{gaps['dropped_weeks']} weeks of 1958 dropped, {gaps['filled_weeks']} empty weeks filled")
    say("preprocess", f"{gaps['years_used']} annual means of CO2 from {gaps['first_year_used']} on")
    return {"prepared": prepared}


def effort_of(state: Mapping[str, Any]) -> analysis.Effort:
    """How much the state's inputs ask for. ValueError with the remedy if one of them makes no sense."""
    asked = {name: whole_number(state, name, getattr(QUICK, name), getattr(LEAST, name)) for name in EFFORT}
    return analysis.Effort(**asked)


def analyze(state: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Trends, growth, seasonal cycle, association, coverage and the trend triangle: the stage that takes time.

    Every item is a step: it is on disk when it is done, and a kill costs the one in flight.
    """
    seed, effort = whole_number(state, "seed", SEED, 0), effort_of(state)
    items = analysis.items(state, seed, effort)
    say("analyze", f"{len(items)} items; resamples: {effort.resamples}, in the triangle {effort.triangle_resamples}")
    computed: list[str] = []
    found = {}
    for item in items:
        found[item.name] = context.step(item.name, compute, item, computed)
        if item.name in computed[-1:] and (not item.of_triangle or item.of_kind % 10 == 0 or item.number == len(items)):
            say("analyze", f"{item.name}: item {item.number} of {len(items)}")
    return {"results": {**analysis.assemble(state, found, effort), "parameters": {"seed": seed, **asdict(effort)}}}


def compute(item: analysis.Item, computed: list[str]) -> Any:
    """What the item is; `computed` collects the names of the items that this process did not find in the store."""
    if not computed and item.number > 1:
        pieces = item.of_kind - 1 if item.of_triangle else 0
        say("analyze", f"{item.number - 1} items kept from the execution before, {pieces} of them of the triangle")
    computed.append(item.name)
    return item.function(*item.arguments)


def report(state: Mapping[str, Any]) -> dict[str, Any]:
    """Write `report.json` and `report.html` into `out_dir`."""
    folder = Path(state.get("out_dir") or "out")
    pages = {"report.json": reporting.as_json(state), "report.html": reporting.as_html(state)}
    files = []
    for name, content in pages.items():
        files.append(reporting.write(folder, name, content))
        say("report", f"{name}: {len(content)} bytes")
    return {"report_files": files}


def build(store: object = "sqlite:///climate.db", observer: Any = None) -> StateGraph:
    """The pipeline on a store (a URL or an object): a checkpoint after every stage, kept after the run."""
    kept = CheckpointConfig(store=store, interval=1, preserve=True)
    graph = StateGraph(GraphConfig("climate", observer=observer, checkpoint=kept))
    statistics = (bootstrap, distributions, estimates, kendall, measurement, slopes)
    parts = (analysis, association, carbon, coverage, growth, references, seasonal, trends, triangle)
    graph.add_node("ingest", ingest, depends_on=(data,))
    graph.add_node("preprocess", preprocess, depends_on=(carbon, data, slopes))
    graph.add_node("analyze", analyze, depends_on=(*parts, *statistics))
    graph.add_node("report", report, depends_on=(reporting, tables, figures, references))
    graph.sequence("ingest", "preprocess", "analyze", "report")
    return graph


graph = build()


class Progress(logging.Formatter):
    """One JSON object a line: events as they are, the nodes' own messages as `stage` and `message`."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name == "tau.events":
            return record.getMessage()
        return json.dumps({"stage": getattr(record, "stage", None), "message": record.getMessage()})


def log_to(events: Path | None) -> None:
    """Events and progress go to stdout; events also to the end of the file `events`, one JSON object a line."""
    shown = logging.StreamHandler(sys.stdout)
    shown.setFormatter(Progress())
    log.addHandler(shown)
    log.setLevel(logging.INFO)
    told = logging.getLogger("tau.events")
    told.setLevel(logging.INFO)
    told.addHandler(shown)
    if events is not None:
        kept = logging.FileHandler(events, mode="a", encoding="utf-8")
        kept.setFormatter(logging.Formatter("%(message)s"))
        told.addHandler(kept)


def main(arguments: Sequence[str] | None = None) -> None:
    """Start or resume one run in this process."""
    parser = argparse.ArgumentParser(description="Run the climate pipeline; `tau run` does the same and more.")
    parser.add_argument("verb", choices=["start", "resume"])
    parser.add_argument("--store", required=True, help="a store URL, such as sqlite:///out/climate.db")
    parser.add_argument("--run-id", default=RUN_ID)
    parser.add_argument("--out", default="out", help="folder for the report (start only)")
    parser.add_argument("--seed", type=int, default=SEED)
    for name, meaning in EFFORT.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(QUICK, name), help=meaning)
    parser.add_argument("--events", type=Path, help="append events to this file, one JSON object a line")
    given = parser.parse_args(arguments)
    log_to(given.events)
    pipeline = build(given.store, observer="slog")
    if given.verb == "resume":
        pipeline.resume(given.run_id)
    else:
        inputs = {"out_dir": given.out, "seed": given.seed, **{name: getattr(given, name) for name in EFFORT}}
        pipeline.execute(inputs, run_id=given.run_id)


if __name__ == "__main__":
    main()
