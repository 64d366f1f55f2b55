"""Ingest -> preprocess -> analyze -> report, on two real climate records, as a tau graph.

The nodes are plain functions of the state. Inputs, all with defaults: `data_dir`, `out_dir`, `seed`, `resamples`.
Results depend on the data files, the seed and the number of resamples alone: no clock, no environment, no run id.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import analysis
import bootstrap
import data
import estimates
import figures
import references
import report as reporting
import seasonal

from tau import CheckpointConfig, GraphConfig, StateGraph

HERE = Path(__file__).resolve().parent
RUN_ID = "climate"
SEED = 1958
RESAMPLES = 2000
FEWEST_RESAMPLES = 100

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
    """Put the records on one calendar: months, annual means, shared years."""
    prepared = analysis.prepare(state["co2_weekly"], state["temperature_annual"])
    gaps = prepared["gaps"]
    say("preprocess", f"{len(gaps['filled_months'])} missing months filled, {gaps['years_used']} annual means")
    return {"prepared": prepared}


def analyze(state: Mapping[str, Any]) -> dict[str, Any]:
    """Trends, growth, seasonal cycle and association, with bootstrap limits: the stage that takes time."""
    seed = whole_number(state, "seed", SEED, 0)
    resamples = whole_number(state, "resamples", RESAMPLES, FEWEST_RESAMPLES)
    plan = bootstrap.Resampling(seed, resamples)
    say("analyze", f"{resamples} resamples for each estimate, seed {seed}")
    results = analysis.analyze_all(
        state["co2_weekly"],
        state["prepared"],
        state["temperature_annual"],
        plan,
        lambda message: say("analyze", message),
    )
    return {"results": {**results, "parameters": {"seed": seed, "resamples": resamples, "level": plan.level}}}


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
    statistics = (analysis, bootstrap, estimates, references, seasonal)
    graph.add_node("ingest", ingest, depends_on=(data,))
    graph.add_node("preprocess", preprocess, depends_on=(analysis, data))
    graph.add_node("analyze", analyze, depends_on=statistics)
    graph.add_node("report", report, depends_on=(reporting, figures, references))
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
    parser.add_argument("--resamples", type=int, default=RESAMPLES)
    parser.add_argument("--events", type=Path, help="append events to this file, one JSON object a line")
    given = parser.parse_args(arguments)
    log_to(given.events)
    pipeline = build(given.store, observer="slog")
    if given.verb == "resume":
        pipeline.resume(given.run_id)
    else:
        inputs = {"out_dir": given.out, "seed": given.seed, "resamples": given.resamples}
        pipeline.execute(inputs, run_id=given.run_id)


if __name__ == "__main__":
    main()
