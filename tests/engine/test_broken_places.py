"""A place that is damaged, full or read-only: a typed error with the remedy, and the run goes on once it is mended."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine_steps import Steps, elsewhere

from tau import ExecutionError, TauError, open_store
from tau.stores.contract import Store

TEXT = b"This is a letter to my aunt. " * 50
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut in half": lambda data: data[: len(data) // 2],
    "cut by a byte": lambda data: data[:-1],
    "cut by a page": lambda data: data[:-4096],
    "emptied": lambda data: b"",
    "zeroed": lambda data: bytes(len(data)),
    "replaced by text": lambda data: TEXT,
    "flipped at the start": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "flipped in the middle": lambda data: data[: len(data) // 2] + b"\xa5" + data[len(data) // 2 + 1 :],
}
REMEDIES = ("restore", "start a new run", "choose another", "use the version", "check that")


@pytest.fixture(params=["sqlite", "file"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Store, Path]]:
    """A store with a failed run ``r`` in it, not open, and the place where it lies."""
    place = tmp_path / "place"
    store = open_store(f"sqlite:///{place}/runs.db" if request.param == "sqlite" else f"file://{place}")
    steps = Steps(store)
    steps.failing = {"c"}
    with pytest.raises(ExecutionError):
        steps.graph.execute({"big": ["x" * 3000, (1,)]}, run_id="r")
    store.close()
    yield store, place
    store.close()


def check_resumed_rightly_or_told_why(store: Store) -> str:
    """What a resume says: an error with a remedy, or nothing, when all it finished is as it should be."""
    steps = Steps(store)
    try:
        with elsewhere(store) as fresh:
            steps = Steps(fresh)
            final = dict(steps.graph.resume("r"))
    except TauError as error:
        return str(error)
    assert (final["path"], final["big"]) == (list("abcd"), ["x" * 3000, (1,)])
    assert steps.ran[-2:] == ["c", "d"]
    if steps.ran != ["c", "d"]:
        loaded = next(event for event in steps.recorder.events if event.type == "checkpoint.load")
        assert loaded.data["damaged"]
    return ""


def files_of(place: Path) -> list[Path]:
    return sorted(path.relative_to(place) for path in place.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", [*DAMAGE, "replaced by a directory"])
def test_a_damaged_file_is_told_or_got_round_and_nothing_is_lost(disk: tuple[Store, Path], kind: str) -> None:
    store, place = disk
    sound = place.with_name("sound")
    shutil.copytree(place, sound)
    told = {}
    for name in files_of(sound):
        shutil.rmtree(place)
        shutil.copytree(sound, place)
        path = place / name
        if kind in DAMAGE:
            path.write_bytes(DAMAGE[kind](path.read_bytes()))
        else:
            path.unlink()
            path.mkdir()
        told[name] = check_resumed_rightly_or_told_why(store)
    assert any(told.values()) or kind == "cut by a byte"  # the last one of a SQLite file may be one that nothing uses
    for name, text in told.items():
        if text and "checkpoint not found: r" not in text:
            assert any(remedy in text for remedy in REMEDIES), (name, text)
            assert "r" in text or str(place) in text
    shutil.rmtree(place)
    shutil.copytree(sound, place)
    assert check_resumed_rightly_or_told_why(store) == ""


@pytest.mark.parametrize("kind", ["text", "directory", "empty"])
def test_a_place_that_is_something_else_is_told(disk: tuple[Store, Path], kind: str) -> None:
    store, place = disk
    moved = place.with_name("moved")
    target = place / "runs.db" if (place / "runs.db").exists() else place
    target.rename(moved)
    if kind == "text":
        target.write_bytes(TEXT)
    elif kind == "directory":
        (target / "somebody").mkdir(parents=True)
    else:
        target.touch()
    assert check_resumed_rightly_or_told_why(store) != ""
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink()
    for left in (target.with_name("runs.db-wal"), target.with_name("runs.db-shm")):
        left.unlink(missing_ok=True)
    moved.rename(target)
    assert check_resumed_rightly_or_told_why(store) == ""


# Another process that meets a full disk, or one it may not write to.

CHILD = """
import os, resource, sys
from tau import StateGraph

url, mode, warm_up, user = sys.argv[1:]

def make(url):
    graph = StateGraph("g", store=url)
    for name in "abcd":
        graph.add_node(name, lambda state, name=name: work(state, name), version="1")
    graph.sequence(*"abcd")
    return graph

def work(state, name):
    if url != warm_up:
        print("ran", name, flush=True)
    if name == "c" and mode == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        return {"c": os.urandom(4_000_000), "path": [*state["path"], name]}
    return {name: 1, "path": [*state.get("path", []), name]}

if user:  # who may not read what is imported later
    url, there = warm_up, url
    make(url).execute({})
    url = there
    os.setgroups([])
    os.setuid(int(user))
graph = make(url)
for run_id in ("r", "new"):
    try:
        final = graph.execute({}, run_id=run_id, if_exists="resume") if mode != "resume" else graph.resume(run_id)
        print("final", *final["path"])
    except Exception as error:
        print(type(error).__name__, "remedy" if ";" in str(error) else "", error)
    if mode != "read-only":
        break
"""


def child(url: str, mode: str, warm_up: str = "", user: str = "") -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, url, mode, warm_up, user],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("url", ["sqlite:///{}/runs.db", "file://{}/runs"])
def test_a_full_disk_is_told_with_the_remedy_and_the_run_goes_on_when_there_is_room(tmp_path: Path, url: str) -> None:
    url = url.format(tmp_path)
    said = child(url, "full")
    assert said[:3] == ["ran a", "ran b", "ran c"]
    assert said[3].startswith("StoreFullError remedy")
    assert str(tmp_path) in said[3]
    assert open_store(url).load("r")["path"] == ["a", "b"]
    open_store(url).close()
    assert child(url, "resume") == ["ran c", "ran d", "final a b c d"]


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A directory that any user can get to; pytest's own can be entered by this user only."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def hand_over(place: Path, user: int, writable: bool) -> None:
    """Give everything to ``user``, to whom alone it may be writable. Root would not mind read-only files."""
    for path in (place, *place.rglob("*")):
        os.chown(path, user, -1)
        os.chmod(path, (0o700 if path.is_dir() else 0o600) if writable else (0o555 if path.is_dir() else 0o444))


@pytest.mark.parametrize("url", ["sqlite:///{}/place/runs.db", "file://{}/place"])
def test_a_read_only_place_is_told_with_the_remedy_and_the_run_goes_on_once_it_may_write(
    open_to_all: Path, url: str
) -> None:
    place, url = open_to_all / "place", url.format(open_to_all)
    place.mkdir()
    with open_store(url) as store:
        steps = Steps(store)
        steps.failing = {"c"}
        with pytest.raises(ExecutionError):
            steps.graph.execute({}, run_id="r")
    user = os.geteuid() or 65534
    other = {"warm_up": url.replace("/place", "/warm-up"), "user": str(user) if os.geteuid() == 0 else ""}
    hand_over(place, user, writable=False)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    said = child(url, "read-only", **other)
    assert [line.split()[0] for line in said] == ["StoreUnavailableError"] * 2, said
    assert all(line.startswith("StoreUnavailableError remedy") and str(place) in line for line in said), said
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    hand_over(place, user, writable=True)
    assert child(url, "resume", **other) == ["ran c", "ran d", "final a b c d"]


def test_where_no_thread_can_be_had_the_error_says_so_and_the_run_goes_on_later(tmp_path: Path) -> None:
    """Leases and the commits of async runs have threads of their own; one that cannot start must not be waited for."""
    script = tmp_path / "threadless.py"
    script.write_text(
        textwrap.dedent(f"""
        import asyncio, threading
        from tau import CheckpointConfig, GraphConfig, StateGraph, StoreUnavailableError
        def node(state):
            return {{"number": state["number"] + 1}}
        async def async_node(state):
            return node(state)
        def graph(function):
            checkpoint = CheckpointConfig(store={f"sqlite:///{tmp_path}/runs.db"!r}, interval=1, preserve=True)
            graph = StateGraph(GraphConfig("g", observer="noop", checkpoint=checkpoint))
            graph.add_node("a", function)
            graph.add_node("b", function)
            graph.sequence("a", "b")
            return graph
        def sync_run():
            return graph(node).execute({{"number": 0}}, run_id="sync", if_exists="resume")
        def async_run():
            return asyncio.run(graph(async_node).aexecute({{"number": 0}}, run_id="async", if_exists="resume"))
        threading.stack_size(1 << 47)
        for run in (sync_run, async_run):
            try:
                run()
            except StoreUnavailableError as error:
                print("ulimit" in str(error))
        threading.stack_size(0)
        print(sync_run()["number"], async_run()["number"])
        """)
    )
    said = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=60)
    assert said.stdout.split() == ["True", "True", "2", "2"], said.stderr
