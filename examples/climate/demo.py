"""The story of one pipeline: killed with SIGKILL in the third of four stages, resumed by another process, and in the
end byte for byte the report of a run that nobody disturbed.

    python examples/climate/demo.py [--out out] [--full]

Exits with 0 only if all of that is true.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import findings
import models
import pipeline
from analysis import Effort
from story import STAGES, Line, Told, heading, put

HERE = Path(__file__).resolve().parent
REPORTS = ("report.json", "report.html")
CHECK = "uninterrupted"
LEFT_BEHIND = ("climate.db", "climate.db-wal", "climate.db-shm", "events.jsonl", *REPORTS)
KILL_AFTER = 0.16
"""The share of the pieces of the trend triangle that are done when execution 1 is killed: about half of the work, as
the first ones are the longest."""

SILENCE = 600.0
"""Seconds after which an execution that says nothing is ended."""


class DemoFailed(Exception):
    """What the demo promises did not happen; the message says what did."""


class Worker:
    """One execution in a process of its own, heard line by line over its standard output."""

    def __init__(self, verb: str, folder: Path, *options: str) -> None:
        command = [sys.executable, str(HERE / "pipeline.py"), verb, "--store", store_url(folder), *options]
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._ended: float | None = None
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._ended = time.monotonic()
        self._lines.put(None)

    def lines(self) -> Iterator[Line]:
        """What the process says, until it ends or is silent for too long (`DemoFailed`)."""
        while True:
            try:
                line = self._lines.get(timeout=SILENCE)
            except queue.Empty:
                self.kill()
                raise DemoFailed(f"an execution said nothing for {SILENCE:.0f} s and was ended") from None
            if line is None:
                return
            try:
                yield json.loads(line)
            except ValueError:
                print(f"     {line.rstrip()}")

    def kill(self) -> None:
        """SIGKILL: the process gets no chance to save or to tidy."""
        self.process.kill()
        self.process.wait()

    def seconds(self) -> float:
        """From its start to its end, or until now."""
        return (self._ended or time.monotonic()) - self.began


def store_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'climate.db'}"


def killed_in_analysis(worker: Worker) -> None:
    """Follow the first execution into its analysis and kill it there, in the middle of the trend triangle."""
    story = Told()
    for line in worker.lines():
        story.tell(line)
        piece = re.match(r"triangle from \d+: piece (\d+) of (\d+)", line.get("message", ""))
        if piece and int(piece[1]) >= KILL_AFTER * int(piece[2]):
            worker.kill()
            break
    story.end()
    code = worker.process.wait()
    if code != -signal.SIGKILL:
        raise DemoFailed(
            f"execution 1 was to be killed in the analyze stage, but ended by itself with exit code {code}"
        )


def finished(worker: Worker, show: Callable[[Line], None]) -> float:
    """Follow an execution to its end; its seconds. DemoFailed if it does not end well."""
    for line in worker.lines():
        show(line)
    code = worker.process.wait()
    if code != 0:
        raise DemoFailed(f"an execution ended with exit code {code}; its error is printed above")
    return worker.seconds()


def read_events(path: Path) -> list[Line]:
    lines = path.read_text(encoding="utf-8").splitlines()
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise DemoFailed(f"{path} holds a line that is not JSON: {error}") from error


def stage_seconds(events: list[Line]) -> dict[str, float]:
    """How long each stage took that was finished, in seconds, from the events; not what is inside of one."""
    began: dict[str, datetime] = {}
    took = {}
    for event in events:
        node = event["data"].get("node")
        if node not in STAGES:
            continue
        when = datetime.fromisoformat(event["timestamp"])
        if event["type"] == "node.start":
            began[node] = when
        elif event["type"] == "node.complete":
            took[node] = (when - began[node]).total_seconds()
    return took


def kept_seconds(events: list[Line]) -> float:
    """Seconds that execution 1 spent on what it had finished when it was killed: whole stages, and of the analysis the
    time until the last of its items."""
    resumed = next(n for n, event in enumerate(events) if event["type"] == "checkpoint.resume")
    first = events[:resumed]
    items = [event for event in first if event["type"] in ("step.complete", "worker.complete")]
    began = next(e for e in reversed(first) if e["type"] == "node.start" and e["data"]["node"] == "analyze")
    until, since = (datetime.fromisoformat(event["timestamp"]) for event in (items[-1], began))
    return math.fsum([*stage_seconds(first).values(), (until - since).total_seconds()])


def check_events(events: list[Line]) -> None:
    """Every stage ran once, but for the one that was in flight at the kill, which ran twice."""
    starts = Counter(event["data"]["node"] for event in events if event["type"] == "node.start")
    inside = ("ingest/co2/read", "ingest/co2/fill", "ingest/temperature/read")
    expected = {**dict.fromkeys((*STAGES, *inside), 1), "analyze": 2}
    starts = {node: count for node, count in starts.items() if not node.startswith("narrate_")}
    if starts != expected:
        raise DemoFailed(f"stages were started {dict(starts)} times, expected {expected}")


def clean(folder: Path) -> None:
    """Remove what an earlier demo wrote, by name; whatever else lies in the folder stays."""
    for place in (folder, folder / CHECK):
        place.mkdir(parents=True, exist_ok=True)
        for name in LEFT_BEHIND:
            (place / name).unlink(missing_ok=True)


def set_the_scene(folder: Path, told_by: models.Teller) -> None:
    put("=== Multi-Stage Data Analysis with Checkpoint Recovery ===")
    put()
    graph = pipeline.build(store_url(folder))
    graph.validate()
    checkpoint = graph.config.checkpoint
    put("Data      HadCRUT5 temperature, Mauna Loa CO2")
    put(f"Pipeline  {' → '.join(STAGES)}")
    put(f"Store     {checkpoint.store}")
    put("Beside    the same, undisturbed, to compare with")
    if told_by.says:
        put(f"Words     {told_by.says}")


def first_execution(worker: Worker) -> None:
    heading("EXECUTION 1: Initial Run (Will Be Killed)")
    put(f"Pipeline RunID: {pipeline.RUN_ID}, process {worker.process.pid}")
    killed_in_analysis(worker)
    put("✗ KILLED: SIGKILL in mid-analysis", indent=5)
    put(f"❌ EXECUTION KILLED after {worker.seconds():.1f} s")


def second_execution(folder: Path, told_by: models.Teller) -> tuple[float, int]:
    """(seconds, pieces of the triangle kept). DemoFailed if none was."""
    heading("EXECUTION 2: Resume from Checkpoint")
    graph = pipeline.build(store_url(folder), narrator=told_by.narrator)
    plan = graph.plan(pipeline.RUN_ID)
    graph.store.close()
    done = [node for node in plan.finished if node in STAGES]
    if done != ["ingest", "preprocess"] or plan.pending != "analyze":
        raise DemoFailed(f"finished stages are {done}, next is {plan.pending}: expected a kill in analyze")
    worker = Worker("resume", folder, "--events", str(folder / "events.jsonl"), *told_by.options)
    put(f"Resuming pipeline from RunID: {pipeline.RUN_ID}, in process {worker.process.pid}")
    put(f"Last completed stage: {done[-1]}")
    put("↷ STAGES 1-2: skipped, already completed", indent=2)
    kept: list[int] = []
    story = Told()

    def listen(line: Line) -> None:
        story.tell(line)
        kept.extend(int(n) for n in re.findall(r"(\d+) pieces of the triangle were kept", line.get("message", "")))

    seconds = finished(worker, listen)
    if not kept or kept[0] < 1:
        raise DemoFailed("the resumed execution kept nothing of the trend triangle")
    put("✓ Pipeline completed successfully after resume!")
    return seconds, kept[0]


def compare(folder: Path) -> list[tuple[str, int, str]]:
    """(name, bytes, SHA-256) of each report, which is that of the undisturbed run byte for byte, else DemoFailed."""
    same = []
    for name in REPORTS:
        resumed, undisturbed = ((place / name).read_bytes() for place in (folder, folder / CHECK))
        if resumed != undisturbed:
            raise DemoFailed(f"{name} differs: compare {folder / name} with {folder / CHECK / name}")
        same.append((name, len(resumed), hashlib.sha256(resumed).hexdigest()))
    return same


def results(folder: Path, second: float, check: float, kept: int) -> None:
    """The end of the story; `second` and `check` are the seconds of the resume and of the undisturbed run."""
    same = compare(folder)
    events = read_events(folder / "events.jsonl")
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    pieces = report["triangle"]["summary"]["pieces"]
    graph = pipeline.build(store_url(folder))
    status = next(row.status for row in graph.store.runs() if row.run_id == pipeline.RUN_ID)
    graph.store.close()
    heading("FINAL RESULTS")
    put(f"Run {pipeline.RUN_ID}: {status}. Report Summary:")
    for line in findings.of_results(report):
        put(line, indent=2)
    put("Checkpoint Demonstration Summary:")
    put("✓ Execution 1 was killed with SIGKILL in stage 3", indent=2)
    put(f"✓ Stages 1-2 and {kept} of {pieces} pieces were not done again", indent=2)
    put(f"✓ Saved by checkpointing: {kept_seconds(events):.1f} s of work", indent=2)
    put(f"✓ Resume: {second:.1f} s; from the start: {check:.1f} s", indent=2)
    for name, size, digest in same:
        put(f"✓ {name}: {size:,} identical bytes ({digest[:12]}…)", indent=2)
    put()
    put(f"Report   {folder / 'report.html'}")
    put(f"Numbers  {folder / 'report.json'}")
    put(f"Events   {folder / 'events.jsonl'}")


def effort(arguments: argparse.Namespace) -> Effort:
    """How much to compute: `--full`, or what the options say."""
    base = asdict(pipeline.FULL if arguments.full else pipeline.QUICK)
    given = {name: getattr(arguments, name) for name in base}
    return Effort(**{name: base[name] if value is None else value for name, value in given.items()})


def whole_story(folder: Path, options: list[str], told_by: models.Teller) -> None:
    """All of it; DemoFailed where something is not as promised. No process is left behind."""
    clean(folder)
    set_the_scene(folder, told_by)
    check = folder / CHECK
    undisturbed = Worker("start", check, "--out", str(check), *options)
    try:
        told = ("--events", str(folder / "events.jsonl"), "--out", str(folder), *told_by.options)
        first_execution(Worker("start", folder, *told, *options))
        second, kept = second_execution(folder, told_by)
        third = finished(undisturbed, lambda line: None)
    finally:
        undisturbed.kill()
    check_events(read_events(folder / "events.jsonl"))
    results(folder, second, third, kept)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A climate pipeline that is killed and resumes.")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for everything the demo writes")
    parser.add_argument(
        "--full", action="store_true", help="the whole analysis: a quarter of an hour instead of a minute"
    )
    parser.add_argument("--narrate", action="store_true", help="let a model put each stage into words")
    parser.add_argument("--agent", type=Path, help="with --narrate: the configuration of an agent, in JSON")
    for name, meaning in pipeline.EFFORT.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=meaning)
    given = parser.parse_args(arguments)
    folder, asked = given.out, effort(given)
    options = [text for name, value in asdict(asked).items() for text in (f"--{name.replace('_', '-')}", str(value))]
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    try:
        with models.teller(folder, given.narrate, given.agent) as told_by:
            whole_story(folder, options, told_by)
    except DemoFailed as problem:
        print(f"\n✗ THE DEMO FAILED: {problem}", file=sys.stderr)
        return 1
    except OSError as problem:
        print(f"\n✗ THE DEMO FAILED: {problem}; choose another folder with --out", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
