"""Runs that are deleted while somebody works on them, and deletions that come too late."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from own_stores import InBytes
from tau import CheckpointConfig, Context, GraphConfig, State, StateGraph, open_store, register_store
from tau.errors import (
    CheckpointNotFoundError,
    LeaseLostError,
    RunCancelledError,
    StoreUnavailableError,
)
from tau.observers import Recorder
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore

DELETE = "import sys; from tau import open_store; open_store(sys.argv[1]).delete('r', sys.argv[2] == 'keep')"


@pytest.fixture(params=["memory", "sqlite", "file", "own"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/runs.db"
    if request.param == "file":
        return f"file://{tmp_path}/runs"
    register_store("ours", MemoryStore() if request.param == "memory" else InBytes())
    return "ours"


def delete(url: str, keep: str = "") -> None:
    """By another process, where the store is one that another process sees."""
    if url == "ours":
        open_store(url).delete("r", keep_summary=keep == "keep")
    else:
        subprocess.run([sys.executable, "-c", DELETE, url, keep], check=True)


def graph(url: str, *, interval: int = 1, preserve: bool = True, observer: Any = None) -> StateGraph:
    checkpoint = CheckpointConfig(store=url, interval=interval, preserve=preserve)
    return StateGraph(GraphConfig("g", observer=None, checkpoint=checkpoint), observer=observer)


MOMENTS = ("first node", "node", "before a step", "in a step", "after a step", "artifact", "last node")


def working(url: str, moment: str, strike: Callable[[], None], interval: int = 1) -> StateGraph:
    """A graph in which ``strike`` is called at that moment, once."""
    made = graph(url, interval=interval)
    left = [moment]

    def at(name: str) -> None:
        if left == [name]:
            left.clear()
            strike()

    @made.node
    def first(state: State) -> dict[str, int]:
        at("first node")
        return {"a": 1}

    @made.node
    def second(state: State, ctx: Context) -> dict[str, int]:
        at("node")
        at("before a step")
        ctx.step("one", at, "in a step")
        at("after a step")
        if made.store.artifacts is not None:
            with ctx.artifact("b.txt") as path:
                path.write_text("b")
                at("artifact")
        else:
            at("artifact")
        ctx.step("two", int)
        return {"b": 1}

    @made.node
    def last(state: State) -> dict[str, int]:
        at("last node")
        return {"c": 1}

    made.sequence(first, second, last)
    return made


@pytest.mark.parametrize(("interval", "keep"), [(1, ""), (1, "keep"), (3, "")])
@pytest.mark.parametrize("moment", MOMENTS)
def test_the_owner_of_a_deleted_run_is_told_so(url: str, moment: str, keep: str, interval: int) -> None:
    """Whatever it does next is refused, and nothing of the run comes back; its id may be used anew."""
    owner = working(url, moment, lambda: delete(url, keep), interval)
    with pytest.raises(LeaseLostError, match="was deleted while it ran"):
        owner.execute({}, run_id="r")
    store = open_store(url)
    expected = ["cancelled"] if keep and store.runs() else []
    assert [row.status for row in store.runs()] == expected
    assert store.list() == []
    with pytest.raises(RunCancelledError if expected else CheckpointNotFoundError):
        owner.resume("r")
    if store.artifacts is not None and not keep:
        assert not [path for path in Path(store.artifacts).rglob("*") if path.is_file()]
    store.delete("r")
    assert owner.execute({"x": 1}, run_id="r")["c"] == 1
    assert owner.resume("r")["x"] == 1


def test_a_run_that_deletes_itself_is_told_so(url: str) -> None:
    made = graph(url)
    made.add_node("a", lambda state: open_store(url).delete("r"))
    made.sequence("a")
    with pytest.raises(LeaseLostError, match="was deleted while it ran"):
        made.execute({}, run_id="r")
    assert open_store(url).runs() == []


def test_an_owner_learns_that_its_run_was_begun_anew(url: str) -> None:
    """Also where the new run is at the very position that the earlier owner expects."""
    anew = working(url, "never", lambda: None)

    def strike() -> None:
        delete(url)
        anew.execute({"new": True}, run_id="r")

    owner = working(url, "last node", strike)
    with pytest.raises(LeaseLostError, match="was deleted while it ran"):
        owner.execute({}, run_id="r")
    assert owner.resume("r")["new"] is True
    assert [one.node for one in owner.history("r")][-1:] == ["last"]


def late(monkeypatch: pytest.MonkeyPatch, store: Store, strike: Callable[[], None]) -> None:
    """Call ``strike`` once, when this object is about to delete a run: one of a user's own looks before it does."""
    verb = "summary" if store.forgets else "delete"
    real = getattr(store, verb)

    def stalled(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(store, verb, real)
        strike()
        return real(*arguments, **options)

    monkeypatch.setattr(store, verb, stalled)


@pytest.mark.parametrize("first", ["", "keep"])
def test_a_deletion_that_comes_too_late_leaves_a_new_run_alone(
    url: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its files: an owner wakes after its finished run was deleted by hand and begun anew."""
    zombie = graph(url, preserve=False)
    zombie.add_node("a", lambda state: {"a": 1})
    zombie.sequence("a")
    anew = graph(url)

    @anew.node
    def a(state: State, ctx: Context) -> dict[str, int]:
        if anew.store.artifacts is not None:
            with ctx.artifact("a.txt") as path:
                path.write_text("kept")
        return {"new": 1}

    anew.sequence(a)

    def strike() -> None:
        if first:
            delete(url, first)
        delete(url)
        anew.execute({}, run_id="r")

    late(monkeypatch, zombie.store, strike)
    assert zombie.execute({}, run_id="r")["a"] == 1
    final = anew.resume("r")
    assert final["new"] == 1
    if anew.store.artifacts is not None:
        assert final["a.txt"].path.read_text() == "kept"
    assert len(anew.history("r")) == 1


def test_a_finished_run_is_returned_although_its_checkpoints_cannot_be_deleted(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The observer and the log are told; the next resume gives the result and deletes them."""
    recorder = Recorder()
    made = graph(url, preserve=False, observer=recorder)
    made.add_node("a", lambda state: {"a": [1]})
    made.sequence("a")

    def failing() -> None:
        raise StoreUnavailableError("the disk is away; bring it back")

    late(monkeypatch, made.store, failing)
    assert made.execute({}, run_id="r")["a"] == [1]
    assert [event.type for event in recorder.events][-2:] == ["graph.complete", "checkpoint.kept"]
    assert recorder.events[-1].data["error"] == "the disk is away; bring it back"
    assert "the disk is away" in caplog.text
    assert made.resume("r")["a"] == [1]
    with pytest.raises(CheckpointNotFoundError):
        made.resume("r")


@pytest.mark.parametrize("times", [1, 2])
def test_a_final_state_that_is_given_out_is_whole(url: str, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """One that could not be read, in order to delete the rest, was given out unread, and another process deleted it."""
    made = graph(url, preserve=False)
    made.add_node("a", lambda state: {"a": ["x" * 100_000]})
    made.sequence("a")
    with monkeypatch.context() as patch:
        late(patch, made.store, lambda: (_ for _ in ()).throw(StoreUnavailableError("away")))
        made.execute({}, run_id="r")

    later = graph(url, preserve=False)
    later.add_node("a", lambda state: {"a": ["x" * 100_000]})
    later.sequence("a")
    read, left = later.store.blobs, [times]

    def failing(*given: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise StoreUnavailableError("the reply was lost")
        return read(*given)

    monkeypatch.setattr(later.store, "blobs", failing)
    if times == 2:
        with pytest.raises(StoreUnavailableError):
            later.resume("r")
    final = later.resume("r")
    delete(url)
    assert final["a"] == ["x" * 100_000]
