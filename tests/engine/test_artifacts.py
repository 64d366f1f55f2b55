"""`Context.artifact`: files that belong to the state."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from engine_steps import config

import tau.stores.artifact_content
from tau import (
    Artifact,
    ArtifactError,
    CheckpointConfig,
    ConfigError,
    Context,
    ExecutionError,
    GraphConfig,
    Retry,
    State,
    StateGraph,
    StoreFullError,
    StoreUnavailableError,
    open_store,
)
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore
from tau.values import decode, encode


@pytest.fixture(params=["sqlite", "file", "configured"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A store and where its artifacts lie."""
    store: Store = MemoryStore()
    options: dict[str, Any] = {}
    if request.param == "sqlite":
        store = open_store(f"sqlite:///{tmp_path}/runs.db")
    elif request.param == "file":
        store = open_store(f"file://{tmp_path}/runs")
    else:
        options["artifacts"] = str(tmp_path / "files")
    yield store, options
    store.close()


def graph_of(place: Any, *nodes: Any, **options: Any) -> StateGraph:
    store, where = place
    retry = options.pop("retry", None)
    graph = StateGraph(config(store, **where, **options))
    names = [f"n{i}" for i in range(len(nodes))]
    for name, node in zip(names, nodes, strict=True):
        graph.add_node(name, node, version="1", retry=retry)
    graph.sequence(*names)
    return graph


def write(text: str = "clean", name: str = "clean.nc") -> Any:
    def node(state: State, ctx: Context) -> dict[str, Any]:
        with ctx.artifact(name) as path:
            path.write_text(text)
        return {"rows": 1}

    return node


def files(tmp_path: Path) -> list[str]:
    """The names of all files where artifacts lie."""
    roots = [tmp_path / name for name in ("runs.db-artifacts", "runs/artifacts", "files")]
    return sorted(path.name for root in roots for path in root.rglob("*") if not path.is_dir())


def as_an_ordinary_user(do: Callable[[], Any]) -> Any:
    """The superuser may write to what is read-only."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        return do()
    finally:
        os.seteuid(user)


LIBRARIES: dict[str, Callable[[Path], Any]] = {
    "open": lambda path: path.write_text("new"),
    "rename": lambda path: os.rename(path.parent, path.parent.parent.parent / "elsewhere"),
}


@pytest.mark.parametrize("how", [*LIBRARIES, "words"])
def test_who_writes_to_a_published_artifact_is_told_what_to_do(place: Any, how: str, tmp_path: Path) -> None:
    def change(state: State) -> None:
        path = Path(state["clean.nc"])
        if how == "words":  # as HDF5 does
            raise PermissionError(errno.EACCES, f"Unable to open file (name = '{path}', errno = 13)")
        as_an_ordinary_user(lambda: LIBRARIES[how](path))

    with pytest.raises(ExecutionError) as failed:
        graph_of(place, write(), change).execute({})
    assert isinstance(failed.value.__cause__, PermissionError)
    (note,) = failed.value.__cause__.__notes__
    assert "an artifact is not changed in place" in note
    assert "ctx.artifact(name)" in note


def test_a_file_of_ones_own_that_cannot_be_written_is_no_artifact(place: Any, tmp_path: Path) -> None:
    def change(state: State) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "own.nc"))

    with pytest.raises(ExecutionError) as failed:
        graph_of(place, write(), change).execute({})
    assert not hasattr(failed.value.__cause__, "__notes__")


def test_a_file_is_in_the_state_when_its_node_has_finished(place: Any, tmp_path: Path) -> None:
    final = graph_of(place, write(), lambda state: {"text": Path(state["clean.nc"]).read_text()}).execute(
        {}, run_id="a/../ü"
    )
    artifact = final["clean.nc"]
    assert isinstance(artifact, Artifact)
    assert (final["text"], final["rows"]) == ("clean", 1)
    assert artifact.path.name == "clean.nc"
    assert tmp_path in artifact.path.parents
    assert (artifact.size_bytes, artifact.node, artifact.visit, artifact.run_id) == (5, "n0", 1, "a/../ü")
    assert not os.stat(artifact).st_mode & 0o222, "nobody writes to it"
    assert stat.S_IMODE(os.stat(artifact.path.parent).st_mode) == 0o700
    assert files(tmp_path) == ["clean.nc"]
    artifact.check()
    assert graph_of(place, write(), lambda state: None).plan("a/../ü").status == "finished"


def test_nothing_is_under_its_name_before_the_block_has_ended(place: Any, tmp_path: Path) -> None:
    def node(state: State, ctx: Context) -> None:
        with ctx.artifact("clean.nc") as path:
            path.write_text("half")
            assert path.suffix == ".nc"
            assert "clean.nc" not in files(tmp_path)
        assert files(tmp_path) == ["clean.nc"]

    graph_of(place, node).execute({}, run_id="r")


def test_what_the_block_raises_removes_the_file(place: Any, tmp_path: Path) -> None:
    def node(state: State, ctx: Context) -> None:
        with pytest.raises(FileNotFoundError), ctx.artifact("clean.nc") as path:
            (path.write_text("half"), path.with_name("missing").read_text())
        assert files(tmp_path) == []
        with ctx.artifact("clean.nc") as path:
            path.write_text("whole")

    final = graph_of(place, node).execute({}, run_id="r")
    assert Path(final["clean.nc"]).read_text() == "whole"
    assert files(tmp_path) == ["clean.nc"]


def test_a_directory_is_an_artifact_too(place: Any) -> None:
    def node(state: State, ctx: Context) -> None:
        with ctx.artifact("cube.zarr", directory=True) as path:
            (path / "x" / "0").mkdir(parents=True)
            (path / "x" / "0" / "chunk").write_bytes(b"1234")
            (path / "meta").write_bytes(b"{}")

    cube = graph_of(place, node).execute({}, run_id="r")["cube.zarr"]
    assert (cube.directory, cube.size_bytes) == (True, 6)
    cube.check()
    (cube.path / "x" / "0" / "chunk").chmod(0o600)
    (cube.path / "x" / "0" / "chunk").write_bytes(b"1235")
    with pytest.raises(ArtifactError, match="is not what it was"):
        cube.check()


def test_each_visit_has_its_own_and_the_state_names_the_newest(place: Any, tmp_path: Path) -> None:
    graph = StateGraph(config(place[0], **place[1]))

    def lap(state: State, ctx: Context) -> dict[str, int]:
        with ctx.artifact("n.txt") as path:
            path.write_text(str(ctx.visit))
        return {"n": ctx.visit}

    graph.add_node("lap", lap)
    graph.add_node("end", lambda state: None)
    graph.add_edge("lap", "lap", lambda state: state["n"] < 3)
    graph.add_edge("lap", "end")
    graph.set_entry_point("lap")
    graph.set_exit_point("end")
    graph.execute({}, run_id="r")
    texts = [Path(point.state["n.txt"]).read_text() for point in graph.history("r")]
    assert texts == ["1", "2", "3", "3"]


def broken(state: State) -> None:
    raise OSError("later")


def stopped(place: Any) -> Artifact:
    with pytest.raises(ExecutionError) as caught:
        graph_of(place, write(), broken).execute({}, run_id="r")
    artifact = caught.value.state["clean.nc"]
    assert isinstance(artifact, Artifact)
    return artifact


def go_on(place: Any) -> State:
    return graph_of(place, write(), lambda state: {"text": Path(state["clean.nc"]).read_text()}).resume("r")


def test_a_sound_file_lets_a_resume_go_on(place: Any) -> None:
    artifact = stopped(place)
    os.utime(artifact, ns=(1, 1))  # as after a copy: then its content decides
    assert go_on(place)["text"] == "clean"


@pytest.mark.parametrize("harm", ["missing", "altered", "link", "directory"])
def test_a_missing_or_altered_file_stops_a_resume_and_names_who_made_it(place: Any, harm: str) -> None:
    path = stopped(place).path
    path.unlink()
    if harm == "altered":
        path.write_text("Clean")
    elif harm == "link":
        path.symlink_to("/etc/hostname")
    elif harm == "directory":
        path.mkdir()
    with pytest.raises(
        ArtifactError, match=r"clean\.nc.*Node 'n0' \(visit 1\) of run 'r' made it; bring it back"
    ) as caught:
        go_on(place)
    assert (caught.value.node, caught.value.run_id, caught.value.path) == ("n0", "r", str(path))
    if harm == "directory":
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    path.write_text("clean")
    assert go_on(place)["text"] == "clean"


def test_one_with_a_long_path_is_looked_for_too(tmp_path: Path) -> None:
    place = open_store(f"sqlite:///{tmp_path}/runs.db"), {"artifacts": str(tmp_path.joinpath(*["d" * 200] * 5))}
    artifact = stopped(place)
    assert len(encode(artifact)) > 1000
    artifact.path.unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        go_on(place)


def test_what_the_node_returned_under_the_name_counts(place: Any) -> None:
    def node(state: State, ctx: Context) -> dict[str, Any]:
        with ctx.artifact("a") as path:
            path.write_text("x")
        return {"a": "mine"}

    assert graph_of(place, node).execute({}, run_id="r")["a"] == "mine"


def test_a_node_that_returns_a_state_has_its_artifacts_in_it(place: Any) -> None:
    def node(state: State, ctx: Context) -> State:
        with ctx.artifact("a") as path:
            path.write_text("x")
        return state.set("b", 1)

    assert set(graph_of(place, node).execute({}, run_id="r")) == {"a", "b"}


def test_a_later_attempt_replaces_and_nothing_of_the_earlier_one_stays(place: Any, tmp_path: Path) -> None:
    def node(state: State, ctx: Context) -> None:
        with ctx.artifact("a") as path:
            path.write_text(str(ctx.attempt))
        if ctx.attempt < 3:
            raise OSError

    final = graph_of(place, node, retry=Retry(attempts=3, delay=0.0)).execute({}, run_id="r")
    assert Path(final["a"]).read_text() == "3"
    assert files(tmp_path) == ["a"]


def test_the_artifact_of_a_step_that_is_not_called_again_is_in_the_state(place: Any) -> None:
    calls: list[int] = []

    def node(state: State, ctx: Context) -> None:
        def make() -> None:
            calls.append(1)
            with ctx.artifact("a") as path:
                path.write_text("x")

        ctx.step("make", make)
        with ctx.artifact("b") as path:
            path.write_text("y")
        if not failed:
            failed.append(1)
            raise OSError

    failed: list[int] = []
    with pytest.raises(ExecutionError):
        graph_of(place, node).execute({}, run_id="r")
    final = graph_of(place, node).resume("r")
    assert [Path(final[name]).read_text() for name in "ab"] == ["x", "y"]
    assert calls == [1]


def test_two_of_one_name_are_refused(place: Any) -> None:
    def node(state: State, ctx: Context) -> None:
        for _ in range(2):
            with ctx.artifact("a") as path:
                path.write_text("x")

    with pytest.raises(ExecutionError, match="two artifacts 'a' in one visit"):
        graph_of(place, node).execute({}, run_id="r")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b", "a\0b", "a\nb", "\ud800", "x" * 151, 7, None]
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: Any) -> None:
    with pytest.raises(ExecutionError) as caught:
        graph_of((MemoryStore(), {"artifacts": str(tmp_path)}), write(name=name)).execute({}, run_id="r")
    assert isinstance(caught.value.__cause__, ConfigError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ("nothing", "nothing was written there"),
        ("link", "is a symbolic link"),
        ("pipe", "is neither a file nor a directory"),
        ("directory", "is a directory; write a file, or with directory=True a directory"),
        ("link inside", "x is a symbolic link; write a directory"),
    ],
)
def test_a_block_that_leaves_no_file_is_an_error(place: Any, tmp_path: Path, left: str, said: str) -> None:
    def node(state: State, ctx: Context) -> None:
        with ctx.artifact("a", directory=left == "link inside") as path:
            if left == "link":
                path.symlink_to("/etc/hostname")
            elif left == "link inside":
                (path / "x").symlink_to("/etc/hostname")
            elif left == "pipe":
                os.mkfifo(path)
            elif left == "directory":
                path.mkdir()

    with pytest.raises(ExecutionError, match=f"did not leave a usable artifact 'a'.*{said}") as caught:
        graph_of(place, node).execute({}, run_id="r")
    assert isinstance(caught.value.__cause__, ArtifactError)
    assert files(tmp_path) == []


def test_without_a_place_it_says_how_to_get_one() -> None:
    with pytest.raises(ExecutionError, match="no place for the artifact"):
        graph_of((MemoryStore(), {}), write()).execute({}, run_id="r")


def test_without_checkpointing_a_configured_place_is_enough(tmp_path: Path) -> None:
    graph = StateGraph(GraphConfig("g", observer=None, checkpoint=CheckpointConfig(artifacts=str(tmp_path))))
    graph.add_node("a", write())
    graph.sequence("a")
    assert Path(graph.execute({})["clean.nc"]).read_text() == "clean"


def test_a_place_that_is_no_directory_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExecutionError) as caught:
        graph_of((MemoryStore(), {"artifacts": str(tmp_path / "file" / "x")}), write()).execute({}, run_id="r")
    assert isinstance(caught.value.__cause__, StoreUnavailableError)


def test_a_full_disk_is_a_typed_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tau.stores.artifact_content.sync", full)
    with pytest.raises(ExecutionError) as caught:
        graph_of((MemoryStore(), {"artifacts": str(tmp_path)}), write()).execute({}, run_id="r")
    assert isinstance(caught.value.__cause__, StoreFullError)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_a_dead_attempt_left_is_removed_and_what_an_heir_made_is_not(place: Any, tmp_path: Path) -> None:
    planted: list[Path] = []

    def node(state: State, ctx: Context) -> None:
        with ctx.artifact("a") as path:
            path.write_text("x")
        if not planted:
            for position in (1, 999):
                planted.append(path.parent.parent / f"{position:016d}-{'a' * 12}")
                planted[-1].mkdir()
                (planted[-1] / "+dead.a").write_text("half")
            raise OSError

    with pytest.raises(ExecutionError):
        graph_of(place, node).execute({}, run_id="r")
    graph_of(place, node).resume("r")
    assert [path.exists() for path in planted] == [False, True]
    assert files(tmp_path) == ["+dead.a", "a"]


# Several in one attempt.


def whole(state: State, names: Any) -> dict[str, str]:
    for name in names:
        state[name].check()
    return {name: Path(state[name]).read_text() for name in names}


def test_blocks_inside_blocks_keep_what_each_made(place: Any, tmp_path: Path) -> None:
    names = [f"{number}.csv" for number in range(8)]

    def node(state: State, ctx: Context) -> None:
        with ExitStack() as blocks:
            paths = [blocks.enter_context(ctx.artifact(name)) for name in names]
            with ctx.artifact("first of all") as path:
                path.write_text("first of all")
            ctx.step("one", lambda: 1)
            with ctx.artifact("last of all") as path:
                path.write_text("last of all")
            for name, path in zip(names, paths, strict=True):
                path.write_text(name)

    final = graph_of(place, node).execute({}, run_id="r")
    made = [*names, "first of all", "last of all"]
    assert whole(final, made) == {name: name for name in made}
    assert files(tmp_path) == sorted(made)


@pytest.mark.parametrize("fails", [False, True])
def test_threads_of_a_node_keep_what_each_made(place: Any, tmp_path: Path, fails: bool) -> None:
    names = [f"{number}.csv" for number in range(12)]
    failed: list[int] = []

    def node(state: State, ctx: Context) -> None:
        together = threading.Barrier(4)

        def make(name: str) -> None:
            with ctx.artifact(name) as path:
                path.write_text(name)
                together.wait(60)  # four blocks are open at a time, and end at once

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(make, names))
        if fails and not failed:
            failed.append(1)
            raise OSError

    final = graph_of(place, node, retry=Retry(attempts=2, delay=0.0)).execute({}, run_id="r")
    assert whole(final, names) == {name: name for name in names}
    assert sorted(files(tmp_path)) == sorted(names)


async def test_tasks_of_an_async_node_keep_what_each_made(place: Any, tmp_path: Path) -> None:
    names = [f"{number}.csv" for number in range(12)]

    async def make(ctx: Context, name: str) -> None:
        async with ctx.artifact(name) as path:
            path.write_text(name)

    async def node(state: State, ctx: Context) -> None:
        await asyncio.gather(*(make(ctx, name) for name in names))

    final = await graph_of(place, node).aexecute({}, run_id="r")
    assert whole(final, names) == {name: name for name in names}
    assert sorted(files(tmp_path)) == sorted(names)


def test_what_was_made_in_several_attempts_stays_whole_whoever_cleans_up(place: Any, tmp_path: Path) -> None:
    """Steps that are spared keep their files, blocks that were broken off leave none."""

    def node(state: State, ctx: Context) -> None:
        def make(name: str) -> None:
            with ctx.artifact(name) as path:
                path.write_text(name)

        for number in range(ctx.attempt):
            ctx.step(f"make {number}", make, f"{number}.csv")
        with ctx.artifact("again.csv") as path:
            path.write_text(str(ctx.attempt))
        with ctx.artifact("broken.csv") as path:
            path.write_text("half")
            if ctx.attempt < 4:
                raise OSError

    final = graph_of(place, node, retry=Retry(attempts=4, delay=0.0)).execute({}, run_id="r")
    made = [f"{number}.csv" for number in range(4)]
    assert whole(final, made) == {name: name for name in made}
    assert whole(final, ["again.csv", "broken.csv"]) == {"again.csv": "4", "broken.csv": "half"}
    assert files(tmp_path) == sorted([*made, "again.csv", "broken.csv"])


def test_a_netcdf_file_is_written_and_read_as_xarray_does_it(place: Any) -> None:
    import numpy
    import xarray

    def clean(state: State, ctx: Context) -> None:
        with ctx.artifact("clean.nc") as path:
            data = xarray.Dataset({"co2": ("time", numpy.arange(1000.0))}, coords={"time": numpy.arange(1000)})
            data.to_netcdf(path, engine="netcdf4")

    def analyze(state: State) -> dict[str, float]:
        with xarray.open_dataset(state["clean.nc"], engine="netcdf4") as data:
            return {"mean": float(data["co2"].mean())}

    assert graph_of(place, clean, analyze).execute({}, run_id="r")["mean"] == 499.5


# Deleting.


def test_artifacts_go_with_their_run(place: Any, tmp_path: Path) -> None:
    store, options = place
    graph_of(place, write()).execute({}, run_id="r")
    graph_of(place, write()).execute({}, run_id="other")
    store.delete("r")
    left = files(tmp_path)
    assert left == (["clean.nc"] * 2 if options else ["clean.nc"]), "at a configured place they are kept"


def test_of_a_run_that_is_not_preserved_those_of_the_final_state_stay(place: Any, tmp_path: Path) -> None:
    final = graph_of(
        place,
        write("1", "kept.txt"),
        write("2", "dropped.txt"),
        lambda state: state.drop("dropped.txt"),
        preserve=False,
    ).execute({}, run_id="r")
    assert Path(final["kept.txt"]).read_text() == "1"
    assert files(tmp_path) == ["kept.txt"]


def test_a_reference_comes_back_exactly_and_is_immutable(place: Any) -> None:
    artifact = stopped(place)
    assert decode(encode(artifact)) == artifact
    assert decode(encode([artifact])) == [artifact]
    with pytest.raises(AttributeError):
        artifact.name = "x"  # type: ignore[misc]


# In an event loop.


def held_sync(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Two events: flushing a file sets the first, and waits for the second."""
    waits, go, flush = threading.Event(), threading.Event(), tau.stores.artifact_content.sync

    def slow(number: int) -> None:
        waits.set()
        assert go.wait(60)
        flush(number)

    monkeypatch.setattr("tau.stores.artifact_content.sync", slow)
    return waits, go


async def cleaning(state: State, ctx: Context) -> None:
    async with ctx.artifact("clean.nc") as path:
        path.write_text("clean")


def test_async_with_lets_other_tasks_go_on_while_the_file_goes_to_the_disk(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, go = held_sync(monkeypatch)

    async def both() -> State:
        run = asyncio.create_task(graph_of(place, cleaning).aexecute({}, run_id="r"))
        await asyncio.to_thread(waits.wait, 60)
        assert not run.done()
        go.set()  # only a loop that goes on comes here
        return await run

    artifact = asyncio.run(both())["clean.nc"]
    artifact.check()
    assert artifact.path.read_text() == "clean"


def test_a_cancellation_meanwhile_is_raised_after_the_file_is_there(
    place: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, go = held_sync(monkeypatch)

    async def cancelled() -> None:
        run = asyncio.create_task(graph_of(place, cleaning).aexecute({}, run_id="r"))
        await asyncio.to_thread(waits.wait, 60)
        run.cancel()
        await asyncio.sleep(0)
        assert not run.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(cancelled())
    assert files(tmp_path) == ["clean.nc"]
    final = graph_of(place, cleaning).resume("r")
    final["clean.nc"].check()
    assert files(tmp_path) == ["clean.nc"]


def test_what_an_async_block_raises_removes_the_file(place: Any, tmp_path: Path) -> None:
    async def node(state: State, ctx: Context) -> None:
        async with ctx.artifact("clean.nc") as path:
            path.write_text("half")
            raise ValueError("no more data")

    with pytest.raises(ExecutionError, match="no more data"):
        graph_of(place, node).execute({}, run_id="r")
    assert files(tmp_path) == []


# Where they go.


def test_a_relative_place_stays_where_it_was_when_a_node_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    place = MemoryStore(), {"artifacts": "files"}

    def go(state: State) -> None:
        os.chdir(tmp_path / "elsewhere")

    final = graph_of(place, go, write()).execute({}, run_id="r")
    assert tmp_path / "files" in final["clean.nc"].path.parents
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("preserve", [True, False])
def test_two_stores_may_share_a_place(tmp_path: Path, preserve: bool) -> None:
    """The same run in each: neither takes the other's files for its own, at an end, in an attempt or in a deletion."""
    shared = {"artifacts": str(tmp_path / "files")}
    with open_store(f"sqlite:///{tmp_path}/one.db") as one, open_store(f"file://{tmp_path}/two") as two:
        first = graph_of((one, shared), write("one")).execute({}, run_id="r")
        with pytest.raises(ExecutionError):
            graph_of((two, shared), write("two"), write("dropped", "d"), broken, preserve=preserve).execute(
                {}, run_id="r"
            )
        last = graph_of(
            (two, shared), write("two"), write("dropped", "d"), lambda state: state.drop("d"), preserve=preserve
        ).resume("r")
        assert [Path(final["clean.nc"]).read_text() for final in (first, last)] == ["one", "two"]
        assert files(tmp_path) == ["clean.nc", "clean.nc", *(["d"] if preserve else [])]
        one.delete("r")
        last["clean.nc"].check()


def test_a_finished_run_also_drops_what_an_earlier_version_put_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not what another store's run of that name has there."""
    place = tmp_path / "files"
    foreign = place / "r-r" / "r-n0.1" / f"{1:016d}-{'a' * 12}"
    monkeypatch.setattr("tau.stores.artifact_files.place_of", lambda store, configured: configured)
    with open_store(f"sqlite:///{tmp_path}/runs.db") as store:
        options = (store, {"artifacts": str(place)})
        with pytest.raises(ExecutionError):
            graph_of(options, write("kept"), write("dropped", "d"), broken, preserve=False).execute({}, run_id="r")
        foreign.mkdir(parents=True)
        (foreign / "other").write_text("x")
        monkeypatch.undo()
        dropping = graph_of(
            options, write("kept"), write("dropped", "d"), lambda state: state.drop("d"), preserve=False
        )
        final = dropping.resume("r")
    assert Path(final["clean.nc"]).read_text() == "kept"
    assert files(tmp_path) == ["clean.nc", "other"]


def test_artifacts_by_the_hundred_cost_each_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is listed again for each of them."""
    listed: list[Any] = []
    listing = os.listdir

    def counting(path: Any = ".") -> list[str]:
        listed.append(path)
        return listing(path)

    def node(state: State, ctx: Context) -> None:
        for number in range(100):
            with ctx.artifact(f"{number}.txt") as path:
                path.write_text("x")

    with open_store(f"sqlite:///{tmp_path}/runs.db") as store:
        monkeypatch.setattr("os.listdir", counting)
        final = graph_of((store, {}), node).execute({}, run_id="r")
        monkeypatch.undo()
    assert len(final) == 100
    assert len(listed) < 10
