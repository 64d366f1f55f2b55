"""Ingest -> preprocess -> analyze -> report, on two real climate records, as a tau graph.

The nodes are functions of the state; each data set is prepared in a branch of `ingest`. Inputs, all with defaults:
`data_dir`, `out_dir`, `resamples`, `triangle_resamples`, `series`, `every`. Results depend on the data files, these
numbers and the seed of the run alone: no clock, no environment, no run id.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
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
import findings
import growth
import kendall
import measurement
import narration
import references
import report as reporting
import seasonal
import slopes
import tables
import trends
import triangle

from tau import CheckpointConfig, Context, GraphConfig, StateGraph, branches_node
from tau.agents import Agent, AgentConfig

HERE = Path(__file__).resolve().parent
RUN_ID = "climate"
STAGES = ("ingest", "preprocess", "analyze", "report")
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


def say(stage: str, message: str, *, found: bool = False) -> None:
    """Tell of the progress of a stage, or of what it has `found`."""
    log.info(message, extra={"stage": stage, "found": found})


def say_found(stage: str, lines: Sequence[str]) -> None:
    for line in lines:
        say(stage, line, found=True)


def read_co2(state: Mapping[str, Any]) -> dict[str, Any]:
    """Read the weekly record, check every line, and note what it is."""
    table, weeks = data.read_co2(folder_of(state))
    missing = sum(value is None for _, value in weeks)
    say_found("ingest", findings.of_co2({"co2_weekly": weeks}))
    return {"sources": [data.describe("co2", table, weeks[0][0], weeks[-1][0], missing)], "co2_weekly": weeks}


def fill(state: Mapping[str, Any]) -> dict[str, Any]:
    """Fit the CO2 curve, fill the gaps from it, and take annual means."""
    prepared = carbon.prepare(state["co2_weekly"])
    say_found("ingest", findings.of_filling({"prepared": prepared}))
    return {"prepared": prepared}


def read_temperature(state: Mapping[str, Any]) -> dict[str, Any]:
    """Read the annual record, check every line, and note what it is."""
    table, years = data.read_temperature(folder_of(state))
    say_found("ingest", findings.of_temperature({"temperature_annual": years}))
    return {
        "sources": [data.describe("temperature", table, years[0][0], years[-1][0], 0)],
        "temperature_annual": years,
    }


def folder_of(state: Mapping[str, Any]) -> Path:
    return Path(state.get("data_dir") or HERE / "data")


def preprocess(state: Mapping[str, Any]) -> dict[str, Any]:
    """Put both records on one calendar."""
    aligned = carbon.aligned(state["prepared"]["annual"], state["temperature_annual"])
    say_found("preprocess", findings.of_preprocess({"aligned": aligned}))
    return {"aligned": aligned}


def effort_of(state: Mapping[str, Any]) -> analysis.Effort:
    """How much the state's inputs ask for. ValueError with the remedy if one of them makes no sense."""
    asked = {name: whole_number(state, name, getattr(QUICK, name), getattr(LEAST, name)) for name in EFFORT}
    return analysis.Effort(**asked)


def analyze(state: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Trends, growth, seasonal cycle, association, coverage and the trend triangle: the stage that takes time.

    An item is a step, a piece of the triangle an item of a map: each is on disk when it is done, and a kill costs what
    was in flight. Each has random numbers of its own.
    """
    effort = effort_of(state)
    items, annual = analysis.items(state, context.seed, effort), [row[:2] for row in state["temperature_annual"]]
    first_years = triangle.first_years(annual, effort.every)
    seeds = {first: context.seed("window", first) for first in first_years}
    say("analyze", f"{len(items)} items; resamples: {effort.resamples}, in the triangle {effort.triangle_resamples}")
    computed: list[str | int] = []  # by this process, which did not find them in the store

    def item_done(item: analysis.Item) -> Any:
        computed.append(item.name)
        return item.function(*item.arguments)

    def piece(first: int) -> triangle.Piece:
        computed.append(first)
        return triangle.piece(annual, first, effort.every, effort.triangle_resamples, seeds[first])

    found = {}
    for number, item in enumerate(items, 1):
        found[item.name] = context.step(item.name, item_done, item)
        if item.name in computed[-1:]:
            say("analyze", f"{item.name}: item {number} of {len(items)}")
    kept = len(items) - len(computed)
    pieces = context.map("window", piece, first_years, progress=tell_of_piece)
    kept_pieces = len(items) + len(pieces) - len(computed) - kept
    if kept or kept_pieces:
        say("analyze", f"{kept} items and {kept_pieces} pieces of the triangle were kept")
    assembled = analysis.assemble(state, found, pieces, effort)
    say_found("analyze", findings.of_results(assembled))
    named = {
        **{item.name: item.seed for item in items},
        **{f"triangle from {year}": seed for year, seed in seeds.items()},
    }
    parameters = {**asdict(effort), "seeds": named}
    return {"results": {**assembled, "parameters": parameters}}


def tell_of_piece(done: int, total: int | None, piece: triangle.Piece) -> None:
    if done % 10 == 0 or done == total:
        say("analyze", f"triangle from {piece['first']}: piece {done} of {total}")


def report(state: Mapping[str, Any]) -> dict[str, Any]:
    """Write `report.json` and `report.html` into `out_dir`."""
    folder = Path(state.get("out_dir") or "out")
    pages = {"report.json": reporting.as_json(state), "report.html": reporting.as_html(state)}
    files = []
    for name, content in pages.items():
        files.append(reporting.write(folder, name, content))
        say("report", f"{name}: {len(content):,} bytes", found=True)
    return {"report_files": files}


def narrate(state: Mapping[str, Any], *, agent: Agent, stage: str) -> dict[str, Any]:
    """Put what a stage has found into words, as `narration_STAGE`."""
    told = narration.told(agent, findings.STAGES[stage](state))
    log.info(told["text"], extra={"stage": stage, **told})
    return {f"narration_{stage}": told}


def build(store: object = "sqlite:///climate.db", observer: Any = None, narrator: Agent | None = None) -> StateGraph:
    """The pipeline on a store (a URL or an object): a checkpoint after every stage, kept after the run. With a narrator
    each stage is followed by a node that puts what was found into words, under keys of its own."""
    co2 = StateGraph("co2")
    co2.add_node("read", read_co2, depends_on=(data,))
    co2.add_node("fill", fill, depends_on=(carbon, data, slopes))
    co2.sequence("read", "fill")
    temperature = StateGraph("temperature")
    temperature.add_node("read", read_temperature, depends_on=(data,))
    temperature.sequence("read")
    kept = CheckpointConfig(store=store, interval=1, preserve=True)
    graph = StateGraph(GraphConfig("climate", observer=observer, checkpoint=kept))
    statistics = (bootstrap, distributions, estimates, kendall, measurement, slopes)
    parts = (analysis, association, carbon, coverage, growth, references, seasonal, trends, triangle)
    graph.add_node("ingest", branches_node({"co2": co2, "temperature": temperature}, merge={"sources": "append"}))
    graph.add_node("preprocess", preprocess, depends_on=(carbon,))
    graph.add_node("analyze", analyze, depends_on=(*parts, *statistics))
    graph.add_node("report", report, depends_on=(reporting, tables, figures, references))
    order = []
    for stage in STAGES:
        order.append(stage)
        if narrator is not None:
            order.append(f"narrate_{stage}")
            node = partial(narrate, agent=narrator, stage=stage)
            graph.add_node(order[-1], node, depends_on=(narration, findings))
    graph.sequence(*order)
    return graph


graph = build()


class Progress(logging.Formatter):
    """One JSON object a line: events as they are, the nodes' own messages as `stage`, `message` and more."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name == "tau.events":
            return record.getMessage()
        own = {name: getattr(record, name, None) for name in ("stage", "found", "by", "why")}
        return json.dumps({**own, "message": record.getMessage()})


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
    parser.add_argument("--seed", type=int, default=SEED, help="seed of all random numbers (start only)")
    for name, meaning in EFFORT.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(QUICK, name), help=meaning)
    parser.add_argument("--agent", type=Path, help="narrate each stage with the agent of this configuration")
    parser.add_argument("--events", type=Path, help="append events to this file, one JSON object a line")
    given = parser.parse_args(arguments)
    log_to(given.events)
    narrator = narration.narrator(AgentConfig.from_file(given.agent)) if given.agent else None
    pipeline = build(given.store, observer="slog", narrator=narrator)
    if given.verb == "resume":
        pipeline.resume(given.run_id)
    else:
        inputs = {"out_dir": given.out, **{name: getattr(given, name) for name in EFFORT}}
        pipeline.execute(inputs, run_id=given.run_id, seed=given.seed)


if __name__ == "__main__":
    main()
