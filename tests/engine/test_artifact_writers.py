"""Artifacts and those who write to them: what is published is whole, and stays as it is."""

from __future__ import annotations

import dataclasses
import errno
import gc
import mmap
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
from engine_steps import config

import tau.stores.open_writers
from tau import Artifact, ArtifactError, Context, ExecutionError, Retry, State, StateGraph, open_store
from tau.stores.artifact_files import remove

TEXT = "".join(f"{year},{year}\n" for year in range(1959, 2002))


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with open_store(f"sqlite:///{tmp_path}/runs.db") as store:
        yield store


def graph_of(store: Any, *nodes: Any, **options: Any) -> StateGraph:
    graph = StateGraph(config(store))
    names = [f"n{number}" for number in range(len(nodes))]
    for name, node in zip(names, nodes, strict=True):
        graph.add_node(name, node, version="1", **options)
    graph.sequence(*names)
    return graph


def files(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "runs.db-artifacts").rglob("*") if not path.is_dir())


# Who still has the file open at the end of the block. Each opens `path`, leaves it open, and returns how to let go.

Hold = Callable[[Path], Callable[[], Any]]


def text_file(path: Path) -> Callable[[], Any]:
    file = open(path, "w")  # noqa: SIM115
    file.write(TEXT)
    return file.close


def descriptor(path: Path) -> Callable[[], Any]:
    number = os.open(path, os.O_RDWR | os.O_CREAT)
    return lambda: os.close(number)


def appending(path: Path) -> Callable[[], Any]:
    path.write_text(TEXT)
    return open(path, "a").close


def memory_map(path: Path) -> Callable[[], Any]:
    path.write_bytes(b"\0" * 4096)
    with open(path, "r+b") as file:
        return mmap.mmap(file.fileno(), 0).close


def thread(path: Path) -> Callable[[], Any]:
    opened, go = threading.Event(), threading.Event()

    def write() -> None:
        with open(path, "w") as file:
            opened.set()
            assert go.wait(60)
            file.write(TEXT)

    writer = threading.Thread(target=write)
    writer.start()
    assert opened.wait(60)
    return lambda: (go.set(), writer.join())


def forked_child(path: Path) -> Callable[[], Any]:
    """As the worker of a pool that was started within the block."""
    wait, go = os.pipe()
    with open(path, "w") as file:
        file.write(TEXT)
        file.flush()
        child = os.fork()
        if child == 0:
            os.close(go)
            os.read(wait, 1)
            os._exit(0)
    os.close(wait)
    return lambda: (os.close(go), os.waitpid(child, 0))


def program(path: Path) -> Callable[[], Any]:
    with open(path, "w") as file:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=file)

    def end() -> None:
        assert child.stdin is not None
        child.stdin.close()
        child.wait()

    return end


def netcdf(path: Path) -> Callable[[], Any]:
    dataset = netCDF4.Dataset(path, "w")
    dataset.createDimension("time", 5)
    dataset.createVariable("co2", "f8", ("time",))[:] = 1.5
    close: Callable[[], Any] = dataset.close
    return close


def memory_mapped_array(path: Path) -> Callable[[], Any]:
    arrays = [np.lib.format.open_memmap(path, mode="w+", dtype="f8", shape=(1000,))]
    arrays[0][:] = 1.5
    return arrays.clear


OWN = (text_file, descriptor, appending, memory_map, thread, netcdf, memory_mapped_array)
CHILDREN = (forked_child, program)


@pytest.mark.parametrize("directory", [False, True], ids=["file", "directory"])
@pytest.mark.parametrize("hold", [*OWN, *CHILDREN])
def test_a_file_that_is_still_open_at_the_end_of_the_block_is_refused(
    store: Any, tmp_path: Path, hold: Hold, directory: bool
) -> None:
    ends: list[Callable[[], Any]] = []

    def node(state: State, ctx: Context) -> None:
        with ctx.artifact("table.csv", directory=directory) as path:
            if directory:
                (path / "closed").write_text("x")
            ends.append(hold(path / "inner" if directory else path))

    try:
        with pytest.raises(ExecutionError, match=r"'n0' left the artifact 'table\.csv'.*open for writing in") as caught:
            graph_of(store, node).execute({}, run_id="r")
        assert isinstance(caught.value.__cause__, ArtifactError)
        assert ("which was started by this one" if hold in CHILDREN else "this process (desc") in str(caught.value)
        assert ("(inner in it)" in str(caught.value)) == directory
        assert files(tmp_path) == []
    finally:
        for end in ends:
            end()


@pytest.mark.parametrize("hold", OWN)
def test_where_the_file_system_cannot_tell_this_process_is_looked_through(
    store: Any, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tau.stores.open_writers, "_LEASE", None)
    ends: list[Callable[[], Any]] = []

    def node(state: State, ctx: Context) -> None:
        with ctx.artifact("good") as path:
            path.write_text(TEXT)
        with ctx.artifact("table.csv") as path:
            ends.append(hold(path))

    with pytest.raises(ExecutionError, match="open for writing in this process"):
        graph_of(store, node).execute({}, run_id="r")
    ends[0]()


def test_a_handle_that_only_the_collector_can_close_is_closed_in_time(store: Any) -> None:
    def node(state: State, ctx: Context) -> None:
        gc.disable()
        try:
            with ctx.artifact("table.csv") as path:
                file: Any = open(path, "w")  # noqa: SIM115
                file.write(TEXT)
                file.itself = file
                del file
        finally:
            gc.enable()

    final = graph_of(store, node).execute({}, run_id="r")
    assert Path(final["table.csv"]).read_text() == TEXT


def test_a_child_that_lets_go_in_a_moment_is_waited_for(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between fork and exec any child has what its parent had open."""
    ends: list[Callable[[], Any]] = []
    monkeypatch.setattr(tau.stores.open_writers.time, "sleep", lambda _: ends.pop()())

    def node(state: State, ctx: Context) -> None:
        with ctx.artifact("table.csv") as path:
            ends.append(forked_child(path))

    final = graph_of(store, node).execute({}, run_id="r")
    assert Path(final["table.csv"]).read_text() == TEXT
    assert ends == []


@pytest.mark.parametrize("how", ["reading", "mapped for reading", "another file", "replaced"])
def test_who_cannot_write_to_the_file_is_not_refused(store: Any, tmp_path: Path, how: str) -> None:
    with open(tmp_path / "other", "w") as other:

        def node(state: State, ctx: Context) -> None:
            with ctx.artifact("table.csv") as path:
                if how == "replaced":
                    opened.append(open(path, "w"))  # noqa: SIM115
                    path.with_name("new").write_text(TEXT)
                    path.with_name("new").replace(path)
                else:
                    path.write_text(TEXT)
                if how == "reading":
                    opened.append(open(path))  # noqa: SIM115
                elif how == "mapped for reading":
                    with open(path, "rb") as file:
                        opened.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

        opened: list[Any] = [other]
        final = graph_of(store, node).execute({}, run_id="r")
        assert Path(final["table.csv"]).read_text() == TEXT
        for one in opened:
            one.close()


def test_whoever_opens_the_file_while_it_is_looked_at_ends_nobody(tmp_path: Path) -> None:
    """A lease that is broken is told by a signal: it must be one that nobody minds."""
    (tmp_path / "file").write_text(TEXT)
    asking = (
        "import sys, os; from tau.stores.open_writers import is_written; n = os.open('file', os.O_RDONLY)\n"
        "found = [is_written(n) for _ in range(100_000)]; print(len(found), found.count(None))"
    )
    with subprocess.Popen([sys.executable, "-c", asking], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as asker:
        while asker.poll() is None:
            with suppress(OSError), open(tmp_path / "file", "a"):
                pass
        assert asker.stdout is not None
        assert asker.stdout.read().split() == ["100000", "0"]
        assert asker.returncode == 0


# The mode of a file, and its other names.


@pytest.fixture
def mask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.parametrize(("given", "kept"), [(None, 0o440), (0o775, 0o555), (0o600, 0o400), (0o644, 0o444)])
def test_only_the_bits_for_writing_are_taken(store: Any, mask: None, given: int | None, kept: int) -> None:
    def node(state: State, ctx: Context) -> None:
        with ctx.artifact("one") as path:
            path.write_text(TEXT)
            if given is not None:
                path.chmod(given)
        with ctx.artifact("many", directory=True) as path:
            (path / "sub").mkdir()
            (path / "sub" / "one").write_text(TEXT)
            if given is not None:
                (path / "sub" / "one").chmod(given)

    final = graph_of(store, node).execute({}, run_id="r")
    many = final["many"].path
    assert [stat.S_IMODE(path.stat().st_mode) for path in (final["one"].path, many / "sub" / "one")] == [kept, kept]
    assert [stat.S_IMODE(path.stat().st_mode) for path in (many, many / "sub")] == [0o750, 0o750]
    assert stat.S_IMODE(many.parent.stat().st_mode) == 0o700
    store.delete("r")
    assert not many.exists()


def test_a_file_system_that_has_no_such_bits_is_no_error(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("os.fchmod", refused)

    def node(state: State, ctx: Context) -> None:
        with ctx.artifact("a", directory=True) as path:
            (path / "x").write_text(TEXT)

    artifact = graph_of(store, node).execute({}, run_id="r")["a"]
    assert isinstance(artifact, Artifact)
    artifact.check()


@pytest.mark.parametrize("directory", [False, True], ids=["file", "directory"])
def test_a_file_that_has_another_name_too_is_refused_and_left_as_it_is(
    store: Any, tmp_path: Path, directory: bool
) -> None:
    mine = tmp_path / "mine.nc"
    mine.write_text("mine")
    mine.chmod(0o664)

    def node(state: State, ctx: Context) -> None:
        with ctx.artifact("a.nc", directory=directory) as path:
            os.link(mine, path / "inner.nc" if directory else path)

    with pytest.raises(ExecutionError, match="is a hard link to a file that has another name"):
        graph_of(store, node).execute({}, run_id="r")
    assert (mine.read_text(), stat.S_IMODE(mine.stat().st_mode)) == ("mine", 0o664)
    assert files(tmp_path) == []


# Links, and what lies below another's directory.


@pytest.mark.parametrize("where", ["run", "visit", "artifact"])
def test_deleting_a_run_follows_no_link(store: Any, tmp_path: Path, where: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")

    def node(state: State, ctx: Context) -> None:
        with ctx.artifact("a.csv") as path:
            path.write_text(TEXT)

    path = graph_of(store, node).execute({}, run_id="r")["a.csv"].path
    run = path.parents[2]
    if where == "run":
        run.rename(tmp_path / "moved")
    link = {"run": run, "visit": run / "r-a.2", "artifact": path.parents[1] / f"{1:016d}-{'a' * 12}"}[where]
    link.symlink_to(home)
    store.delete("r")
    assert (home / "thesis.tex").read_text() == "years of work"
    assert not link.is_symlink()
    assert files(tmp_path) == []


@pytest.mark.parametrize("where", ["run", "visit"])
def test_nothing_is_written_through_a_link(store: Any, tmp_path: Path, where: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    run = tmp_path / "runs.db-artifacts" / "r-r"
    run.parent.mkdir()
    if where == "visit":
        run.mkdir()
    (run if where == "run" else run / "r-n0.1").symlink_to(tmp_path / "elsewhere")

    def node(state: State, ctx: Context) -> None:
        with ctx.artifact("a.csv") as path:
            path.write_text(TEXT)

    with pytest.raises(ExecutionError, match="a symbolic link lies in the way: remove it"):
        graph_of(store, node).execute({}, run_id="r")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_place_itself_may_be_a_link(store: Any, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "runs.db-artifacts").symlink_to(tmp_path / "scratch")

    def node(state: State, ctx: Context) -> None:
        with ctx.artifact("a.csv") as path:
            path.write_text(TEXT)

    assert Path(graph_of(store, node).execute({}, run_id="r")["a.csv"]).read_text() == TEXT
    store.delete("r")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_directory_that_was_replaced_in_the_block_is_noticed(store: Any, tmp_path: Path) -> None:
    def node(state: State, ctx: Context) -> None:
        with ctx.artifact("a.csv") as path:
            path.parent.rename(tmp_path / "moved")
            path.parent.mkdir()
            path.write_text(TEXT)

    with pytest.raises(ExecutionError, match="was replaced"):
        graph_of(store, node).execute({}, run_id="r")


def test_a_deletion_at_a_position_leaves_what_was_made_after_it(tmp_path: Path) -> None:
    for position in (3, 4, 5):
        (tmp_path / "r-r" / "r-n.1" / f"{position:016d}-{'a' * 12}").mkdir(parents=True)
    remove(str(tmp_path), "r", upto=4)
    assert [path.name[:16] for path in tmp_path.glob("*/*/*")] == [f"{5:016d}"]
    remove(str(tmp_path), "r")
    assert list(tmp_path.iterdir()) == []


# Who writes to the file after its block: before the node ends, or in a later node.


def rewritten(path: Path) -> None:
    path.chmod(0o600)
    path.write_text("other")


def appended(path: Path) -> None:
    path.chmod(0o600)
    with open(path, "a") as file:
        file.write("2002,2002\n")


def replaced(path: Path) -> None:
    path.with_name("new").write_text("other")
    path.with_name("new").replace(path)


def in_disguise(path: Path) -> None:
    """Of the same size and time as before."""
    before = path.stat()
    path.chmod(0o600)
    path.write_text(TEXT[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def removed(path: Path) -> None:
    path.unlink()


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def in_a_child(path: Path) -> None:
    program = f"import os; os.chmod({str(path)!r}, 0o600); open({str(path)!r}, 'w')"
    subprocess.run([sys.executable, "-c", program], check=True)


def by_another_name(path: Path) -> None:
    os.link(path, path.with_name("second"))
    rewritten(path.with_name("second"))


HARM = (rewritten, appended, replaced, removed, linked, in_a_child, by_another_name)


def published(path: Path) -> Path:
    """The file under its own name, where the block that gave ``path`` has ended."""
    return next(found for found in path.parent.iterdir())


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("directory", [False, True], ids=["file", "directory"])
@pytest.mark.parametrize("harm", [*HARM, in_disguise])
def test_what_is_altered_before_the_node_ends_fails_the_node(
    store: Any, harm: Callable[[Path], None], directory: bool, asynchronous: bool
) -> None:
    harmed: list[int] = []

    def node(state: State, ctx: Context) -> None:
        with ctx.artifact("a.csv", directory=directory) as path:
            (path / "inner" if directory else path).write_text(TEXT)
        if not harmed:
            harmed.append(1)
            file = published(path)
            harm(file / "inner" if directory else file)

    async def async_node(state: State, ctx: Context) -> None:
        node(state, ctx)

    graph = graph_of(store, async_node if asynchronous else node)
    with pytest.raises(ExecutionError, match=r"node 'n0' made the artifact 'a\.csv', which .* now that"):
        graph.execute({}, run_id="r")
    final = graph.resume("r")
    final["a.csv"].check()
    assert harmed == [1]


@pytest.mark.parametrize("directory", [False, True], ids=["file", "directory"])
@pytest.mark.parametrize("harm", HARM)
def test_a_later_node_that_alters_what_it_read_fails_and_is_named(
    store: Any, tmp_path: Path, harm: Callable[[Path], None], directory: bool
) -> None:
    def make(state: State, ctx: Context) -> None:
        with ctx.artifact("a.csv", directory=directory) as path:
            (path / "inner" if directory else path).write_text(TEXT)

    kept: list[Path] = []

    def add(state: State) -> dict[str, int]:
        path = state["a.csv"].path / "inner" if directory else state["a.csv"].path
        if not kept:
            kept.append(path)
            harm(path)
        return {"added": 1}

    graph = graph_of(store, make, add)
    with pytest.raises(
        ExecutionError, match=r"node 'n1' read the artifact 'a\.csv', which .*Node 'n0' \(visit 1\)"
    ) as caught:
        graph.execute({}, run_id="r")
    assert isinstance(caught.value.__cause__, ArtifactError)
    assert caught.value.__cause__.node == "n1"
    with pytest.raises(ArtifactError, match="bring it back from a copy"):
        graph.resume("r")
    for path in kept[0].parent.iterdir():
        path.unlink()
    kept[0].write_text(TEXT)
    assert graph.resume("r")["added"] == 1


@pytest.mark.parametrize("how", ["dropped", "replaced", "kept under another name"])
def test_only_what_stays_in_the_state_must_stay_as_it_was(store: Any, how: str) -> None:
    """A node may tidy up a file that it takes out of the state."""

    def make(state: State, ctx: Context) -> None:
        with ctx.artifact("a.csv") as path:
            path.write_text(TEXT)

    def tidy(state: State) -> Any:
        state["a.csv"].path.unlink()
        if how == "dropped":
            return state.drop("a.csv")
        return {"a.csv": None} if how == "replaced" else {"a.csv": None, "b.csv": state["a.csv"]}

    graph = graph_of(store, make, tidy)
    if how == "kept under another name":
        with pytest.raises(ExecutionError, match="is missing now that the node has ended"):
            graph.execute({}, run_id="r")
    else:
        assert graph.execute({}, run_id="r").get("a.csv") is None


def test_a_file_of_a_spared_step_is_looked_at_too(store: Any) -> None:
    made: list[Path] = []

    def node(state: State, ctx: Context) -> None:
        def make() -> None:
            with ctx.artifact("a.csv") as path:
                path.write_text(TEXT)
            made.append(published(path))

        ctx.step("make", make)
        if ctx.attempt == 1:
            raise OSError("later")

    graph = graph_of(store, node, retry=Retry(attempts=2, delay=0.0))
    with pytest.raises(ExecutionError):
        graph_of(store, node).execute({}, run_id="r")
    rewritten(made[0])
    failing = graph_of(store, lambda state, ctx: ctx.step("make", lambda: None))
    with pytest.raises(ExecutionError, match="is not what it was now that the node has ended"):
        failing.resume("r", on_change="continue")
    assert graph.resume("r", on_change="redo")["a.csv"].path.read_text() == TEXT


def test_an_artifact_as_text_is_its_path(store: Any) -> None:
    def node(state: State, ctx: Context) -> None:
        with ctx.artifact("a.csv") as path:
            path.write_text(TEXT)

    artifact = graph_of(store, node).execute({}, run_id="r")["a.csv"]
    assert f"{artifact}" == str(artifact) == os.fspath(artifact) == str(artifact.path)
    assert repr(artifact).startswith("Artifact(name='a.csv'")


def test_a_resume_that_verifies_finds_other_bytes_of_the_same_size_and_time(store: Any) -> None:
    """It reads the files; without that size and time decide, as the documentation says."""

    def make(state: State, ctx: Context) -> None:
        with ctx.artifact("a.csv") as path:
            path.write_text(TEXT)

    def later(state: State) -> None:
        if not failed:
            failed.append(1)
            raise OSError("later")

    failed: list[int] = []
    graph = graph_of(store, make, later)
    with pytest.raises(ExecutionError) as caught:
        graph.execute({}, run_id="r")
    in_disguise(caught.value.state["a.csv"].path)
    assert graph.plan("r").can_resume
    checkpoint = dataclasses.replace(graph.config.checkpoint, verify_artifacts=True)
    graph.config = dataclasses.replace(graph.config, checkpoint=checkpoint)
    assert not graph.plan("r").can_resume
    with pytest.raises(ArtifactError, match="is not what it was"):
        graph.resume("r")


# A loop that writes its file again and again.


def loop(store: Any, keep_last: Any, laps: int, node: Callable[[State, Path], dict[str, Any]]) -> StateGraph:
    graph = StateGraph(config(store))

    def lap(state: State, ctx: Context) -> dict[str, Any]:
        with ctx.artifact("other.csv") as path:
            path.write_text("other")
        with ctx.artifact("restart.nc", keep_last=keep_last) as path:
            path.write_text(str(ctx.visit))
        return {"n": ctx.visit, **node(state, path)}

    graph.add_node("lap", lap, version="1", retry=Retry(attempts=2, delay=0.0))
    graph.add_node("end", lambda state: None, version="1")
    graph.add_edge("lap", "lap", lambda state: state["n"] < laps)
    graph.add_edge("lap", "end")
    graph.set_entry_point("lap")
    graph.set_exit_point("end")
    return graph


def restarts(tmp_path: Path) -> list[int]:
    return sorted(int(path.read_text()) for path in files(tmp_path) if path.name == "restart.nc")


@pytest.mark.parametrize(("keep_last", "left"), [(None, [1, 2, 3, 4, 5, 6]), (1, [5, 6]), (2, [5, 6]), (3, [4, 5, 6])])
def test_of_a_file_that_a_loop_writes_the_last_ones_stay(
    store: Any, tmp_path: Path, keep_last: int | None, left: list[int]
) -> None:
    """The one that the state named when the last visit began stays, too: a crash would go on from there."""
    final = loop(store, keep_last, 6, lambda state, path: {}).execute({}, run_id="r")
    assert restarts(tmp_path) == left
    assert final["restart.nc"].path.read_text() == "6"
    assert len([path for path in files(tmp_path) if path.name == "other.csv"]) == 6


def test_a_file_that_the_state_names_elsewhere_stays(store: Any, tmp_path: Path) -> None:
    def best(state: State, path: Path) -> dict[str, Any]:
        if "best" in state:
            return {}
        return {"best": state["restart.nc"], "list": [state["restart.nc"]] * 20} if "restart.nc" in state else {}

    final = loop(store, 1, 6, best).execute({}, run_id="r")
    assert final["best"].path.read_text() == "1"
    assert restarts(tmp_path) == [1, 5, 6]
    for artifact in (final["best"], *final["list"], final["restart.nc"]):
        artifact.check()


def test_in_a_graph_inside_a_node_the_last_ones_of_each_visit_of_that_node_stay(store: Any, tmp_path: Path) -> None:
    """What a graph keeps is the same inside as alone."""
    outer = StateGraph(config(store))
    outer.add_node("model", loop(store, 1, 4, lambda state, path: {}), version="1")
    outer.add_node("count", lambda state: {"months": state.get("months", 0) + 1}, version="1")
    outer.add_node("end", lambda state: None, version="1")
    outer.add_edge("model", "count")
    outer.add_edge("count", "model", lambda state: state["months"] < 2)
    outer.add_edge("count", "end")
    outer.set_entry_point("model")
    outer.set_exit_point("end")
    outer.execute({}, run_id="r")
    assert restarts(tmp_path) == [3, 3, 4, 4]


def test_a_visit_that_fails_after_it_pruned_can_begin_again(store: Any, tmp_path: Path) -> None:
    failed: set[int] = set()

    def fail(state: State, path: Path) -> dict[str, Any]:
        if "restart.nc" in state:
            state["restart.nc"].check()
            assert state["restart.nc"].path.read_text() == str(state["n"])
        visit = state.get("n", 0) + 1
        if visit in (3, 4, 5) and visit not in failed:
            failed.add(visit)
            raise OSError("again")
        return {}

    final = loop(store, 1, 6, fail).execute({}, run_id="r")
    assert failed == {3, 4, 5}
    assert final["restart.nc"].path.read_text() == "6"
    assert restarts(tmp_path) == [5, 6]


@pytest.mark.parametrize("keep_last", [0, -1, 1.5, "2", True])
def test_how_many_stay_is_a_number_from_one(store: Any, keep_last: Any) -> None:
    with pytest.raises(ExecutionError, match="keep_last is a number of visits from 1"):
        loop(store, keep_last, 1, lambda state, path: {}).execute({}, run_id="r")
