"""What the handler of a signal raises, inside of a step's commit: the node catches it and asks once more."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from injection import InterruptFault

from tau import CheckpointConfig, Context, GraphConfig, State, StateGraph, open_store
from tau.errors import ExecutionError, StoreUnavailableError
from tau.log.committer import Committer
from tau.log.journal import Journal
from tau.log.loading import load
from tau.log.tickets import Ticket
from tau.node.step_commits import StepCommits
from tau.node.steps import StepRunner
from tau.stores.contract import Store
from tau.stores.file import FileStore
from tau.stores.memory import MemoryStore
from tau.stores.sqlite import SQLiteStore, kept_locks
from tau.stores.sqlite.place import Place
from tau.testing.store_contract.batches import batch
from tau.testing.store_wrappers import StoreWrapper


def config(store: Any) -> GraphConfig:
    return GraphConfig("g", observer="noop", checkpoint=CheckpointConfig(store=store, interval=1, preserve=True))


@pytest.fixture(params=["memory", "sqlite", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    urls = {"sqlite": f"sqlite:///{tmp_path}/r.db", "file": f"file://{tmp_path}/runs"}
    made = open_store(urls[request.param]) if request.param in urls else MemoryStore()
    yield made
    made.close()


class Alarm(InterruptFault):
    """While it is set, a TimeoutError is raised in these functions, the n-th time that Python looks for signals."""

    def __init__(self, codes: set[CodeType], number: int) -> None:
        super().__init__(lambda name: True)
        self.codes, self.at = codes, number
        self.caught = 0

    @property
    def rang(self) -> bool:
        return self.seen >= self.at

    @contextmanager
    def set(self) -> Iterator[None]:
        sys.settrace(self._enter)
        try:
            yield
        finally:
            sys.settrace(None)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        inside = super()._enter(frame, event, argument)
        return inside if frame.f_code in self.codes else None

    def strike(self) -> None:
        raise TimeoutError("alarm")


def codes(*owners: type) -> set[CodeType]:
    members = [member for owner in owners for member in vars(owner).values()]
    found = {member.__code__ for member in members if hasattr(member, "__code__")}
    return found | {member.fget.__code__ for member in members if isinstance(member, property) and member.fget}


@pytest.mark.parametrize("owner", [Journal, StepCommits, StepRunner, Committer])
def test_a_step_is_asked_for_again_after_an_alarm_in_its_commit(store: Store, owner: type) -> None:
    number, rang = 0, True
    while rang:
        number += 1
        alarm, calls, run_id = Alarm(codes(owner), number), list[str](), f"r{number}"
        nodes: list[str] = []

        def first(state: State, ctx: Context, nodes: Any = nodes, calls: Any = calls, alarm: Any = alarm) -> Any:
            nodes.append("first")

            def work(name: str) -> str:
                calls.append(name)
                return name

            found = []
            for name in ("one", "two"):
                try:
                    with alarm.set():
                        found.append(ctx.step(name, work, name))
                except TimeoutError:
                    alarm.caught += 1
                    found.append(ctx.step(name, work, name))
            assert {key[0][2] for key, _ in load(store, ctx.run_id)[1].items.single} == {"one", "two"}  # type: ignore[union-attr]
            return {"found": found}

        def second(state: State, nodes: Any = nodes) -> None:
            nodes.append("second")
            if nodes.count("second") == 1:
                raise OSError("away")

        graph = StateGraph(config(store))
        graph.add_node("first", first, version="1")
        graph.add_node("second", second, version="1")
        graph.sequence("first", "second")
        with pytest.raises(ExecutionError, match="away"):
            graph.execute({}, run_id=run_id)
        assert dict(graph.resume(run_id)) == {"found": ["one", "two"]}, number
        assert nodes == ["first", "second", "second"], number
        assert alarm.caught == alarm.rang, f"alarm {number} was swallowed"
        rang = alarm.rang
    assert number > 5


class Ringing(StoreWrapper):
    """A store in whose ``verb`` a signal's handler raises, where it is told to."""

    def __init__(self, inner: Store, verb: str) -> None:
        super().__init__(inner)
        self.verb, self.armed = verb, False

    def ring(self, verb: str) -> None:
        if self.armed and verb == self.verb:
            self.armed = False
            raise TimeoutError("alarm")

    def commit(self, batches: Any) -> Any:
        self.ring("before")
        results = super().commit(batches)
        self.ring("after")
        if self.verb == "read" and self.armed:
            return [StoreUnavailableError("the reply was lost") for _ in results]
        return results

    def read(self, run_id: str, after: int = 0) -> Any:
        self.ring("read")
        return super().read(run_id, after)


@pytest.mark.parametrize("verb", ["before", "after", "read"])
def test_the_error_of_a_handler_passes_a_commit_as_it_is(verb: str) -> None:
    ringing = Ringing(MemoryStore(), verb)
    caught: list[BaseException] = []

    def node(state: State, ctx: Context) -> dict[str, Any]:
        ringing.armed = True
        try:
            ctx.step("one", int)
        except Exception as error:
            caught.append(error)
        return {"x": ctx.step("one", int)}

    graph = StateGraph(config(ringing))
    graph.add_node("n", node, version="1")
    graph.sequence("n")
    assert dict(graph.execute({}, run_id="r")) == {"x": 0}
    assert [type(error) for error in caught] == [TimeoutError]


@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_a_timeout_of_a_handler_is_no_error_of_the_disk(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_store(f"sqlite:///{tmp_path}/r.db" if kind == "sqlite" else f"file://{tmp_path}/r")
    inside: Any = FileStore if kind == "file" else Place
    name = "_ready" if kind == "file" else "has_lost_log"
    real: Callable[..., Any] = getattr(inside, name)

    def rings(self: Any) -> Any:
        if armed:
            armed.clear()
            raise TimeoutError("alarm")
        return real(self)

    armed: list[int] = []
    monkeypatch.setattr(inside, name, rings)

    def node(state: State, ctx: Context) -> dict[str, Any]:
        armed.append(1)
        with pytest.raises(TimeoutError, match="alarm"):
            ctx.step("one", int)
        return {"x": ctx.step("one", int)}

    graph = StateGraph(config(opened))
    graph.add_node("n", node, version="1")
    graph.sequence("n")
    assert dict(graph.execute({}, run_id="r")) == {"x": 0}
    opened.close()


def test_who_leads_a_commit_and_is_broken_off_takes_nobody_along() -> None:
    """The batch of another run is in the same commit; the alarm is none of its business."""
    ringing = Ringing(MemoryStore(), "after")
    committer = Committer(ringing)
    other = Ticket(batch("other", 0))
    committer._queue.append(other)
    ringing.armed = True
    with pytest.raises(TimeoutError, match="alarm"):
        committer.commit(batch("mine", 0))
    assert committer.commit(batch("next", 0)) == 1
    assert other.result == 1


class InStores(InterruptFault):
    """A TimeoutError, which is an OSError, the n-th time that Python looks for signals in the code of a store."""

    def __init__(self, number: int) -> None:
        super().__init__(lambda name: "/tau/stores/" in name)
        self.at = number

    def strike(self) -> None:
        raise TimeoutError("alarm")


@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_an_alarm_anywhere_in_a_store_is_no_error_that_does_no_harm(kind: str, tmp_path: Path) -> None:
    """Where the store lets an error of the disk go unheeded, it let those of handlers go, too."""
    with open_store(f"sqlite:///{tmp_path}/r.db" if kind == "sqlite" else f"file://{tmp_path}/r") as opened:
        for number in count(1):
            fault, caught = InStores(number), list[TimeoutError]()

            def node(state: State, ctx: Context, fault: Any = fault, caught: Any = caught) -> dict[str, Any]:
                ctx.step("zero", int)
                sys.settrace(fault._enter)
                try:
                    return {"x": ctx.step("one", int)}
                except TimeoutError as error:
                    caught.append(error)
                finally:
                    sys.settrace(None)
                return {"x": ctx.step("one", int)}

            graph = StateGraph(config(opened))
            graph.add_node("n", node, version="1")
            graph.sequence("n")
            assert dict(graph.execute({}, run_id=f"r{number}")) == {"x": 0}
            assert bool(caught) == (fault.seen >= number), f"alarm {number} was swallowed"
            if not caught:
                break
    assert number > 20


@pytest.mark.parametrize("kind", [TimeoutError, KeyboardInterrupt])
def test_an_interrupt_as_the_write_lock_is_let_go_keeps_nobody_out(
    kind: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stayed taken until the owner of the run committed again."""
    real, armed = kept_locks._set, list[int]()

    def handler(number: int, frame: FrameType) -> None:
        raise kind("alarm")

    def struck(descriptor: int, lock: bytes) -> None:
        if armed and lock == kept_locks._LEAVE_WRITING:
            armed.clear()
            handler(0, sys._getframe())
        real(descriptor, lock)

    monkeypatch.setattr(kept_locks, "_set", struck)

    def node(state: State, ctx: Context) -> dict[str, Any]:
        armed.append(1)
        with pytest.raises(kind):
            ctx.step("one", int)
        with SQLiteStore(tmp_path / "r.db") as other:
            assert other.commit([batch("other", 0)]) == [1]
        return {"x": ctx.step("one", int)}

    graph = StateGraph("g", store=SQLiteStore(tmp_path / "r.db"))
    graph.add_node("n", node, version="1")
    graph.sequence("n")
    assert dict(graph.execute({}, run_id="r")) == {"x": 0}
