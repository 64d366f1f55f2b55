"""What is shown of a run while it goes on: counts, an estimate with its basis, and whatever nodes print, unharmed."""

from __future__ import annotations

import io
import os
import pty
import queue
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_shell import Shell, command

import tau
from tau import State, StateGraph, Stop, open_store
from tau.cli.outcome import Session
from tau.cli.output import screen
from tau.cli.output.forecast import Estimate, Forecast, forecast
from tau.cli.output.progress import SHOWN, OwnProgress, Progress, Work, announcing
from tau.cli.output.terminal import AT_ONCE, Terminal
from tau.cli.output.view import Status, shown, signs_of_life

GRAPH = "pipeline.py:graph"


class TTY(io.StringIO):
    """A terminal as far as a program can tell; what was written stays."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def at_terminal(monkeypatch: pytest.MonkeyPatch) -> TTY:
    """Puts both streams on a terminal; called in the test, as pytest puts its own there after the fixtures."""
    stream = TTY()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(sys, "stdout", stream)
    return stream


def told_on_stderr(monkeypatch: pytest.MonkeyPatch) -> queue.Queue[str]:
    """What is written to stderr from now on, which is no terminal."""
    lines: queue.Queue[str] = queue.Queue()

    class Log(io.StringIO):
        def write(self, text: str) -> int:
            lines.put(text)
            return len(text)

    monkeypatch.setattr(sys, "stderr", Log())
    return lines


def plain(text: str) -> str:
    """Without the codes that move the cursor and colour."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)


def branching() -> StateGraph:
    graph = StateGraph("branching")
    for name in ("start", "left", "right", "end"):
        graph.add_node(name, lambda state: None, version="1")
    for source, target in (("start", "left"), ("start", "right"), ("left", "end"), ("right", "end")):
        graph.add_edge(source, target, name=target)
    graph.set_entry_point("start")
    graph.set_exit_point("end")
    return graph


def tell(progress: Progress, type_: str, **data: Any) -> None:
    from datetime import UTC, datetime

    from tau import Event

    progress(Event(type_, "test", datetime.now(UTC), data))


def outer(progress: Progress) -> Work:
    assert progress.outer is not None
    return progress.outer


def test_the_status_counts_what_is_finished_running_and_pending() -> None:
    progress = Progress(Session(), quiet=True)
    status = Status(branching(), progress)
    assert status() == "starting"
    tell(progress, "node.start", node="start", iteration=1)
    assert status() == "0 finished, start runs, 3 pending"
    tell(progress, "node.complete", node="start", iteration=1, visit=1, attempt=1, error=False, duration_seconds=1.0)
    assert status() == "1 finished"
    tell(progress, "node.start", node="left", iteration=2)
    tell(progress, "parallel.start", node="left", item_count=5)
    tell(progress, "worker.complete", node="left", error=False)
    tell(progress, "worker.complete", node="left", error=True)
    assert status() == "1 finished, left runs, 1 of 5 items, 1 pending"
    tell(progress, "node.start", node="end", iteration=8)
    assert status() == "7 finished, end runs, 0 pending"
    outer(progress).began -= 75
    assert status().startswith("7 finished, end 1 min 15 s")


def test_what_a_node_says_of_itself_is_shown_with_the_time_that_is_left() -> None:
    progress = Progress(Session(), quiet=True)
    status = Status(branching(), progress)
    tell(progress, "node.start", node="start", iteration=1)
    tell(progress, "node.progress", node="start", done=500, total=2000)
    assert status() == "0 finished, start runs, 500 of 2,000, 3 pending"
    tell(progress, "node.progress", node="start", done=1000, total=2000)
    work = outer(progress)
    assert work.own is not None
    work.own = work.own._replace(began=work.own.at - 3600)  # 500 in an hour
    assert re.fullmatch(r"0 finished, .*, 1,000 of 2,000 \((2 h|1 h 59 min).* left in it\), 3 pending", status())
    tell(progress, "node.progress", node="start", done=7, total=None)
    assert ", 7, " in status()
    tell(progress, "node.start", node="left", iteration=2)
    assert status() == "1 finished, left runs, 1 pending"


def test_of_branches_that_run_at_once_each_node_at_work_has_a_line() -> None:
    """What is inside of a node counts neither as finished nor as pending; the items are those of each."""
    progress = Progress(Session(), quiet=True)
    status = Status(branching(), progress)
    tell(progress, "node.start", node="start", iteration=1)
    for branch in ("co2/read", "sst"):
        tell(progress, "node.start", node=f"start/{branch}", iteration=1)
    tell(progress, "parallel.start", node="start/sst", item_count=5)
    tell(progress, "worker.complete", node="start/sst", error=False)
    head = "0 finished, start runs, 3 pending"
    assert status.lines() == [head, "start/co2/read runs", "start/sst runs, 1 of 5 items"]
    assert status() == f"{head}; start/co2/read runs; start/sst runs, 1 of 5 items"
    ended = {"visit": 1, "attempt": 1, "error": False, "duration_seconds": 1.0}
    tell(progress, "node.complete", node="start/co2/read", iteration=1, **ended)
    assert status.lines() == ["0 finished, start/sst runs, 1 of 5 items, 3 pending"]
    tell(progress, "node.start", node="start/co2/fill", iteration=2)
    assert status.lines() == [head, "start/sst runs, 1 of 5 items", "start/co2/fill runs"]
    tell(progress, "node.complete", node="start/co2/fill", iteration=2, **ended)
    tell(progress, "node.complete", node="start/sst", iteration=1, **ended)
    assert status() == head
    tell(progress, "node.complete", node="start", iteration=1, **ended)
    assert status() == "1 finished"
    assert progress.visited == {"start"}


def test_of_very_many_branches_some_are_named() -> None:
    progress = Progress(Session(), quiet=True)
    tell(progress, "node.start", node="start", iteration=1)
    for number in range(SHOWN + 3):
        tell(progress, "node.start", node=f"start/{number}", iteration=1)
    lines = Status(branching(), progress).lines()
    assert len(lines) == 1 + SHOWN + 1
    assert lines[-1] == "3 more"


def test_a_run_with_branches_and_graphs_in_nodes_is_counted_by_its_own_nodes() -> None:
    inner, graph, progress = StateGraph("inner"), StateGraph("outer"), Progress(Session(), quiet=True)
    for name in ("a", "b"):
        inner.add_node(name, lambda state: None)
    inner.sequence("a", "b")
    both = threading.Barrier(2)
    seen: dict[str, list[str]] = {}

    def meet(state: State) -> None:
        here = tau.current().node
        both.wait(60)
        seen[here] = sorted(work.node for work in progress.innermost())
        both.wait(60)

    graph.add_node("first", lambda state: None)
    graph.add_node("graph", inner)
    graph.add_node("branches", tau.branches_node({"left": meet, "right": meet}))
    graph.sequence("first", "graph", "branches")
    graph.execute({}, observer=progress)
    both_at_work = ["branches/left", "branches/right"]
    assert seen == {"branches/left": both_at_work, "branches/right": both_at_work}
    assert (progress.finished, progress.visited) == (3, {"first", "graph", "branches"})
    assert progress.innermost() == []


def test_who_stops_a_run_is_told_of_each_node_that_is_finished_first(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = told_on_stderr(monkeypatch)
    progress, stop = Progress(Session(), quiet=True), Stop()
    for node in ("start", "start/left", "start/right"):
        tell(progress, "node.start", node=node, iteration=1)
    with announcing(stop, progress):
        stop.set("SIGTERM")
        said = lines.get(timeout=60)
    assert said.startswith("note: SIGTERM: stopping when start/left and start/right are finished; ")


def test_the_view_has_a_line_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = at_terminal(monkeypatch)
    with Terminal(lambda: ["the run", "left [bold]", "right"]) as view, view.lock:
        view._live.refresh()
    lines = [line.strip() for line in plain(terminal.getvalue()).replace("\r", "\n").splitlines()]
    assert {"left [bold]", "right"} <= set(lines)


def test_progress_without_a_pace_promises_nothing() -> None:
    now = time.monotonic()
    assert OwnProgress(5, 10, now - 10, 5, now).left is None
    assert OwnProgress(5, None, now - 10, 1, now).left is None
    assert OwnProgress(12, 10, now - 10, 1, now).left == 0.0


def test_an_item_with_a_step_inside_is_counted_once() -> None:
    def item(number: int, total: int = 0) -> int:
        return total + tau.current().step(f"item {number}", int, number)

    graph, progress = StateGraph("items"), Progress(Session(), quiet=True)
    graph.add_node("map", lambda state: {"found": tau.process_parallel(range(4), item).results})
    graph.add_node("chain", lambda state: {"sum": tau.process_chain(range(3), 0, item).final})
    graph.add_node("steps", lambda state: {"one": item(1)})
    seen = {}

    def watch(event: tau.Event) -> None:
        if event.type == "node.complete":
            seen[event.data["node"]] = (outer(progress).items, outer(progress).expected)
        progress(event)

    graph.sequence("map", "chain", "steps")
    graph.execute({}, observer=watch)
    assert seen == {"map": (4, 4), "chain": (3, 3), "steps": (1, 0)}


def test_the_estimate_is_that_of_earlier_runs_at_the_same_point() -> None:
    earlier = Forecast([[("a", 1.0), ("b", 10.0), ("c", 5.0)], [("a", 1.0), ("b", 20.0)], [("x", 1.0), ("y", 2.0)]])
    assert earlier.left(1, "b", 4.0) == Estimate(13.5, 2)
    assert earlier.left(2, "c", 0.0) == Estimate(5.0, 1)
    assert earlier.left(2, "c", 9.0) == Estimate(0.0, 1)
    assert earlier.left(1, "c", 0.0) is None
    assert earlier.left(7, "c", 0.0) is None
    assert Forecast().left(0, "a", 0.0) is None


def test_earlier_runs_are_finished_kept_short_and_of_the_same_graph(store: str, tmp_path: Path) -> None:
    place = open_store(store.replace("///", f"///{tmp_path}/").replace("file:", f"file:{tmp_path}/"))
    graph, other = StateGraph("one", store=place), StateGraph("other", store=place)
    for one in (graph, other):
        one.add_node("a", lambda state: {"n": 1}, version="1")
        one.add_node("b", fails_on_demand, version="1")
        one.sequence("a", "b")
    for number in range(5):
        graph.execute({}, run_id=f"r{number}")
    other.execute({}, run_id="o")
    with pytest.raises(Exception, match="on demand"):
        graph.execute({"fails": True}, run_id="failed")
    found = forecast(place, "one", "r4")
    assert [[node for node, _ in visits] for visits in found.earlier] == [["a", "b"]] * 3
    place.delete("r3")
    place.delete("r2", keep_summary=True)
    assert len(forecast(place, "one", "r4").earlier) == 2
    assert forecast(place, "never", "r").earlier == []
    status = Status(graph, Progress(Session(run_id="r4"), quiet=True))
    status.began -= 10
    tell(status.progress, "node.start", node="a", iteration=1)
    assert status().endswith(", about 1.0 s left (as in 2 earlier runs)")
    outer(status.progress).began -= 60
    assert status().endswith("a 1 min 0 s, 1 pending, longer than in 2 earlier runs") is False
    tell(status.progress, "node.start", node="b", iteration=2)
    outer(status.progress).began -= 60
    assert status().endswith("b 1 min 0 s, 0 pending, longer than in 2 earlier runs")


def fails_on_demand(state: State) -> None:
    if "fails" in state:
        raise ValueError("on demand")


def test_what_nodes_print_stands_above_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = at_terminal(monkeypatch)
    with Terminal(lambda: ["status \x1b[5m [bold]"]) as view:
        print("out [bold]:smile:")
        print("err", file=sys.stderr)
        sys.stdout.write("in ")
        sys.stdout.write("pieces\nand")
        view.say(screen.styled(("[red]x", "bold"), " \x1b]0;title\x07"))
        print(" more")
        assert sys.stderr.encoding == "utf-8"
        assert sys.stdout.writable()
    lines = plain(terminal.getvalue()).replace("\r", "\n").splitlines()
    for line in ("out [bold]:smile:", "err", "in pieces", "and more", r"[red]x \x1b]0;title\x07"):
        assert line in lines
    assert any(line.endswith(r"status \x1b[5m [bold]") for line in lines)
    assert "\x1b[5m" not in terminal.getvalue()
    assert sys.stderr is terminal
    assert sys.stdout is terminal
    assert screen.above is None


def test_a_program_that_draws_on_its_own_line_gets_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = at_terminal(monkeypatch)
    with Terminal(lambda: ["THE STATUS"]) as view:
        for percent in (10, 20):
            sys.stderr.write(f"\r{percent} %")
        sys.stdout.write("go on? ")
        sys.stdout.flush()
        written = terminal.getvalue()
        assert "\r10 %\r20 %go on? " in written
        view.say(screen.styled("node line"))
        view.node_began()
    after = plain(terminal.getvalue().removeprefix(written))
    assert "node line" in after


def test_a_child_of_fork_prints_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another thread held the lock of the view at that moment."""
    terminal = at_terminal(monkeypatch)
    held, done = threading.Event(), threading.Event()

    def hold(view: Terminal) -> None:
        with view.lock, view.console._lock:
            held.set()
            done.wait(60)

    with Terminal(lambda: ["status"]) as view:
        thread = threading.Thread(target=hold, args=(view,))
        thread.start()
        held.wait(60)
        pid = os.fork()
        if pid == 0:
            print("child")
            os._exit(0 if terminal.getvalue().endswith("child\n") and sys.stdout is terminal else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        done.set()
        thread.join()


def test_of_many_lines_at_once_the_newest_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = at_terminal(monkeypatch)
    with Terminal(lambda: ["status"]) as view, view.lock:
        for number in range(50):
            view.say(screen.styled(f"node{number}"))
        view._tell()
    shown_lines = re.findall(r"node\d+", plain(terminal.getvalue()))
    assert shown_lines == [f"node{number}" for number in range(50 - AT_ONCE, 50)]
    assert f"{50 - AT_ONCE} more" in terminal.getvalue()


def test_a_terminal_that_goes_away_takes_nothing_from_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = at_terminal(monkeypatch)
    graph = branching()
    progress = Progress(Session(run_id="r"), quiet=False)

    def gone(text: str) -> int:
        raise OSError(5, "Input/output error")

    with shown(graph, progress):
        monkeypatch.setattr(terminal, "write", gone)
        assert graph.execute(observer=progress).checkpoint_node == "end"


def test_without_a_terminal_a_long_node_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = told_on_stderr(monkeypatch)
    progress = Progress(Session(), quiet=False)
    tell(progress, "node.start", node="start", iteration=1)
    with signs_of_life(Status(branching(), progress), first=0.001):
        assert lines.get(timeout=60) == "... 0 finished, start runs, 3 pending\n"
        assert lines.get(timeout=60) == "... 0 finished, start runs, 3 pending\n"


@contextmanager
def on_a_terminal(shell: Shell, *words: str) -> Iterator[int]:
    """Run the command on a terminal of its own; gives the other end."""
    pid, outer = pty.fork()
    if pid == 0:
        os.chdir(shell.folder)
        env = {**shell.env, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
        os.execve(sys.executable, command(*words), env)
    try:
        yield outer
    finally:
        os.close(outer)
        os.waitpid(pid, 0)


def test_a_run_on_a_terminal_ends_with_its_lines_and_its_result(shell: Shell) -> None:
    with on_a_terminal(shell, "run", GRAPH, "--run-id", "r") as outer:
        seen = ""
        while "'mean 2'" not in seen:
            seen += os.read(outer, 4096).decode()
    text = plain(seen)
    assert [text.index(f"✓ {node}") for node in ("ingest", "analyze", "report")] == sorted(
        text.index(f"✓ {node}") for node in ("ingest", "analyze", "report")
    )
    assert "finished" in text
    assert "\x1b[?25l" not in seen  # a cursor that is hidden stays so where the process is killed


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = at_terminal(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    with shown(branching(), Progress(Session(), quiet=False)):
        assert sys.stderr is terminal
    assert terminal.getvalue() == ""
