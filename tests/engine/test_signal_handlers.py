"""A signal handler may call the library in the middle of a commit of its own thread: it never waits, and that commit
stays whole.

The handler is called where Python would call it: at a line of the code that is running. Every line that a commit passes
is tried once, every ninth one where it has to be quick.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import tau
from own_stores import InADict
from tau import CheckpointNotFoundError, Context, RunCancelledError, State, StateGraph, StoreError, TauError, open_store
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore

HOME = Path(tau.__file__).parent
WHERE = (HOME / "stores", HOME / "log" / "committer.py", HOME / "log" / "journal.py")

Call = Callable[[StateGraph, Store], Any]


class Locked(InADict):
    """A store of one's own with a plain lock: whoever comes again in the middle of it waits for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def save(self, state: State) -> None:
        with self.lock:
            super().save(state)

    def load(self, run_id: str) -> State:
        with self.lock:
            return super().load(run_id)


@cache
def in_commit(name: str, function: str) -> bool:
    if name == __file__:
        return function in ("save", "load")
    return any(Path(name).is_relative_to(place) for place in WHERE) and function != "__del__"


class AtLine:
    """Calls ``call`` at the n-th of the distinct lines that are reached while it is active; counts them without one."""

    def __init__(self, at: int = 0, call: Callable[[], Any] = lambda: None) -> None:
        self.at, self.call = at, call
        self.seen: dict[tuple[str, int], None] = {}
        self.called = False
        self.nodes: list[str] | None = None  # where it is given, lines count from the first node on

    def __enter__(self) -> AtLine:
        self.before = sys.gettrace()
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self.before)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._line if in_commit(frame.f_code.co_filename, frame.f_code.co_name) else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line" and self.nodes != []:
            self.seen.setdefault((frame.f_code.co_filename, frame.f_lineno))
            if len(self.seen) == self.at and not self.called:
                self.called = True
                sys.settrace(None)
                self.call()
        return self._line


def graph_on(store: Store | Any, ran: list[str]) -> StateGraph:
    graph = StateGraph("g", store=store)
    for name in "abc":

        def work(state: Any, name: str = name) -> dict[str, Any]:
            ran.append(name)
            return {name: 1}

        graph.add_node(name, work)
    graph.sequence("a", "b", "c")
    return graph


def delete_another(graph: StateGraph, store: Store) -> None:
    store.delete("old")


def list_runs(graph: StateGraph, store: Store) -> None:
    assert "old" in [row.run_id for row in store.runs()]


def execute_another(graph: StateGraph, store: Store) -> None:
    graph_on(store, []).execute({}, run_id="another")


def cancel_it(graph: StateGraph, store: Store) -> None:
    graph.cancel("r")


def cancel_another(graph: StateGraph, store: Store) -> None:
    graph.cancel("old")


def close(graph: StateGraph, store: Store) -> None:
    store.close()


def fork_and_exit(graph: StateGraph, store: Store) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


CHILDREN: list[int] = []


def fork_and_return(graph: StateGraph, store: Store) -> None:
    """The child goes on with whatever was interrupted; both do it at the same time."""
    CHILDREN.append(os.fork())


MAKE: dict[str, Callable[[Path], Any]] = {
    "memory": lambda path: MemoryStore(),
    "sqlite": lambda path: open_store(f"sqlite:///{path}/runs.db"),
    "file": lambda path: open_store(f"file:{path}/runs"),
    "own": lambda path: Locked(),
}

CALLS: dict[str, Call] = {
    call.__name__: call for call in (delete_another, list_runs, execute_another, cancel_it, cancel_another, close)
}
CALLS |= {call.__name__: call for call in (fork_and_exit, fork_and_return)}


@pytest.fixture
def places(tmp_path: Path) -> Callable[[], Path]:
    count = iter(range(10_000))

    def place() -> Path:
        path = tmp_path / str(next(count))
        path.mkdir()
        return path

    return place


def run_with(kind: str, path: Path, call: Call | None, at: int) -> AtLine:
    """Execute a run in whose course ``call`` is made, and hold the outcome to what is promised."""
    ran: list[str] = []
    graph = graph_on(MAKE[kind](path), ran)
    store = graph.store
    assert store is not None
    graph.execute({}, run_id="old")
    ran.clear()
    failed: list[Exception] = []

    def handler() -> None:
        assert call is not None
        try:
            call(graph, store)
        except Exception as error:
            failed.append(error)

    line = AtLine(at, handler)
    if call is fork_and_return:  # before its run is admitted a child may still admit it itself
        line.nodes = ran
    outcome: Any = None
    with line:
        try:
            outcome = dict(graph.execute({}, run_id="r"))
        except Exception as error:
            outcome = error
    if call is None:
        return line
    assert line.called
    while CHILDREN:
        pid = CHILDREN.pop()
        if pid == 0:  # a child cannot finish its parent's run; it may see the end of what was finished
            os._exit(7 if isinstance(outcome, TauError) or ran == ["a", "b", "c"] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    # A user's own store may not be able to read in the middle of its own work; nothing else is refused but writing.
    expected = (StoreError, CheckpointNotFoundError) if call is cancel_it else StoreError
    assert all(isinstance(error, expected) for error in failed), failed
    assert not failed or call is not list_runs or kind == "own", failed
    assert not failed or call is not cancel_another, failed
    if call is cancel_it:
        assert isinstance(outcome, dict | RunCancelledError), (
            outcome
        )  # where it came too early or late, nothing happened
        summary = store.summary("r")
        assert summary is not None
        assert summary.status == ("finished" if isinstance(outcome, dict) else "cancelled")
    else:
        assert outcome == {"a": 1, "b": 1, "c": 1}, outcome
        assert ran == ["a", "b", "c"]
        assert dict(graph.resume("r")) == outcome
    assert [point.position for point in graph.history("r")] == sorted({point.position for point in graph.history("r")})
    if call is cancel_another or call is close or call is list_runs:
        assert dict(graph.resume("old")) == {"a": 1, "b": 1, "c": 1}
    if not failed and call is execute_another:
        assert dict(graph.resume("another")) == {"a": 1, "b": 1, "c": 1}
    store.close()
    return line


@pytest.mark.parametrize("every", [18, pytest.param(1, marks=pytest.mark.deep)])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", MAKE)
def test_a_handler_that_calls_the_store_in_a_commit_leaves_it_whole(
    places: Callable[[], Path], kind: str, call: str, every: int
) -> None:
    lines = len(run_with(kind, places(), None, 0).seen)
    assert lines > 50
    if call == "fork_and_return":  # counted from the first node on
        lines = lines // 3
    first = 1 + [*CALLS].index(call) % every  # so that the quick ones together try more places than each alone
    for at in range(first, lines + 1, every):
        run_with(kind, places(), CALLS[call], at)


SIGNALLED = """
import os, signal, sys
from tau import StateGraph, key_equals
graph = StateGraph("g", store=sys.argv[1])
graph.add_node("n", lambda state: {"x": state.get("x", 0) + 1})
graph.add_node("m", lambda state: {})
graph.add_edge("n", "m", lambda state: state["x"] >= 900)
graph.add_edge("n", "n")
graph.set_entry_point("n")
graph.set_exit_point("m")
graph.execute({"x": 899})  # what is loaded at first use
signal.signal(signal.SIGALRM, lambda *_: graph.cancel("r"))
signal.setitimer(signal.ITIMER_REAL, float(sys.argv[2]))
try:
    graph.execute({}, run_id="r")
except Exception as error:
    print(type(error).__name__)
signal.setitimer(signal.ITIMER_REAL, 0)  # an interpreter that ends has no handlers
"""


class Ringing(InADict):
    """A store of one's own, in which a signal arrives."""

    armed = False

    def save(self, state: State) -> None:
        if self.armed:
            self.armed = False
            signal.raise_signal(signal.SIGUSR1)
        super().save(state)


def test_what_a_handler_raises_in_a_store_of_ones_own_is_no_error_of_the_store() -> None:
    def alarm(signum: int, frame: FrameType | None) -> None:
        raise ConnectionError("alarm")

    def node(state: State, ctx: Context) -> dict[str, Any]:
        store.armed = True
        with pytest.raises(ConnectionError, match="alarm"):
            ctx.step("one", int)
        return {"x": ctx.step("one", int)}

    store = Ringing()
    graph = StateGraph("g", store=store)
    graph.add_node("n", node, version="1")
    graph.sequence("n")
    before = signal.signal(signal.SIGUSR1, alarm)
    try:
        assert graph.execute({}, run_id="r")["x"] == 0
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.deep
@pytest.mark.parametrize("url", ["memory:", "sqlite:///{}/runs.db", "file:{}/runs"])
def test_real_signals_that_cancel_the_run_that_they_interrupt(places: Callable[[], Path], url: str) -> None:
    for number in range(100):
        command = [sys.executable, "-c", SIGNALLED, url.format(places()), str(0.002 * (number + 1))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        # Before there was a run, the handler's own error comes out of whatever it interrupted.
        assert done.stdout.strip() in ("", "RunCancelledError", "CheckpointNotFoundError"), done.stderr
        assert done.returncode == 0, done.stderr


class Calling(MemoryStore):
    """Calls ``inside`` once, in the middle of a commit."""

    inside: Callable[[], object] | None = None

    def commit(self, batches: Any) -> Any:
        inside, self.inside = self.inside, None
        if inside is not None:
            inside()
        return super().commit(batches)


def test_a_step_that_a_handler_asks_for_in_the_middle_of_a_step_is_refused_and_has_its_result_later() -> None:
    store, calls, refused = Calling(), list[str](), list[StoreError]()

    def node(state: State, ctx: Context) -> dict[str, Any]:
        def handler() -> None:
            try:
                ctx.step("inner", calls.append, "inner")
            except StoreError as error:
                refused.append(error)

        store.inside = handler
        ctx.step("outer", calls.append, "outer")
        ctx.step("inner", calls.append, "inner")
        return {"done": True}

    graph = StateGraph("g", store=store)
    graph.add_node("n", node, version="1")
    graph.sequence("n")
    finals: list[State] = []
    thread = threading.Thread(target=lambda: finals.append(graph.execute({}, run_id="r")), daemon=True)
    thread.start()
    thread.join(60.0)
    assert [dict(final) for final in finals] == [{"done": True}], "it waits for its own thread"
    assert calls == ["outer", "inner"]
    assert "came in the middle of a commit" in str(refused[0])
