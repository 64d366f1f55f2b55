"""`tau demo`."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import click
from msgspec import Struct

from tau.cli import options
from tau.cli.attempt import SIGNALS
from tau.cli.exits import Exit
from tau.cli.outcome import Session, reporting
from tau.cli.output import screen
from tau.cli.places import VARIABLE, is_there, url_in
from tau.cli.reading import Account, read_run
from tau.cli.targets import read_project
from tau.engine.stop import Stop, stop_on
from tau.errors import ConfigError, RunInterruptedError
from tau.log.records import CheckpointRecord, Claimed, Item
from tau.log.subgraphs import node_of
from tau.state_graph import StateGraph
from tau.stores import Store

TARGET = "tau.cli.demo_pipeline:graph"
STEPS = 2
"""So many steps are on disk when the process is killed, or a few more."""
TRIES = 3
"""On a busy machine the process may be over before it is killed; then another is."""
PERIOD = 0.02
"""Seconds from one look at the run to the next."""


class Killed(Struct, frozen=True):
    """A process that was killed at work: its pid, its run, and the node it was in."""

    pid: int
    run_id: str
    node: str


class Part(Struct, frozen=True):
    """What became of a node: ``what`` is skipped, repeated or run; how many ``steps`` it has, and how many of them
    were ``kept``, finished before the kill."""

    node: str
    what: str
    steps: int
    kept: int
    seconds: float


@click.command()
@options.store
@options.as_json
@reporting
def demo(session: Session, *, store: str | None) -> int:
    """Kill a run in the middle of a node, and resume it.

    This takes a few seconds and shows what tau is for. A small graph that comes with tau is run twice: once
    undisturbed, and once in a process that is killed with SIGKILL. Then the killed run is resumed, and the two results
    must be equal. Both runs are kept in a new temporary directory, or in the store that --store names.

    \b
    Example:
      tau demo --store sqlite:///demo.db
    """
    read_project()  # as the other process will: what is wrong in it is said here
    with _place(store) as url, stop_on(*SIGNALS) as stop:
        graph: StateGraph = import_module("tau.cli.demo_pipeline").graph
        graph.use_store(url)
        session.store = graph.store.location
        if session.store == "memory:":
            raise ConfigError("--store memory: does not outlive a process, so nothing could be resumed; name another")
        try:
            undisturbed = _undisturbed(graph, stop)
            killed = _killed(session, graph.store, url, stop)
            _say(f"this process resumes run {killed.run_id}")
            text = graph.resume(killed.run_id, stop=stop)["text"]
        except RunInterruptedError as error:
            raise RunInterruptedError(f"the demo was stopped ({error.reason})", reason=error.reason) from error
        account = _account(graph.store, killed.run_id)
        assert account is not None
    if _bytes(account) != _bytes(undisturbed):  # then the runs are kept, to be looked at
        raise RuntimeError(f"run {killed.run_id} in {session.store} differs from {undisturbed.summary.run_id}")
    session.done = f"the demo went well; its runs are in {session.store}"
    _show(session, killed, account, undisturbed.summary.run_id, text)
    return Exit.DONE


@contextmanager
def _place(option: str | None) -> Iterator[str]:
    """The URL of the store; a directory that was made for it goes again where the demo does not come to its end."""
    if option is not None:
        yield option
        return
    try:
        folder = tempfile.mkdtemp(prefix="tau-demo-")
    except OSError as error:
        raise ConfigError(f"no temporary directory can be made: {error.strerror}; --store URL names a place") from error
    try:
        yield url_in(os.path.realpath(folder), "demo.db", "runs")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _undisturbed(graph: StateGraph, stop: Stop) -> Account:
    run_id = f"demo-{secrets.token_hex(3)}-undisturbed"
    _say("an undisturbed run, to compare with")
    graph.execute({}, run_id=run_id, tags=["demo"], stop=stop)
    account = _account(graph.store, run_id)
    assert account is not None
    return account


def _killed(session: Session, store: Store, url: str, stop: Stop) -> Killed:
    """Run the graph in a process of its own and kill that in the middle of a node."""
    for _ in range(TRIES):
        session.run_id = f"demo-{secrets.token_hex(3)}"
        pid, said = _run_and_kill(session, store, url, stop)
        account = _account(store, session.run_id)
        if account is not None and account.status == "dead" and account.pending and account.items:
            _say(f"process {pid} is dead, in the middle of {account.pending}")
            return Killed(pid, session.run_id, account.pending)
        if account is None or account.status != "finished":
            raise RuntimeError(f"process {pid} ended before it was killed: {said or 'it said nothing'}")
    raise RuntimeError(f"{TRIES} processes finished before they could be killed: this machine is too busy; try again")


def _run_and_kill(session: Session, store: Store, url: str, stop: Stop) -> tuple[int, str]:
    """The pid of the process, which has ended, and what it said on stderr."""
    # What this process may import from the working directory, the other may too, and nothing more.
    # The URL may hold a password, which all who may list processes would see among the words.
    flags = [] if {"", os.getcwd()} & set(sys.path) else ["-P"]
    words = ["run", TARGET, "--run-id", session.run_id, "--tag", "demo", "--quiet"]
    process = subprocess.Popen(
        [sys.executable, *flags, "-m", "tau", *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, errors="replace", process_group=0, env={**os.environ, VARIABLE: url},
    )  # fmt: skip
    try:
        _say(f"another in process {process.pid}, which gets SIGKILL after some steps")
        while process.poll() is None and not _is_midway(store, session.run_id):
            if stop.event.wait(PERIOD):
                raise RunInterruptedError("", reason=stop.reason)
    finally:
        process.kill()
        said = process.communicate()[1]
    return process.pid, " ".join(said.split())


def _is_midway(store: Store, run_id: str) -> bool:
    account = _account(store, run_id)
    return account is not None and len(account.items) >= STEPS


def _account(store: Store, run_id: str) -> Account | None:
    summary = store.summary(run_id) if is_there(store) else None
    return read_run(store, summary, records=True) if summary is not None else None


def _bytes(account: Account) -> dict[str, bytes]:
    """The final state as it is stored."""
    return {name: cell.data() for name, cell in account.values.items()}


def _parts(account: Account, killed: str) -> list[Part]:
    """What the log tells of each node: all that stands before the last claim is of the process that was killed."""
    claim = max(position for position, record in account.records if isinstance(record, Claimed))
    steps = [(node_of(record), position) for position, record in account.records if isinstance(record, Item)]
    found = []
    for position, record in account.records:
        if isinstance(record, CheckpointRecord):
            what = "skipped" if position < claim else "repeated" if record.node == killed else "run"
            own = [at for node, at in steps if node == record.node]
            found.append(Part(record.node, what, len(own), sum(at < claim for at in own), record.seconds))
    return found


def _say(text: str) -> None:
    screen.line(("* ", "dim"), text, error=True)


def _show(session: Session, killed: Killed, account: Account, undisturbed: str, text: str) -> None:
    parts = _parts(account, killed.node)
    place, of = shlex.quote(session.store), killed.run_id
    look = [f"tau {words}" for words in ("runs", f"show {of}", f"history {of}", f"graph {TARGET} --run {of}")]
    if session.as_json:
        named = {"run_id": killed.run_id, "graph": account.summary.graph, "status": account.status}
        rows = [
            {"node": one.node, "what": one.what, "steps": one.steps, "steps_kept": one.kept,
             "duration_seconds": one.seconds}
            for one in parts
        ]  # fmt: skip
        after = {"killed_pid": killed.pid, "killed_at": killed.node, "nodes": rows, "undisturbed": undisturbed}
        screen.document(
            {
                **named,
                "store": session.store,
                **after,
                "equal": True,
                "text": text,
                "look": [f"{one} --store {place}" for one in look],
                "exit_code": 0,
            }
        )
        return
    screen.fields({"run": killed.run_id, "status": account.status, "killed at": killed.node, "result": text})
    screen.fields({"equal": f"byte for byte what the undisturbed run {undisturbed} has"})
    screen.line()
    screen.table(("node", "the resume", "steps"), ([one.node, _did(one), _steps(one)] for one in parts))
    screen.line()
    for command in (f"export {VARIABLE}={place}", *look):
        screen.line(("look      ", "dim"), command)


def _did(one: Part) -> str:
    if one.what == "skipped":
        return f"skipped it: {screen.duration(one.seconds)} not spent again"
    return f"repeated it, in {screen.duration(one.seconds)}" if one.what == "repeated" else "ran it"


def _steps(one: Part) -> str:
    return f"{one.kept} of {one.steps} came from the store" if one.steps else ""
