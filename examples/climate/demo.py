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
from typing import Any

import pipeline
from analysis import Effort

HERE = Path(__file__).resolve().parent
STAGES = {
    "ingest": ("STAGE 1: Data Ingestion", "Reading, checking and filling both records, in two branches at once..."),
    "preprocess": ("STAGE 2: Preprocessing", "Putting them on one calendar..."),
    "analyze": ("STAGE 3: Analysis", "Running statistical analysis..."),
    "report": ("STAGE 4: Report Generation", "Drawing and writing the report..."),
}
REPORTS = ("report.json", "report.html")
RESULTS = ("temperature-trend-1979-2020", "co2-growth-ols", "association")
CHECK = "uninterrupted"
LEFT_BEHIND = ("climate.db", "climate.db-wal", "climate.db-shm", "events.jsonl", *REPORTS)
KILL_AFTER = 0.16
"""The share of the pieces of the trend triangle that are done when execution 1 is killed: about half of the work, as
the first ones are the longest."""

SILENCE = 600.0
RULE = "=" * 70

Line = dict[str, Any]


class DemoFailed(Exception):
    """What the demo promises did not happen; the message says what did."""


class Worker:
    """One execution in a process of its own, heard line by line over its standard output."""

    def __init__(self, verb: str, folder: Path, *options: str) -> None:
        command = [sys.executable, str(HERE / "pipeline.py"), verb, "--store", store_url(folder), *options]
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
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
        return time.monotonic() - self.began


def store_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'climate.db'}"


def banner(text: str) -> None:
    print(f"\n{RULE}\n{text}\n{RULE}\n")


def tell(line: Line) -> None:
    """One line of a worker as one line of the story."""
    node = line.get("data", {}).get("node")
    if "stage" in line:
        print(f"     {line['message']}")
    elif line["type"] == "node.start" and node in STAGES:
        title, work = STAGES[node]
        print(f"  → {title}\n     {work}")
    elif line["type"] == "checkpoint.save" and node in STAGES:
        print(f"     ✓ Stage {list(STAGES).index(node) + 1} complete, checkpoint saved\n")


def killed_in_analysis(worker: Worker) -> None:
    """Follow the first execution into its analysis and kill it there, in the middle of the trend triangle."""
    for line in worker.lines():
        tell(line)
        piece = re.match(r"triangle from \d+: piece (\d+) of (\d+)", line.get("message", ""))
        if piece and int(piece[1]) >= KILL_AFTER * int(piece[2]):
            worker.kill()
            break
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
    expected = {"ingest": 1, **dict.fromkeys(inside, 1), "preprocess": 1, "analyze": 2, "report": 1}
    if starts != expected:
        raise DemoFailed(f"stages were started {dict(starts)} times, expected {expected}")


def clean(folder: Path) -> None:
    """Remove what an earlier demo wrote, by name; whatever else lies in the folder stays."""
    for place in (folder, folder / CHECK):
        place.mkdir(parents=True, exist_ok=True)
        for name in LEFT_BEHIND:
            (place / name).unlink(missing_ok=True)


def set_the_scene(folder: Path, effort: Effort) -> None:
    print("=== Multi-Stage Data Analysis with Checkpoint Recovery ===\n")
    print("1. Configuring observability...")
    print(f"  ✓ Events of both executions: {folder / 'events.jsonl'}\n")
    print("2. Choosing the data...")
    print("  ✓ HadCRUT5 global annual temperature, 1850-2022")
    print("  ✓ Mauna Loa weekly CO2, 1958-2001\n")
    print("3. Creating data analysis pipeline with checkpointing...")
    graph = pipeline.build(store_url(folder))
    graph.validate()
    checkpoint = graph.config.checkpoint
    print("  ✓ Created state graph with checkpointing enabled")
    print(f"     - Checkpoint interval: every {checkpoint.interval} node")
    print(f"     - Checkpoint store: {checkpoint.store}")
    print(f"     - Preserve on success: {str(checkpoint.preserve).lower()}")
    print(
        f"     - Resamples: {effort.resamples} for each estimate, {effort.triangle_resamples} in the trend triangle\n"
    )
    print("4. Building pipeline graph...")
    print(f"  ✓ Pipeline graph constructed: {' → '.join(STAGES)}")


def first_execution(folder: Path, options: list[str]) -> float:
    banner("EXECUTION 1: Initial Run (Will Be Killed)")
    print(f"Pipeline RunID: {pipeline.RUN_ID}")
    worker = Worker("start", folder, "--events", str(folder / "events.jsonl"), "--out", str(folder), *options)
    print(f"Process: {worker.process.pid}\n")
    killed_in_analysis(worker)
    seconds = worker.seconds()
    print("     ✗ KILLED: SIGKILL in mid-analysis\n")
    print(f"❌ EXECUTION KILLED after {seconds:.2f}s")
    return seconds


def second_execution(folder: Path) -> tuple[float, int]:
    """(seconds, pieces of the triangle kept). DemoFailed if none was."""
    banner("EXECUTION 2: Resume from Checkpoint, in Another Process")
    graph = pipeline.build(store_url(folder))
    plan = graph.plan(pipeline.RUN_ID)
    graph.store.close()
    if plan.finished != ("ingest", "preprocess") or plan.pending != "analyze":
        raise DemoFailed(f"finished stages are {plan.finished}, next is {plan.pending}: expected a kill in analyze")
    print(f"Resuming pipeline from RunID: {pipeline.RUN_ID}")
    print(f"Last completed stage: {plan.finished[-1]}\n")
    print(f"Note: {' and '.join(plan.finished)} will be skipped (already completed)")
    print(f"      Execution resumes from {plan.pending}\n")
    worker = Worker("resume", folder, "--events", str(folder / "events.jsonl"))
    print(f"Process: {worker.process.pid}\n")
    kept: list[int] = []

    def listen(line: Line) -> None:
        tell(line)
        kept.extend(int(n) for n in re.findall(r"(\d+) pieces of the triangle were kept", line.get("message", "")))

    seconds = finished(worker, listen)
    if not kept or kept[0] < 1:
        raise DemoFailed("the resumed execution kept nothing of the trend triangle")
    print("✓ Pipeline completed successfully after resume!")
    return seconds, kept[0]


def uninterrupted(folder: Path, options: list[str]) -> float:
    banner("CHECK: The Same Pipeline, Uninterrupted, From Nothing")
    check = folder / CHECK
    seconds = finished(Worker("start", check, "--out", str(check), *options), lambda line: None)
    print(f"  ✓ Finished in {seconds:.2f}s, in a store of its own")
    return seconds


def compare(folder: Path) -> None:
    for name in REPORTS:
        resumed, undisturbed = ((place / name).read_bytes() for place in (folder, folder / CHECK))
        if resumed != undisturbed:
            raise DemoFailed(f"{name} differs: compare {folder / name} with {folder / CHECK / name}")
        digest = hashlib.sha256(resumed).hexdigest()
        print(f"  ✓ {name}: {len(resumed):,} identical bytes, SHA-256 {digest[:16]}…")


def results(folder: Path, seconds: tuple[float, float, float], kept: int) -> None:
    first, second, check = seconds
    events = read_events(folder / "events.jsonl")
    took, saved = stage_seconds(events), kept_seconds(events)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    pieces = report["triangle"]["summary"]["pieces"]
    graph = pipeline.build(store_url(folder))
    status = next(row.status for row in graph.store.runs() if row.run_id == pipeline.RUN_ID)
    graph.store.close()
    banner("FINAL RESULTS")
    print(f"Run {pipeline.RUN_ID}: {status}\n")
    print(f"   Saved by checkpointing: {saved:.1f}s of work that execution 1 had done was not done again")
    print(f"   Of stage 3, {kept} of {pieces} pieces of the trend triangle were kept")
    print(f"   Resume: {second:.2f}s, of it stage 3 {took['analyze']:.2f}s; from the start it takes {check:.2f}s")
    print(f"   With the kill, {first + second:.2f}s in all; without checkpoints {first + check:.2f}s\n")
    print("Results:")
    for row in report["estimates"]:
        if row["id"] in RESULTS:
            limits = f"{row['lower']:.2f} to {row['upper']:.2f}"
            print(f"   {row['quantity']}, {row['period']}: {row['value']:.2f} {row['unit']} (95 % limits {limits})")
    print()
    print("Checkpoint Demonstration Summary:")
    print("  ✓ Initial execution was killed with SIGKILL at Stage 3")
    print(f"  ✓ Store preserved stages 1-2 and, of the analysis, {kept} of {pieces} pieces of the trend triangle")
    print("  ✓ Resume skipped all of that, in another process, under the same run id; pieces in flight began anew")
    print("  ✓ Pipeline completed; report identical to that of an uninterrupted run\n")
    print(f"Report: {folder / 'report.html'}\nNumbers: {folder / 'report.json'}\nEvents: {folder / 'events.jsonl'}")


def effort(arguments: argparse.Namespace) -> Effort:
    """How much to compute: `--full`, or what the options say."""
    base = asdict(pipeline.FULL if arguments.full else pipeline.QUICK)
    given = {name: getattr(arguments, name) for name in base}
    return Effort(**{name: base[name] if value is None else value for name, value in given.items()})


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A climate pipeline that is killed and resumes.")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for everything the demo writes")
    parser.add_argument(
        "--full", action="store_true", help="the whole analysis: a quarter of an hour instead of a minute"
    )
    for name, meaning in pipeline.EFFORT.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=meaning)
    given = parser.parse_args(arguments)
    folder, asked = given.out, effort(given)
    options = [text for name, value in asdict(asked).items() for text in (f"--{name.replace('_', '-')}", str(value))]
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    try:
        clean(folder)
        set_the_scene(folder, asked)
        first = first_execution(folder, options)
        second, kept = second_execution(folder)
        check = uninterrupted(folder, options)
        check_events(read_events(folder / "events.jsonl"))
        compare(folder)
        results(folder, (first, second, check), kept)
    except DemoFailed as problem:
        print(f"\n✗ THE DEMO FAILED: {problem}", file=sys.stderr)
        return 1
    except OSError as problem:
        print(f"\n✗ THE DEMO FAILED: {problem}; choose another folder with --out", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
